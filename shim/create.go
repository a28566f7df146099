package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// CreateOptions say how a container is created. The zero value of each is the
// default, but ID, Bundle, Root, Runsc and Host must be set.
type CreateOptions struct {
	// ID is the container's name, and Bundle the directory that holds its
	// config.json.
	ID, Bundle string
	// Root is the directory of the containers.
	Root string
	// Runsc is the path of the runsc binary.
	Runsc string
	Host  Host
	// Platform, Network and Overlay are runsc's. Without a Network, the spec
	// decides; without an Overlay, writes belong to the rootfs.
	Platform runsc.Platform
	Network  runsc.Network
	Overlay  bundle.Overlay
	// SystemdCgroup makes cgroups through systemd; NoCgroups makes none.
	SystemdCgroup, NoCgroups bool
	// ConsoleSocket gets the terminal, PIDFile the pid, and the socket
	// PidfdSocket a pidfd of the sandbox; each is a path, or empty.
	ConsoleSocket, PIDFile, PidfdSocket string
	// PreserveFDs is the number of descriptors from 3 on that the container's
	// process gets.
	PreserveFDs int
	// Stdio are the standard descriptors of the container's process; nil: ours.
	Stdio [3]*os.File
	// Debug takes what was changed and why; may be nil.
	Debug func(format string, args ...any)

	// lock of the container.
	lock *os.File
}

// Create makes a container of a bundle: everything up to the start of its
// process. Its standard descriptors are ours.
func Create(o CreateOptions) (*Container, error) {
	c, lock, err := reserve(o.Root, o.ID)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	o.lock = lock
	if err := c.create(&o); err != nil {
		return nil, errors.Join(err, c.abandon(&o))
	}
	return c, nil
}

// reserve makes the directory of a container, and locks it.
func reserve(root, id string) (*Container, *os.File, error) {
	if err := checkID(id); err != nil {
		return nil, nil, err
	}
	guard, err := openRoot(root, unix.LOCK_SH)
	if err != nil {
		return nil, nil, err
	}
	defer guard.Close()
	c := &Container{dir: filepath.Join(root, id)}
	err = os.Mkdir(c.dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil, nil, errors.New("container with given ID already exists") // runc's words
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a directory for container %q: %w", id, err)
	}
	lock, err := lockIn(c.dir, unix.O_CREAT, unix.LOCK_EX)
	if err == nil {
		// sharedName has to be there before anybody could tidy the root.
		err = os.MkdirAll(filepath.Join(root, sharedName), 0o700)
	}
	for _, sub := range []string{bundleName, runscName} {
		if err == nil {
			err = os.Mkdir(c.path(sub), 0o711)
		}
	}
	if err != nil {
		removeDir(c.dir)
		return nil, nil, fmt.Errorf("cannot make a directory for container %q: %w", id, err)
	}
	c.ID = id
	return c, lock, nil
}

// abandon removes what a failed create has made.
func (c *Container) abandon(o *CreateOptions) error {
	if c.Runsc.Path != "" {
		// There may be nothing to delete.
		c.deleteInner()
	}
	c.killSandbox()
	c.removeCgroup()
	c.runPoststop(o.debug)
	return removeContainer(c.dir)
}

func (c *Container) create(o *CreateOptions) error {
	adapted, err := c.adapt(o)
	if err != nil {
		return err
	}
	if err := c.checkCommand(adapted); err != nil {
		return err
	}
	if err := checkConsole(o, adapted.Spec.Process.Terminal); err != nil {
		return err
	}
	c.configure(o, adapted)
	if self, err := readProcess(os.Getpid()); err == nil {
		c.Creator, c.CreatorStart = os.Getpid(), self.start
	}
	if err := c.joinPod(o, adapted); err != nil {
		return err
	}
	c.noteCgroup(adapted)
	if err := c.save(); err != nil {
		return err
	}
	if o.PreserveFDs > 0 && c.Sandbox == "" {
		if err := c.addWaitingHook(adapted); err != nil {
			return err
		}
	}
	if err := bundle.Write(c.path(bundleName), adapted.Spec); err != nil {
		return err
	}
	raiseLimits()
	switch {
	case c.Sandbox != "":
		if err = c.runCreate(o, adapted); err == nil {
			err = c.startWaiter(o)
		}
	case o.PreserveFDs > 0:
		err = c.createWaiting(o, adapted)
	default:
		err = c.runCreate(o, adapted)
	}
	if err != nil {
		return explainCreate(err)
	}
	return c.finishCreate(o)
}

// checkConsole: a terminal needs somebody who gets it, and somebody who waits for
// one needs a terminal. The words are runc's.
func checkConsole(o *CreateOptions, terminal bool) error {
	switch {
	case terminal && o.ConsoleSocket == "":
		return errors.New("cannot allocate tty if runc will detach without setting console socket")
	case !terminal && o.ConsoleSocket != "":
		return errors.New("cannot use console socket if runc will not detach or allocate tty")
	}
	return nil
}

