// Package shim is the life of a sandbox, from the namespaces that it is started
// in to the last file that it leaves.
//
// It orchestrates: what is to run comes from package bundle, how runsc is called
// from package runsc, and each thing that is done to the host from a package of
// its own under internal.
//
// A run has two processes of ours. The front, outside, is the caller's child:
// it holds the caller's descriptors and signals. The keeper, PID 1 of a PID
// namespace of ours, builds the view and runs runsc. They share a socket; when
// it breaks, the other is dead. Start reading at Launch, then Keep.
package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/internal/probe"
	"github.com/gvisor-exec/gvisor-exec/internal/stdio"
	"github.com/gvisor-exec/gvisor-exec/internal/userns"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// Options say how to run a bundle.Config. The zero value of each is the
// default, but Host and Runsc must be set.
type Options struct {
	// Config is what runs; its Tree is set by Launch.
	Config bundle.Config
	// Host is where the caller is.
	Host Host
	// Runsc is the path of the runsc binary.
	Runsc    string
	Platform runsc.Platform
	Network  runsc.Network
	// Rootfs is the host directory that is the root; empty: /.
	Rootfs string
	// ExplicitCwd says that Config.Cwd was asked for, not taken over.
	ExplicitCwd bool
	// Terminal gives the command a terminal.
	Terminal bool
	// Inherited are the descriptors above 2 that the command gets as well.
	Inherited []int
	// Timeout, if positive, is when the command gets a SIGTERM, and KillAfter
	// how long after that everything is killed.
	Timeout, KillAfter time.Duration
	// KeepBundle leaves the run's directory in place.
	KeepBundle bool
	// Trace, if set, is told the system calls of the command, and Debug keeps
	// runsc's logs in the run's directory.
	Trace func(call string)
	Debug bool
	// Warn and Verbose tell the user something; either may be nil.
	Warn, Verbose func(format string, args ...any)
}

// Result is how a command ended.
type Result struct {
	// Status as the command's parent would see it in a shell: the exit status,
	// or 128+N if signal N killed it.
	Status int
	// TimedOut says that Timeout was up before the command ended.
	TimedOut bool
	// Kept is the directory of the run, if it was kept.
	Kept string
}

// kvmStartTimeout bounds the start under a platform that is known to hang.
const kvmStartTimeout = 8 * time.Second

// front is the process outside, during one run.
type front struct {
	Options
	userNS   bool // we are in a user namespace of our own
	sharePID bool // we are not in a PID namespace of our own
	ranges   userns.Ranges

	state, overlayDir string
	stateOnce         bool // state is for this run only
	run               *runDir

	files    map[int]*os.File // what the command gets, by its numbers
	set      *stdio.Set
	terminal *stdio.Terminal // nil: the command has none
	console  bool            // all stdio of the command is the terminal
	trace    *tracer
	signals  chan os.Signal

	ready  bool // the command is about to run
	killed bool // by us, or about to be
	keeper *exec.Cmd
	gone   chan struct{} // closed when the keeper has been waited for
	conn   *os.File
	msgs   messages
}

// Launch runs o.Config in a fresh sandbox and returns when nothing is left of
// it. A *Failure says that the command did not run; other errors that something
// went wrong after it did.
func Launch(o Options) (Result, error) {
	result, err := (&front{Options: o}).attempt(false)
	var failed *Failure
	if errors.As(err, &failed) && failed.Kind == noProc {
		return (&front{Options: o}).attempt(true)
	}
	return result, err
}

// Print computes what Launch would hand to runsc, as far as it does not depend
// on the view, in a run directory called dir: config.json and the command line.
func Print(o Options, dir string) (*specs.Spec, []string) {
	f := &front{Options: o, run: &runDir{path: dir}}
	stdio := map[int]*os.File{0: nil, 1: nil, 2: nil}
	c := f.config()
	c.Terminal = o.Terminal
	return c.Spec(), f.client(filepath.Join(dir, "overlay")).CommandLine(sandboxID, runsc.RunOpts{Bundle: f.path("bundle"), PassFDs: stdio})
}

