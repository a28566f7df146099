package shim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// courier brings signals to one process of a container, in their order. It keeps
// nobody waiting: a container may be paused for long.
type courier struct {
	signals chan syscall.Signal
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// newCourier returns a courier for the process that is pid inside.
func (c *Container) newCourier(pid int) *courier {
	ctx, cancel := context.WithCancel(context.Background())
	r := &courier{signals: make(chan syscall.Signal, 64), cancel: cancel}
	r.done.Go(func() {
		for {
			select {
			case sig := <-r.signals:
				c.signalProcess(ctx, sig, pid)
			case <-ctx.Done():
				return
			}
		}
	})
	return r
}

// bring takes a signal on its way.
func (r *courier) bring(sig os.Signal) {
	s, err := deliverable(sig.(syscall.Signal))
	if err != nil {
		return
	}
	select {
	case r.signals <- s:
	default: // so many wait already that one more says nothing new
	}
}

// stop ends the courier; what is on its way is for nobody any more.
func (r *courier) stop() {
	r.cancel()
	r.done.Wait()
}

// signalProcess sends sig to the process that is pid inside. Where the container is
// paused, which runsc refuses (gVisor v0.0.0-20260905035102), the signal waits until
// it goes on, as on Linux. That it cannot be sent otherwise means that the process
// has ended.
func (c *Container) signalProcess(ctx context.Context, sig syscall.Signal, pid int) {
	send := func() error { return c.Runsc.KillProcess(ctx, c.inner(), sig, pid) }
	if pid <= 0 || send() == nil || ctx.Err() != nil { // to runsc, 0 would be the container's first process
		return
	}
	changes, err := c.watchState(ctx)
	if err != nil {
		return
	}
	defer changes.Close()
	for {
		now, err := Load(filepath.Dir(c.dir), c.ID)
		paused := err == nil && now.status() == Paused
		// After this look: what has gone on since then takes it.
		if send() == nil || !paused {
			return
		}
		if _, err := changes.Read(make([]byte, 4096)); err != nil {
			return
		}
	}
}

// watchState returns a file that has something to read when a verb has changed the
// container. It closes as ctx ends.
func (c *Container) watchState(ctx context.Context) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot watch container %q: %w", c.ID, err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, c.dir, unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_DELETE_SELF); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot watch container %q: %w", c.ID, err)
	}
	context.AfterFunc(ctx, func() { f.Close() })
	return f, nil
}

// killProcess ends the process that is pid inside, unless its sandbox ends first.
func (c *Container) killProcess(pid int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if pidfd, err := unix.PidfdOpen(c.Pid, 0); err == nil {
		go func() {
			awaitEnd(pidfd)
			cancel()
		}()
	}
	c.signalProcess(ctx, syscall.SIGKILL, pid)
}
