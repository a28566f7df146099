package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A detached process needs somebody on the host who is its pid there: whom an
// engine waits for, and signals. `runsc exec` is not that, for a signal ends it and
// nothing else (gVisor v0.0.0-20260905035102). So it is a process of ours, which is
// left to the engine as exec returns. It has runsc as its child, brings the signals
// that it gets to the process in the sandbox, and ends with that one's status.
// SIGKILL, which it cannot catch, is brought by a guard, that waits for its end.

// ExecWaiterName is argv[0] of a process that is to stand for a detached one, and
// GuardName of one that is to guard such a process.
const (
	ExecWaiterName = "gvisor-exec-process"
	GuardName      = "gvisor-exec-guard"
)

// optionsName is the file of the directory of an execution that has its options.
const optionsName = "options.json"

// detach starts the waiter, and returns when the process runs.
func (e *execution) detach() error {
	if err := e.saveOptions(); err != nil {
		return err
	}
	report, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer report.Close()
	defer theirs.Close()
	cmd := ourselves(ExecWaiterName, filepath.Dir(e.c.dir), e.c.ID, e.dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = append(preserved(e.PreserveFDs), theirs)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start a waiter: %w", err)
	}
	theirs.Close()
	word, err := io.ReadAll(report)
	switch {
	case err != nil:
		return fmt.Errorf("cannot hear of the process: %w", err)
	case string(word) == wordGo:
		return cmd.Process.Release() // its status is for who adopts it
	}
	cmd.Wait()
	if len(word) == 0 {
		return errors.New("cannot run the process: its waiter was killed")
	}
	return errors.New(string(word))
}

// ourselves is a command that runs us under another name, in a session of its own:
// no terminal and no signal to a group of processes reaches it.
func ourselves(name string, args ...string) *exec.Cmd {
	return &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{name}, args...), Env: []string{},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
}

// letGo puts /dev/null in the place of our first n descriptors: a pipe ends when the
// process in the sandbox closes it. What is closed by number would be closed once
// more with its file, when it is another's.
func letGo(n int) error {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", os.DevNull, err)
	}
	defer unix.Close(null)
	for fd := range n {
		unix.Dup3(null, fd, unix.O_CLOEXEC)
	}
	return nil
}

