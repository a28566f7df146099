package shim

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/internal/hostfs"
	"github.com/gvisor-exec/gvisor-exec/internal/stdio"
	"github.com/gvisor-exec/gvisor-exec/internal/userns"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// KeeperName is argv[0] of a process that is to be a keeper.
const KeeperName = "gvisor-exec-keeper"

// sandboxID names the only sandbox of a run's runsc root.
const sandboxID = "sandbox"

// keeper is the process inside our namespaces: PID 1 there, so that with it
// everything ends.
type keeper struct {
	launch launch
	order  order
	spec   *specs.Spec
	msgs   messages
	runsc  *runsc.Running
	ending chan struct{} // closed when runsc run has ended
}

// Keep is the life of a keeper. It returns when the sandbox is gone and the
// front knows how that came about, and its caller exits.
func Keep() {
	// runsc run gets a signal when the thread that forked it ends.
	runtime.LockOSThread()
	for fd := range 3 {
		ensureOpen(fd)
	}
	unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	conn := os.NewFile(fdControl, "control")
	k := &keeper{msgs: newMessages(conn), ending: make(chan struct{})}
	signals := make(chan os.Signal, 16)
	signal.Ignore(syscall.SIGTTOU, syscall.SIGTTIN, syscall.SIGPIPE)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGTERM, syscall.SIGWINCH, syscall.SIGHUP)
	if err := k.msgs.dec.Decode(&k.launch); err != nil {
		return // the front is gone
	}
	err := k.start()
	if k.msgs.dec.Decode(&k.order) != nil {
		k.die()
	}
	instructions := make(chan instruction, pendingInstructions)
	go k.listen(instructions)
	status := 0
	if err == nil {
		status, err = k.run(signals, instructions)
	}
	if err != nil {
		k.msgs.send(report{Failure: toFailure(err)})
		return
	}
	k.msgs.send(report{Status: &status})
}

// pendingInstructions may wait until the command runs.
const pendingInstructions = 64

// listen receives instructions. When the front dies, so do we, and with us all
// that is in our namespace: so it never waits for anything else.
func (k *keeper) listen(instructions chan<- instruction) {
	for {
		var i instruction
		if err := k.msgs.dec.Decode(&i); err != nil {
			k.die()
		}
		select {
		case instructions <- i:
		default: // signals are not counted, by the kernel neither
		}
	}
}

func ensureOpen(fd int) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		unix.Open(os.DevNull, unix.O_RDWR, 0)
	}
}

// die ends the keeper because the front is gone. It gives the caller's terminal
// back, which the front cannot do any more.
func (k *keeper) die() {
	if k.order.Settings != nil {
		stdio.Restore(fdTerminal, k.order.Settings)
	}
	if k.launch.SharePID {
		killDescendants()
	}
	os.Exit(1)
}

func toFailure(err error) *failure {
	f := &failure{Msg: err.Error()}
	var known *Failure
	if errors.As(err, &known) {
		f.Hint, f.Kind = known.Hint, known.Kind
	}
	if f.Hint == "" && full(err) {
		f.Hint = hintFull
	}
	return f
}

// start starts runsc, which waits for the view that is yet to be built.
func (k *keeper) start() (err error) {
	if err := k.prepare(); err != nil {
		return err
	}
	files := map[int]*os.File{}
	for i, guest := range k.launch.Guest {
		files[guest] = os.NewFile(uintptr(fdCommand+i), "")
	}
	// A terminal hangs up, and a pipe ends, when the sandbox closes it.
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	k.runsc, err = k.launch.Client.Run(sandboxID, filepath.Join(k.launch.Dir, "errors"), runsc.RunOpts{
		Bundle:  k.bundle(),
		PassFDs: files,
		// A session of its own keeps the terminal's signals away: they come
		// through us.
		Attr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true},
	})
	return err
}

// run builds the view, lets runsc go on in it, and returns the command's status.
func (k *keeper) run(signals <-chan os.Signal, instructions <-chan instruction) (int, error) {
	if err := k.furnish(); err != nil {
		k.runsc.Abandon()
		return 0, err
	}
	if err := k.msgs.send(report{Ready: true}); err != nil {
		k.die()
	}
	go k.forward(signals, instructions)
	if k.order.StartTimeout > 0 {
		go k.watchStart()
	}
	status, err := k.runsc.Wait()
	close(k.ending)
	if k.launch.SharePID {
		killDescendants()
	}
	return status, k.explain(err)
}

func (k *keeper) bundle() string { return filepath.Join(k.launch.Dir, "bundle") }

// prepare makes the namespace fit for runsc to start in.
func (k *keeper) prepare() error {
	if err := userns.BecomeRoot(); err != nil {
		return err
	}
	if err := hostfs.Private(); err != nil {
		return err
	}
	if k.launch.SharePID {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot become a subreaper: %w", err)
		}
	} else if err := hostfs.MountProc(); err != nil {
		return &Failure{Kind: noProc, err: err}
	}
	raiseLimits()
	unix.Umask(0o022)
	return nil
}

// furnish makes what runsc is to find: the view and the bundle.
func (k *keeper) furnish() error {
	view := k.view()
	built, err := hostfs.Build(view)
	if err != nil {
		return explainView(err)
	}
	k.spec = k.order.Config.Spec()
	k.settle(view, built)
	if err := k.chooseCwd(built); err != nil {
		return err
	}
	if err := bundle.Write(k.bundle(), k.spec); err != nil {
		return err
	}
	return k.runsc.Release()
}

