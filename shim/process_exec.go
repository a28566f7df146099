package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/creack/pty"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/internal/stdio"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// ExecOptions say how another process is run in a container.
type ExecOptions struct {
	// Process to run, complete.
	Process *specs.Process
	// Detach returns once it runs.
	Detach bool
	// PIDFile takes the pid of the host process that stands for it, and the
	// socket ConsoleSocket its terminal; each is a path, or empty.
	PIDFile, ConsoleSocket string
	// PreserveFDs is the number of descriptors from 3 on that it gets.
	PreserveFDs int
	// IgnorePaused runs it in a paused container, too.
	IgnorePaused bool
}

// execution is one Exec.
type execution struct {
	ExecOptions
	c   *Container
	dir string
	cmd *exec.Cmd
	// client has the log of this execution.
	client runsc.Client

	set      *stdio.Set
	terminal *stdio.Terminal
	slave    *os.File // of a console socket
}

// Exec runs a process in the container and returns its status; with Detach, 0
// once it runs.
func (c *Container) Exec(o ExecOptions) (status int, err error) {
	switch s := c.status(); {
	case s == Stopped:
		return 0, errors.New("cannot exec in a stopped container") // runc's words
	case s == Paused && !o.IgnorePaused:
		return 0, errors.New("cannot exec in a paused container (use --ignore-paused to override)")
	}
	if err := o.check(); err != nil {
		return 0, err
	}
	e := &execution{ExecOptions: o, c: c}
	if e.dir, err = os.MkdirTemp(c.dir, "exec-"); err != nil {
		return 0, fmt.Errorf("cannot make a directory for the process: %w", err)
	}
	defer os.RemoveAll(e.dir) // files of ours alone
	if err := e.prepare(); err != nil {
		return 0, err
	}
	if err := e.command(); err != nil {
		return 0, err
	}
	return e.run()
}

func (o *ExecOptions) check() error {
	p := o.Process
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return errors.New("process args cannot be empty") // runc's words
	case !filepath.IsAbs(p.Cwd):
		return fmt.Errorf("cwd must be an absolute path, not %q", p.Cwd)
	case p.Terminal && o.Detach && o.ConsoleSocket == "":
		return errors.New("cannot allocate a terminal for a detached process without --console-socket")
	case o.ConsoleSocket != "" && !(p.Terminal && o.Detach):
		return errors.New("cannot use --console-socket without --tty and --detach")
	}
	return nil
}

// The names in the directory of an execution.
const (
	processName     = "process.json"
	internalPidName = "internal-pid"
)

