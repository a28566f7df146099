package shim

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/internal/stdio"
)

// RunOptions say how a container is run: created and started in one.
type RunOptions struct {
	CreateOptions
	// Detach returns once it has started; otherwise Run waits for its end.
	Detach bool
	// Keep leaves a container that has ended to a later delete.
	Keep bool
	// ImagePath is a checkpoint to start from; empty: from the beginning.
	ImagePath string
	// Warn takes what went wrong without being a failure.
	Warn func(format string, args ...any)
}

// attached is a Run that waits.
type attached struct {
	RunOptions
	set      *stdio.Set
	console  *console
	terminal *stdio.Terminal
}

// Run runs a container and returns the status of its process; with Detach, 0
// once it has started.
func Run(o RunOptions) (int, error) {
	spec, err := bundle.Load(o.Bundle)
	if err != nil {
		return 0, err
	}
	wantsTerminal := spec.Process != nil && spec.Process.Terminal
	switch {
	case o.Detach && wantsTerminal && o.ConsoleSocket == "":
		return 0, errors.New("cannot allocate a terminal for a detached container without --console-socket")
	case o.ConsoleSocket != "" && !(o.Detach && wantsTerminal):
		return 0, errors.New("cannot use --console-socket without --detach and a terminal in the spec")
	case o.Detach:
		c, err := Create(o.CreateOptions)
		if err != nil {
			return 0, err
		}
		return 0, o.begin(c)
	}
	a := &attached{RunOptions: o}
	if err := a.openStdio(wantsTerminal); err != nil {
		return 0, err
	}
	status, err := a.run()
	return status, errors.Join(err, a.closeStdio())
}

// begin starts a container that has just been created; if it cannot, it is gone.
func (o *RunOptions) begin(c *Container) error {
	start := c.Start
	if o.ImagePath != "" {
		start = func() error { return c.Restore(o.ImagePath) }
	}
	if err := start(); err != nil {
		return errors.Join(err, c.Delete(true, o.Warn))
	}
	return nil
}

func (a *attached) openStdio(terminal bool) (err error) {
	if terminal {
		if a.console, err = listenConsole(); err != nil {
			return err
		}
		a.ConsoleSocket = a.console.path()
		return nil
	}
	if a.set, err = stdio.Prepare([]int{0, 1, 2}); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for fd := range a.Stdio {
		if a.Stdio[fd] = a.set.Files[fd]; a.Stdio[fd] == nil {
			a.Stdio[fd] = null
		}
	}
	return nil
}

func (a *attached) closeStdio() error {
	if a.terminal != nil {
		a.terminal.Finish(stdio.Forever)
	}
	if a.console != nil {
		a.console.close()
	}
	if a.set != nil {
		return a.set.Finish(stdio.Forever)
	}
	return nil
}

func (a *attached) run() (int, error) {
	// When runsc create has ended, the sandbox is our child.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("cannot become a subreaper: %w", err)
	}
	// From here on: what comes before the process runs is for it all the same.
	signals, stop := catchSignals()
	defer stop()
	c, err := Create(a.CreateOptions)
	if err != nil {
		return 0, err
	}
	if a.console != nil {
		master, err := a.console.receive()
		if err == nil {
			a.terminal, err = stdio.AttachTerminal(master, 0, 1)
		}
		if err != nil {
			return 0, errors.Join(err, c.Delete(true, a.Warn))
		}
		a.terminal.Raw()
		a.terminal.Start()
	}
	if a.set != nil {
		a.set.Start()
	}
	if err := a.begin(c); err != nil {
		return 0, err
	}
	status := a.attend(c, signals)
	if a.Keep {
		return status, nil
	}
	return status, c.Delete(true, a.Warn)
}

// attend waits for the end of the sandbox, and brings our signals to its process.
func (a *attached) attend(c *Container, signals <-chan os.Signal) int {
	ended := make(chan int, 1)
	go func() { ended <- waitSandbox(c.Pid) }()
	for {
		select {
		case status := <-ended:
			return status
		case s := <-signals:
			if s == syscall.SIGWINCH && a.terminal != nil {
				a.terminal.Resize()
				continue
			}
			c.Kill(s.(syscall.Signal), false) // an error means that it has just ended
		}
	}
}

// waitSandbox waits for our child pid; its status is the container's.
func waitSandbox(pid int) int {
	for {
		var ws unix.WaitStatus
		_, err := unix.Wait4(pid, &ws, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 255 // somebody else has waited for it: runc says so too
		case ws.Signaled():
			return 128 + int(ws.Signal())
		default:
			return ws.ExitStatus()
		}
	}
}
