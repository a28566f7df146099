package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
	// PIDFile takes the pid of the host process that stands for it, whose signals
	// are for it, and the socket ConsoleSocket its terminal; each is a path, or
	// empty.
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

	pids  *os.File // the FIFO to which runsc writes pid
	pid   int      // inside
	guard *guard   // where others learn our pid

	// waiter: we are that of a detached process; see exec_waiter.go. report tells
	// the caller how it went, until it has, and log is what client logs to.
	waiter      bool
	report, log *os.File
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
	if e.Detach {
		return 0, e.detach()
	}
	return e.runAs()
}

// runAs runs the process, as who stands for it, to its end.
func (e *execution) runAs() (int, error) {
	// From here on: what comes before the process runs is for it all the same.
	catch := catchSignals
	if e.waiter {
		catch = catchAll
	}
	signals, stop := catch()
	defer stop()
	if err := e.command(); err != nil {
		return 0, err
	}
	return e.run(signals)
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
	if err == nil {
		// A FIFO, so that its contents can be waited for.
		err = unix.Mkfifo(filepath.Join(e.dir, internalPidName), 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot describe the process: %w", err)
	}
	return nil
}

// command makes the runsc that runs the process.
func (e *execution) command() error {
	passed := map[int]*os.File{}
	for i, f := range preserved(e.PreserveFDs) {
		passed[3+i] = f
	}
	attr := &syscall.SysProcAttr{}
	if e.waiter {
		attr.Pdeathsig = syscall.SIGKILL
	}
	if tty, err := e.openStdio(passed); err != nil {
		return err
	} else if tty != nil {
		attr.Setsid, attr.Setctty, attr.Ctty = true, true, runsc.FirstPassFD
		passed[0], passed[1], passed[2] = tty, tty, tty
	} else {
		// Signals, those of the terminal too, come through us alone.
		attr.Setpgid = true
	}
	var err error
	// For writing too: so it never ends, and runsc does not wait for us.
	if e.pids, err = os.OpenFile(filepath.Join(e.dir, internalPidName), os.O_RDWR|unix.O_NONBLOCK, 0); err != nil {
		return fmt.Errorf("cannot open a pipe: %w", err)
	}
	e.client = e.c.Runsc
	e.client.Global.Log = filepath.Join(e.dir, logName)
	e.cmd = e.client.ExecCommand(e.c.inner(), runsc.ExecOpts{
		Process: filepath.Join(e.dir, processName), InternalPIDFile: filepath.Join(e.dir, internalPidName), PassFDs: passed,
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

func (e *execution) run(signals <-chan os.Signal) (int, error) {
	if err := e.cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot run %s: %w", e.client.Path, err)
	}
	if e.PIDFile != "" {
		// Now, so that it is up when runsc is.
		var err error
		if e.guard, err = e.c.startGuard(e.cmd.Process.Pid); err != nil {
			e.cmd.Process.Kill()
			e.cmd.Wait()
			return 0, err
		}
		defer e.guard.stop()
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
		line := make([]byte, 64)
		n, _ := e.pids.Read(line)
		pid, _, _ := strings.Cut(string(line[:n]), "\n")
		n, _ = strconv.Atoi(pid)
		started <- n
	}()
	select {
	case <-ended:
		e.pids.WriteString("\n") // to be read, should runsc have written nothing
		if pid := <-started; pid > 0 && e.Detach {
			return e.begun(pid, ended, signals) // and was over at once
		}
		return e.finish()
	case pid := <-started:
		return e.begun(pid, ended, signals)
	}
}

// begun goes on when the process, which is pid inside, runs, or has run.
func (e *execution) begun(pid int, ended <-chan struct{}, signals <-chan os.Signal) (int, error) {
	e.pid = pid
	if err := e.announce(); err != nil {
		e.c.killProcess(pid)
		<-ended
		e.finish()
		return 0, err
	}
	return e.attend(ended, signals)
}

// announce tells others of the process, who can signal it from now on.
func (e *execution) announce() error {
	if err := e.guard.watch(e.pid); err != nil {
		return err
	}
	if err := writePIDFile(e.PIDFile, os.Getpid()); err != nil {
		return err
	}
	if e.waiter {
		return e.handOver()
	}
	return nil
}

// awaitExit waits for the end of our child pid, and leaves its status for others.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// attend waits for the process, and brings it our signals.
func (e *execution) attend(ended <-chan struct{}, signals <-chan os.Signal) (int, error) {
	if e.terminal != nil {
		e.terminal.Raw()
		e.terminal.Start()
	}
	courier := e.c.newCourier(e.pid)
	defer courier.stop()
	for {
		select {
		case <-ended:
			return e.finish()
		case s := <-signals:
			if s == syscall.SIGWINCH && e.terminal != nil {
				e.terminal.Resize()
				continue
			}
			courier.bring(s)
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