func (e *execution) prepare() error {
	data, err := json.Marshal(e.Process)
	if err == nil {
		err = os.WriteFile(filepath.Join(e.dir, processName), data, 0o600)
	}
	// FIFOs, so that their contents can be waited for.
	for _, name := range []string{pidName, internalPidName} {
		if err == nil {
			err = unix.Mkfifo(filepath.Join(e.dir, name), 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot describe the process: %w", err)
	}
	e.client = e.c.Runsc
	e.client.Global.Log = filepath.Join(e.dir, logName)
	return nil
}

// command makes the runsc that runs the process.
func (e *execution) command() error {
	passed := map[int]*os.File{}
	for i, f := range preserved(e.PreserveFDs) {
		passed[3+i] = f
	}
	attr := &syscall.SysProcAttr{}
	if tty, err := e.openStdio(passed); err != nil {
		return err
	} else if tty != nil {
		attr.Setsid, attr.Setctty, attr.Ctty = true, true, runsc.FirstPassFD
		passed[0], passed[1], passed[2] = tty, tty, tty
	} else if !e.Detach {
		// The terminal's signals come through us alone.
		attr.Setpgid = true
	}
	e.cmd = e.client.ExecCommand(e.c.inner(), runsc.ExecOpts{
		Process: filepath.Join(e.dir, processName), PIDFile: filepath.Join(e.dir, pidName),
		InternalPIDFile: filepath.Join(e.dir, internalPidName), PassFDs: passed,
	})
	e.cmd.SysProcAttr = attr
	return nil
}

// openStdio decides what the process gets for our standard descriptors, into
// passed, or the terminal that it gets for all three.
func (e *execution) openStdio(passed map[int]*os.File) (tty *os.File, err error) {
	switch {
	case e.ConsoleSocket != "":
		master, slave, err := pty.Open()
		if err != nil {
			return nil, fmt.Errorf("cannot open a terminal: %w", err)
		}
		defer master.Close()
		e.slave = slave
		return slave, sendConsole(e.ConsoleSocket, master, slave.Name())
	case e.Process.Terminal:
		if e.terminal, err = stdio.OpenTerminal(0, 1); err != nil {
			return nil, err
		}
		return e.terminal.Command, nil
	case e.Detach:
		passed[0], passed[1], passed[2] = os.Stdin, os.Stdout, os.Stderr
		return nil, nil
	}
	if e.set, err = stdio.Prepare([]int{0, 1, 2}); err != nil {
		return nil, err
	}
	for fd, f := range e.set.Files {
		passed[fd] = f
	}
	return nil, nil
}

func (e *execution) run() (int, error) {
	// From here on: what comes before the process runs is for it all the same.
	signals, stop := catchSignals()
	defer stop()
	if err := e.cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot run %s: %w", e.client.Path, err)
	}
	if e.slave != nil {
		e.slave.Close()
	}
	if e.set != nil {
		e.set.Start()
	}
	ended := make(chan struct{})
	go func() {
		awaitExit(e.cmd.Process.Pid)
		close(ended)
	}()
	started := make(chan int, 1)
	go func() {
		// runsc writes them in this order, and stands still until each is read.
		pid, _ := os.ReadFile(filepath.Join(e.dir, internalPidName))
		os.ReadFile(filepath.Join(e.dir, pidName))
		n, _ := strconv.Atoi(string(pid))
		started <- n
	}()
	select {
	case <-ended:
		if !e.Detach || e.client.Logged("exec") != nil || exitedBySignal(e.cmd.Process.Pid) {
			return e.finish()
		}
		return e.begun(<-started, ended, signals) // and was over at once
	case pid := <-started:
		return e.begun(pid, ended, signals)
	}
}

// begun goes on when the process runs, or has run.
func (e *execution) begun(pid int, ended <-chan struct{}, signals <-chan os.Signal) (int, error) {
	if err := writePIDFile(e.PIDFile, e.cmd.Process.Pid); err != nil {
		e.cmd.Process.Kill()
		return 0, err
	}
	if e.Detach {
		// Its status is for who adopts it when we are gone: we do not wait for it.
		return 0, nil
	}
	return e.attend(pid, ended, signals)
}

// awaitExit waits for the end of our child pid, and leaves its status for others.
func awaitExit(pid int) unix.Siginfo {
	var info unix.Siginfo
	for unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	return info
}

// exitedBySignal reports whether a signal has ended our child pid.
func exitedBySignal(pid int) bool { return awaitExit(pid).Code != cldExited }

// cldExited is a Siginfo's Code for a process that has called exit.
const cldExited = 1

// attend waits for the process, which is pid inside, and brings it our signals.
func (e *execution) attend(pid int, ended <-chan struct{}, signals <-chan os.Signal) (int, error) {
	if e.terminal != nil {
		e.terminal.Raw()
		e.terminal.Start()
	}
	for {
		select {
		case <-ended:
			return e.finish()
		case s := <-signals:
			if s == syscall.SIGWINCH && e.terminal != nil {
				e.terminal.Resize()
				continue
			}
			// An error means that it has just ended, which we shall see.
			e.c.Runsc.KillProcess(context.Background(), e.c.inner(), s.(syscall.Signal), pid)
		}
	}
}

// finish carries the last output and tells a status from a failure of runsc's.
func (e *execution) finish() (int, error) {
	waited := e.cmd.Wait()
	status, err := e.client.Explain("exec", waited, e.cmd.ProcessState)
	if e.terminal != nil {
		e.terminal.Finish(stdio.Forever)
	}
	if e.set != nil {
		err = errors.Join(err, e.set.Finish(stdio.Forever))
	}
	var failed *runsc.Error
	if errors.As(err, &failed) {
		switch fault, words := failed.Command(); fault {
		case runsc.CommandNotFound, runsc.CommandNotExecutable:
			if fault == runsc.CommandNotFound {
				words = "executable file not found in $PATH"
			}
			return 0, fmt.Errorf("exec failed: unable to start container process: exec: %q: %s", e.Process.Args[0], words)
		}
	}
	return status, err
}