func (e *execution) saveOptions() error {
	data, err := json.Marshal(e.ExecOptions)
	if err == nil {
		err = os.WriteFile(filepath.Join(e.dir, optionsName), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot describe the process: %w", err)
	}
	return nil
}

// loadExecution is what the waiter is told by its arguments.
func loadExecution(args []string) (*execution, error) {
	if len(args) != 4 {
		return nil, errors.New("cannot wait for a process: wrong arguments")
	}
	c, err := Load(args[1], args[2])
	if err != nil {
		return nil, err
	}
	e := &execution{c: c, dir: args[3], waiter: true}
	data, err := os.ReadFile(filepath.Join(e.dir, optionsName))
	if err == nil {
		err = json.Unmarshal(data, &e.ExecOptions)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what to run: %w", err)
	}
	e.report = os.NewFile(uintptr(3+e.PreserveFDs), "report")
	return e, nil
}

// ExecWaiter is the life of the waiter of a detached process. It returns the status
// to exit with.
func ExecWaiter(args []string) int {
	// runsc is to end with us, and the kernel takes for us the thread that starts it.
	runtime.LockOSThread()
	unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	e, err := loadExecution(args)
	if err != nil {
		return 1 // its caller is gone, and has taken the directory along
	}
	status, err := e.runAs()
	switch {
	case e.report == nil && err == nil:
		return status
	case e.report == nil:
		if !e.cmd.ProcessState.Exited() {
			e.c.killProcess(e.pid) // nobody would hear of it any more
		}
		return statusKilled // with the sandbox, if not by us
	case err == nil:
		err = fmt.Errorf("cannot run the process: runsc ended with status %d", status)
	}
	e.report.WriteString(err.Error())
	os.RemoveAll(e.dir) // should our caller be gone
	return 1
}

// handOver tells the caller that the process runs, and lets go of what the waiter
// does not need any more.
func (e *execution) handOver() error {
	// The caller removes the directory, and with it the name of the log.
	log, err := os.Open(e.client.Global.Log)
	if err != nil {
		return fmt.Errorf("cannot open runsc's log: %w", err)
	}
	e.log = log
	e.client.Global.Log = fmt.Sprintf("/proc/self/fd/%d", log.Fd())
	if err := letGo(3 + e.PreserveFDs); err != nil {
		return err
	}
	// A caller that was killed has told nobody of the process.
	if _, err := e.report.WriteString(wordGo); err != nil {
		return fmt.Errorf("cannot tell that the process runs: %w", err)
	}
	e.report.Close()
	e.report = nil
	return nil
}

// catchAll catches every signal that can be, but for those of our own making.
func catchAll() (<-chan os.Signal, func()) {
	signals := make(chan os.Signal, 64)
	for s := syscall.Signal(1); s <= rtMax; s++ {
		switch s {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG: // Go's scheduler uses the last
		case rtMin - 2, rtMin - 1: // the C library's
		default:
			signal.Notify(signals, s)
		}
	}
	return signals, func() { signal.Stop(signals) }
}

// guard is a Guard, as who is guarded sees it. No guard, a nil one, is possible.
type guard struct {
	cmd *exec.Cmd
	// pipe ends as we do, and that is the guard's sign.
	pipe *os.File
}

// startGuard starts a guard. It has nobody to kill yet; runsc is the pid of our
// child.
func (c *Container) startGuard(runsc int) (*guard, error) {
	pidfd, err := unix.PidfdOpen(runsc, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot start a guard: %w", err)
	}
	child := os.NewFile(uintptr(pidfd), "pidfd")
	defer child.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer r.Close()
	g := &guard{cmd: ourselves(GuardName, filepath.Dir(c.dir), c.ID), pipe: w}
	g.cmd.Stdin, g.cmd.ExtraFiles = r, []*os.File{child}
	if err := g.cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("cannot start a guard: %w", err)
	}
	return g, nil
}

// watch lets the guard kill the process that is pid inside, should we end without
// a call of stop.
func (g *guard) watch(pid int) error {
	if g == nil {
		return nil
	}
	if _, err := g.pipe.WriteString(strconv.Itoa(pid)); err != nil {
		return fmt.Errorf("cannot tell our guard of the process: %w", err)
	}
	return nil
}

func (g *guard) stop() {
	if g != nil {
		g.cmd.Process.Kill()
		g.cmd.Wait()
		g.pipe.Close() // not before
	}
}

// fdChild is the descriptor of a guard that is the pidfd of runsc.
const fdChild = 3

// Guard is the life of a guard. It returns the status to exit with.
func Guard(args []string) int {
	pid, err := strconv.Atoi(awaitParent())
	if len(args) != 3 || err != nil {
		return 1 // nobody knew of a process yet
	}
	if c, err := Load(args[1], args[2]); err == nil { // or the container is gone
		c.killProcess(pid)
	}
	return 0
}

// awaitParent waits for the end of who started the guard, and returns what he has
// said. If runsc ends first, he ends too; which he cannot where he was stopped.
func awaitParent() string {
	parent := os.Getppid()
	fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}, {Fd: fdChild, Events: unix.POLLIN}}
	var said []byte
	for buf := make([]byte, 64); ; {
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return ""
		}
		if fds[1].Revents != 0 {
			if p, err := readProcess(parent); err == nil && p.stopped && os.Getppid() == parent {
				syscall.Kill(parent, syscall.SIGCONT)
			}
			fds[1].Fd = -1 // no more of it
		}
		if fds[0].Revents != 0 {
			n, err := unix.Read(0, buf)
			if err != nil || n == 0 {
				return string(said)
			}
			said = append(said, buf[:n]...)
		}
	}
}