// finishCreate does what comes between the making of the sandbox and the end of
// create.
func (c *Container) finishCreate(o *CreateOptions) error {
	p, err := readProcess(c.Pid)
	if err != nil {
		return fmt.Errorf("cannot create container %q: its sandbox is gone: %w", c.ID, err)
	}
	c.PidStart = p.start
	//lint:ignore SA1019 docker sets up its networks in one
	if len(c.Hooks.Prestart)+len(c.Hooks.CreateRuntime) > 0 {
		// They may take their time, and the pid is needed to kill and delete.
		if err := c.save(); err != nil {
			return err
		}
	}
	// The order of both, and that they come before the pid file, is the spec's.
	//lint:ignore SA1019 docker sets up its networks in one
	if err := c.runHooks("prestart", c.Hooks.Prestart, Creating); err != nil {
		return err
	}
	if err := c.runHooks("createRuntime", c.Hooks.CreateRuntime, Creating); err != nil {
		return err
	}
	c.Hooks = specs.Hooks{Poststart: c.Hooks.Poststart, Poststop: c.Hooks.Poststop}
	if !c.alive() {
		return fmt.Errorf("cannot create container %q: it was killed", c.ID)
	}
	c.Creator, c.CreatorStart = 0, 0
	if err := c.settle(Created); err != nil {
		return err
	}
	if o.PidfdSocket != "" {
		if err := sendPidfd(o.PidfdSocket, c.Pid); err != nil {
			return err
		}
	}
	return writePIDFile(o.PIDFile, c.Pid)
}

// writePIDFile writes pid to path, if there is one: last of all, for who waits
// for the file.
func writePIDFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	if err := writeAtomic(path, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("cannot write the pid file: %w", err)
	}
	return nil
}

func (o *CreateOptions) stdio(fd int) *os.File {
	if f := o.Stdio[fd]; f != nil {
		return f
	}
	return [...]*os.File{os.Stdin, os.Stdout, os.Stderr}[fd]
}

func (o *CreateOptions) debug(format string, args ...any) {
	if o.Debug != nil {
		o.Debug(format, args...)
	}
}

// configure decides how runsc is called, now and by later verbs.
func (c *Container) configure(o *CreateOptions, a *bundle.Adapted) {
	g := runsc.GlobalFlags{
		Root: c.path(runscName), SharedRoot: filepath.Join(o.Root, sharedName), Platform: o.Platform,
		// It costs a tenth of a start, and a container is no place to tune a host.
		IgnoreHostSettings: true,
		NetRaw:             a.NetRaw, OCISeccomp: a.Seccomp, AllowSUID: true,
	}
	g.Network, c.AutoNetwork = chooseNetwork(o.Network, a.Spec)
	c.Proxied, c.NetworkPath = o.proxied(), networkPath(a.Spec)
	if c.AutoNetwork && o.PreserveFDs > 0 && a.NewNetwork && len(c.Hooks.CreateRuntime) == 0 {
		// Its runsc starts with what it was created with, and who might still fill
		// the namespace is not in sight.
		g.Network, c.AutoNetwork = runsc.NetworkNone, false
	}
	switch o.Overlay {
	case bundle.OverlaySelf:
		g.Overlay2 = "root:self"
	case bundle.OverlayMemory:
		g.Overlay2 = "root:memory"
	default:
		g.Overlay2 = "none"
	}
	if c.NoCgroups = noCgroups(o); c.NoCgroups != "" {
		o.debug("cgroups are left alone: %s", c.NoCgroups)
		g.IgnoreCgroups = true
	} else {
		g.SystemdCgroup = o.SystemdCgroup
	}
	c.Runsc = runsc.Client{Path: o.Runsc, Global: g}
}

// noCgroups says why the container gets no cgroup; empty: it gets one.
func noCgroups(o *CreateOptions) string {
	switch {
	case o.NoCgroups:
		return "--cgroup-manager disabled asks for none"
	case !o.Host.RealRoot:
		return "we are in a user namespace, or not root"
	}
	for _, dir := range []string{cgroups + "/cgroup.procs", cgroups + "/memory"} {
		if unix.Access(dir, unix.W_OK) == nil {
			return ""
		}
	}
	return cgroups + " cannot be written"
}

// runCreate runs `runsc create`.
func (c *Container) runCreate(o *CreateOptions, a *bundle.Adapted) error {
	client := c.Runsc
	client.Global.Log = c.path(logName)
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	cmd := client.CreateCommand(c.inner(), runsc.CreateOpts{
		Bundle: c.path(bundleName), PIDFile: c.path(pidName), ConsoleSocket: o.ConsoleSocket,
		// Should we be killed, whoever deletes the container waits for runsc, which
		// goes on, before he looks for what is to be removed.
		Inherit: []*os.File{o.lock}, Null: null,
	})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.stdio(0), o.stdio(1), o.stdio(2)
	cmd, err = c.enter(cmd, a)
	if err != nil {
		return err
	}
	err = cmd.Wait()
	status, err := client.Explain("create", err, cmd.ProcessState)
	if err == nil && status != 0 {
		err = &runsc.Error{Verb: "create", Status: status}
	}
	if err != nil {
		return err
	}
	return c.readPid()
}

func (c *Container) readPid() error {
	data, err := os.ReadFile(c.path(pidName))
	if err == nil {
		c.Pid, err = strconv.Atoi(string(data))
	}
	if err != nil {
		return fmt.Errorf("cannot read the pid of container %q: %w", c.ID, err)
	}
	return nil
}

// enter starts cmd, in a user namespace of ours where we need one.
func (c *Container) enter(cmd *exec.Cmd, a *bundle.Adapted) (*exec.Cmd, error) {
	if privileged() {
		return cmd, cmd.Start()
	}
	return startStage(cmd, c.path(logName), a)
}

// explainCreate puts a failure to find or execute the command into runc's words.
func explainCreate(err error) error {
	var failed *runsc.Error
	if errors.As(err, &failed) {
		switch fault, words := failed.Command(); fault {
		case runsc.CommandNotFound, runsc.CommandNotExecutable:
			return fmt.Errorf("unable to start container process: exec: %s", words)
		}
	}
	return err
}