// path names something in the run's directory.
func (f *front) path(elem ...string) string {
	return filepath.Join(append([]string{f.run.path}, elem...)...)
}

// attempt is one run, with or without a PID namespace of ours.
func (f *front) attempt(sharePID bool) (result Result, err error) {
	f.sharePID = sharePID
	f.catch()
	if err := f.prepare(); err != nil {
		return result, err
	}
	defer func() {
		result.Kept = f.kept()
		err = errors.Join(err, f.leave())
	}()
	if err := f.openStdio(); err != nil {
		return result, &Failure{err: err}
	}
	if err := f.start(); err != nil {
		return result, errors.Join(err, f.closeStdio())
	}
	result, err = f.attend()
	return result, errors.Join(err, f.closeStdio())
}

// prepare finds out what the host lets us do and makes our directories.
func (f *front) prepare() (err error) {
	f.userNS = !privileged()
	if f.userNS && needsRanges(&f.Config) {
		if f.ranges, err = userns.SubordinateRanges(); err != nil {
			return &Failure{err: err, Hint: hintRanges}
		}
	}
	if f.Config.Overlay == "" || f.Config.Overlay == bundle.OverlaySelf {
		if f.overlayDir, err = overlayDir(f.Host); err != nil {
			return &Failure{err: err, Hint: "use -overlay memory"}
		}
	}
	if f.state, f.stateOnce, err = stateDir(f.Host); err != nil {
		return &Failure{err: err, Hint: "set XDG_RUNTIME_DIR to a directory of yours, mode 0700"}
	}
	switch f.run, err = newRunDir(f.state, f.KeepBundle || f.Debug); {
	case err == nil:
	case full(err):
		return &Failure{err: err, Hint: hintFull}
	default:
		return &Failure{err: err, Hint: "look at the space and the permissions of " + f.state}
	}
	return nil
}

// kept is the run's directory, if it is to stay.
func (f *front) kept() string {
	if f.KeepBundle || f.Debug {
		return f.run.path
	}
	return ""
}

