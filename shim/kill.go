package shim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The real-time signals, as the C library numbers them: it keeps two for itself.
const (
	rtMin = 34
	rtMax = 64
)

// halt is the signal that asks an init such as systemd to shut down; podman
// sends it to what it takes for one.
const halt = syscall.Signal(rtMin + 3)

// ParseSignal parses a signal as runc's kill takes it: a number, or a name with
// or without SIG. 0 asks whether the container runs.
func ParseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > rtMax {
			return 0, fmt.Errorf("unknown signal %q", s)
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	for _, rt := range []struct {
		prefix string
		base   int
	}{{"RTMIN+", rtMin}, {"RTMAX-", -rtMax}} {
		if n, found := strings.CutPrefix(name, rt.prefix); found {
			if i, err := strconv.Atoi(n); err == nil && i >= 0 && i <= rtMax-rtMin {
				return syscall.Signal(abs(rt.base + i)), nil
			}
		}
	}
	switch name {
	case "RTMIN":
		return rtMin, nil
	case "RTMAX":
		return rtMax, nil
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}

func abs(n int) int { return max(n, -n) }

// deliverable is what the sentry is sent for sig. It swallows real-time signals
// (gVisor v0.0.0-20260905035102).
func deliverable(sig syscall.Signal) (syscall.Signal, error) {
	switch {
	case sig == halt:
		// An init that understands it takes a SIGINT, which is ctrl-alt-del, for
		// a shutdown too, where a SIGTERM would make systemd start over. To any
		// other program it is as deadly.
		return syscall.SIGINT, nil
	case sig > 31:
		return 0, fmt.Errorf("cannot send signal %d: gVisor delivers no real-time signals", sig)
	}
	return sig, nil
}

// deadly reports whether sig ends a process that does nothing about it.
func deadly(sig syscall.Signal) bool {
	switch sig {
	case 0, syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
		syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
		return false
	}
	return true
}

// Kill sends sig to the container's first process, or with all to every one.
func (c *Container) Kill(sig syscall.Signal, all bool) error {
	sig, err := deliverable(sig)
	if err != nil {
		return err
	}
	switch c.status() {
	case Stopped:
		if all {
			return nil // nothing is left, as was wanted
		}
		return errors.New("container not running") // runc's words, which engines look for
	case Created, Creating:
		// There is no process yet. With runc it would be its init, which does
		// nothing about signals.
		if deadly(sig) {
			c.killSandbox()
		}
		return nil
	case Paused:
		return c.killPaused(sig)
	}
	if sig == 0 {
		return nil
	}
	err = c.Runsc.Kill(context.Background(), c.inner(), sig, all)
	if err != nil && !c.alive() {
		if all {
			return nil
		}
		return errors.New("container not running")
	}
	return err
}

// killPaused: runsc signals no paused container. SIGKILL ends it from outside;
// anything else waits until it is resumed, as on Linux.
func (c *Container) killPaused(sig syscall.Signal) error {
	switch sig {
	case 0:
		return nil
	case syscall.SIGKILL:
		if c.Sandbox != "" {
			// What is paused is all of the pod.
			if err := c.Resume(); err != nil {
				return err
			}
		}
		c.killSandbox()
		return nil
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	c.Pending = append(c.Pending, int(sig))
	return c.save()
}