// view says how the filesystem that the spec speaks of is built.
func (k *keeper) view() hostfs.View {
	c := &k.order.Config
	v := hostfs.View{
		Tree: c.Tree, Root: bundle.Root(c.Tree), Source: k.order.Rootfs,
		Kernel: bundle.KernelDirs, Empty: []string{bundle.Tmp},
		Hidden: []string{filepath.Dir(k.launch.Dir)},
	}
	if v.Source == "" {
		v.Source = "/"
	}
	for _, p := range c.Plan() {
		m := hostfs.Mount{
			Source: p.Source, Dest: p.Dest,
			OCI:        p.Placement != bundle.InTree,
			Copy:       p.Placement == bundle.OCICopy,
			Persistent: p.Kind == bundle.RWBind,
		}
		if m.OCI && m.Source != "" {
			m.Stash = bundle.Source(c.Tree, p.Index)
		}
		v.Mounts = append(v.Mounts, m)
	}
	return v
}

// settle corrects the spec by what the view turned out to be: links in
// destinations are resolved, and what is hidden is covered once more.
func (k *keeper) settle(view hostfs.View, built *hostfs.Built) {
	resolved := map[string]string{}
	for i, m := range view.Mounts {
		resolved[m.Dest] = built.Dests[i]
	}
	for i := range k.spec.Mounts {
		m := &k.spec.Mounts[i]
		if dest, ok := resolved[m.Destination]; ok {
			m.Destination = dest
		}
	}
	for _, dir := range built.Hidden {
		k.spec.Mounts = append(k.spec.Mounts, bundle.EmptyDir(dir))
	}
}

func (k *keeper) chooseCwd(built *hostfs.Built) error {
	cwd := k.spec.Process.Cwd
	err := built.Directory(path.Clean(cwd))
	if err == nil {
		return nil
	}
	if k.order.ExplicitCwd {
		return &Failure{err: fmt.Errorf("cannot use working directory: %w", err), Hint: "-bind or -rw-bind makes a host directory visible"}
	}
	k.spec.Process.Cwd = "/"
	return k.msgs.send(report{Warning: fmt.Sprintf("the sandbox does not see %s: the working directory is /", cwd)})
}

func explainView(err error) error {
	var persistent *hostfs.PersistentError
	if errors.As(err, &persistent) {
		return &Failure{err: fmt.Errorf("cannot build the view: %w", err), Hint: "make it on the host first: a sandbox never makes a mount point there"}
	}
	return fmt.Errorf("cannot build the view: %w", err)
}

// raiseLimits takes the caller's soft limits off runsc, whose sentry would fail
// under them; the command gets them through the spec.
func raiseLimits() {
	for _, resource := range []int{unix.RLIMIT_AS, unix.RLIMIT_DATA, unix.RLIMIT_FSIZE, unix.RLIMIT_NOFILE, unix.RLIMIT_NPROC, unix.RLIMIT_CPU, unix.RLIMIT_CORE} {
		var l syscall.Rlimit
		if syscall.Getrlimit(resource, &l) == nil {
			l.Cur = l.Max
			// syscall's, not unix's: it also keeps Go from giving children the
			// soft limit back.
			syscall.Setrlimit(resource, &l)
		}
	}
}

// explain turns what runsc says of a command that it could not start into what
// a shell would.
func (k *keeper) explain(err error) error {
	var failed *runsc.Error
	if !errors.As(err, &failed) {
		return err
	}
	command := k.order.Config.Args[0]
	switch fault, words := failed.Command(); {
	case fault == runsc.CommandNotFound:
		return &Failure{Kind: NotFound, err: fmt.Errorf("cannot run %s: not found in the sandbox", command), Hint: hintNotFound(command)}
	case fault == runsc.CommandNotExecutable:
		return &Failure{Kind: NotExecutable, err: fmt.Errorf("cannot run %s: %s", command, words)}
	case k.launch.Client.Global.Platform == runsc.KVM:
		return &Failure{err: fmt.Errorf("cannot start the sandbox: %w", failed), Hint: hintKVM}
	}
	if full(failed) {
		return fmt.Errorf("cannot start the sandbox: %w", failed)
	}
	return &Failure{err: fmt.Errorf("cannot start the sandbox: %w", failed), Hint: hintLimits()}
}

// fewDescriptors are too few for the sentry, which uses numbers from 253 on.
const fewDescriptors = 300

// hintLimits says which of the caller's hard limits a sandbox may not live in.
func hintLimits() string {
	var l syscall.Rlimit
	if syscall.Getrlimit(unix.RLIMIT_FSIZE, &l) == nil && l.Max != unix.RLIM_INFINITY {
		return "the hard limit of file sizes (ulimit -Hf) also bounds the sandbox's memory"
	}
	if syscall.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil && l.Max < fewDescriptors {
		return fmt.Sprintf("the hard limit of open files (ulimit -Hn) is %d, and the sandbox needs %d", l.Max, fewDescriptors)
	}
	return "-debug keeps runsc's logs"
}

const hintKVM = "kvm needs a /dev/kvm that you may open and that works; -platform systrap needs nothing"

// hintNotFound tells what else can be missing of a command that is named by its
// path.
func hintNotFound(command string) string {
	if strings.HasPrefix(command, bundle.Tmp+"/") {
		return "/tmp is empty in the sandbox: -bind or -ro-bind shows a host path"
	}
	if strings.Contains(command, "/") {
		return "the interpreter in its first line may be what is missing"
	}
	return ""
}

// killDescendants is what stands in for a PID namespace: all that came from us,
// and was handed to us as their subreaper, is killed until nothing is left.
func killDescendants() {
	for {
		children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
		fields := strings.Fields(string(children))
		if err != nil || len(fields) == 0 {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || pid <= 0 {
				return
			}
			continue
		}
		for _, field := range fields {
			var pid int
			fmt.Sscan(field, &pid)
			syscall.Kill(pid, syscall.SIGKILL)
		}
		syscall.Wait4(-1, nil, 0, nil)
	}
}