// leave removes the run's directory, unless it is to stay.
func (f *front) leave() error {
	if f.kept() != "" {
		return f.run.close()
	}
	if err := f.run.remove(); err != nil {
		return fmt.Errorf("cannot clean up: %w", err)
	}
	if f.stateOnce {
		// Another run may have come to use it: then it is for that one to remove.
		os.Remove(filepath.Join(f.state, lockName))
		if err := os.Remove(f.state); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// privileged reports whether we can make mounts without a user namespace of
// ours: an ordinary user cannot, nor can a root that lacks CAP_SYS_ADMIN.
func privileged() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return false
	}
	return os.Geteuid() == 0 && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// needsRanges reports whether the command has to do with ids other than the
// caller's. Two setuid helpers would cost every start several milliseconds, so
// only who asks for it pays.
func needsRanges(c *bundle.Config) bool {
	return c.UID != 0 || c.GID != 0 || slices.ContainsFunc(c.Capabilities, func(name string) bool {
		return name == "CAP_CHOWN" || name == "CAP_SETUID" || name == "CAP_SETGID"
	})
}

// client calls runsc for a run whose writes go to a file in overlayDir.
func (f *front) client(overlayDir string) runsc.Client {
	g := runsc.GlobalFlags{
		Root: f.path("runsc"), Platform: f.Platform, Network: f.Network,
		IgnoreCgroups: true, IgnoreHostSettings: true,
	}
	if g.Network == "" {
		g.Network = runsc.NetworkNone
	}
	switch f.Config.Overlay {
	case bundle.OverlayMemory:
		g.Overlay2 = "root:memory"
	case bundle.OverlayNone:
		g.Overlay2 = "none"
	default:
		g.Overlay2 = "root:dir=" + overlayDir
	}
	if f.Trace != nil || f.Debug {
		g.DebugLog = f.path("log.%COMMAND%")
		g.Strace = f.Trace != nil
	}
	return runsc.Client{Path: f.Runsc, Global: g}
}

// config is what runs in this run's directory.
func (f *front) config() bundle.Config {
	c := f.Config
	c.Tree = f.path("tree")
	c.HostNetwork = f.Network == runsc.NetworkHost
	c.Terminal = f.console
	return c
}

// start starts the keeper and gives it its order.
func (f *front) start() error {
	ours, theirs, err := socketpair()
	if err != nil {
		return &Failure{err: err}
	}
	defer theirs.Close()
	tty, err := f.callersTerminal()
	if err != nil {
		return &Failure{err: err}
	}
	defer tty.Close()
	opts := userns.Options{
		Args: []string{KeeperName}, Files: []*os.File{theirs, f.run.lock, tty},
		User: f.userNS, Ranges: f.ranges, SharePID: f.sharePID, Death: syscall.SIGKILL,
	}
	if f.terminal != nil {
		// Such a keeper lives long enough to give the caller's terminal back.
		opts.Terminal, opts.Death = fdCommand, syscall.SIGTERM
	}
	guests := slices.Sorted(maps.Keys(f.files))
	for _, guest := range guests {
		opts.Files = append(opts.Files, f.files[guest])
	}
	f.conn, f.msgs = ours, newMessages(ours)
	if err := f.spawn(opts); err != nil {
		ours.Close()
		return f.explainNamespace(err)
	}
	// Not before its ids are mapped, which is when it has been started. An error
	// here means that it is gone, which attend finds out.
	f.msgs.send(launch{Dir: f.run.path, Client: f.client(f.overlayDir), Guest: guests, SharePID: f.sharePID})
	order := order{Config: f.config(), Rootfs: f.Rootfs, ExplicitCwd: f.ExplicitCwd, Terminal: f.terminal != nil}
	if f.terminal != nil {
		order.Settings = f.terminal.Before()
	}
	if f.Platform == runsc.KVM {
		order.StartTimeout = kvmStartTimeout
	}
	f.msgs.send(order)
	return nil
}

// spawn starts the keeper; gone is closed when it has ended.
func (f *front) spawn(opts userns.Options) error {
	f.gone = make(chan struct{})
	started := make(chan error)
	go func() {
		// The keeper gets its signal when the thread that started it ends: this
		// one does nothing else.
		runtime.LockOSThread()
		var err error
		f.keeper, err = userns.Start(opts)
		started <- err
		if err == nil {
			f.keeper.Wait()
		}
		close(f.gone)
	}()
	return <-started
}

// tell says what -verbose promises, when it is certain.
func (f *front) tell() {
	if f.Verbose == nil {
		return
	}
	ns := "mount"
	if !f.sharePID {
		ns = "PID and " + ns
	}
	if f.userNS {
		ns = "user, " + ns
	}
	f.Verbose("own namespaces: %s", ns)
	if f.sharePID {
		f.Verbose("no PID namespace, since /proc cannot be mounted here: processes are killed one by one at the end")
	}
	f.Verbose("bundle: %s", f.path("bundle"))
	f.Verbose("runsc: %q", f.client(f.overlayDir).CommandLine(sandboxID, runsc.RunOpts{Bundle: f.path("bundle"), PassFDs: f.files}))
}

func socketpair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	unix.SetNonblock(fds[0], true) // so that Close ends a Read
	return os.NewFile(uintptr(fds[0]), "keeper"), os.NewFile(uintptr(fds[1]), "front"), nil
}

const hintRanges = "ids other than the caller's need entries in /etc/subuid and /etc/subgid, and newuidmap (Debian: uidmap)"

// explainNamespace names the switch that closes user namespaces, or what
// subordinate ids need.
func (f *front) explainNamespace(err error) error {
	var closed *userns.Error
	switch {
	case errors.As(err, &closed):
		return &Failure{err: err, Hint: probe.UserNamespaces().Fix}
	case f.userNS && needsRanges(&f.Config):
		return &Failure{err: err, Hint: hintRanges}
	}
	return &Failure{err: err}
}

// hintFull is for a file system of ours that is full; the error says where.
const hintFull = "make room there, or have XDG_RUNTIME_DIR (state) and XDG_CACHE_HOME (writes) name directories that have some"

// full reports whether a file system was full, in our words or in runsc's.
func full(err error) bool { return strings.HasSuffix(err.Error(), unix.ENOSPC.Error()) }
