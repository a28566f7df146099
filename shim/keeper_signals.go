package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// forward brings signals to the command: those of its terminal, which are ours
// as its session leader, and those that the front got.
func (k *keeper) forward(signals <-chan os.Signal, instructions <-chan instruction) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-k.ending; cancel() }()
	for {
		select {
		case <-k.ending:
			return
		case i := <-instructions:
			k.deliver(ctx, i)
		case s := <-signals:
			switch {
			case !k.order.Terminal && s == syscall.SIGTERM, s == syscall.SIGHUP && !k.order.Terminal:
				k.die()
			case !k.order.Terminal:
			case s == syscall.SIGTERM:
				k.die() // the front's death, see Launch
			default:
				k.fromTerminal(ctx, s.(syscall.Signal))
			}
		}
	}
}

// fromTerminal delivers a signal that the line discipline made.
func (k *keeper) fromTerminal(ctx context.Context, sig syscall.Signal) {
	if !k.order.Config.Terminal {
		k.deliver(ctx, instruction{Signal: sig})
		return
	}
	// runsc run sends what it gets to the terminal's foreground group, once
	// the command runs; before that it would die of it.
	if k.awaitStart(ctx) != nil {
		return
	}
	syscall.Kill(k.runsc.Pid(), sig)
	if sig == syscall.SIGTSTP {
		go func() {
			if k.stopped(ctx) {
				k.msgs.send(report{Suspended: true})
			}
		}()
	}
}

// stoppedTimeout bounds the question whether the command has been stopped.
const stoppedTimeout = 2 * time.Second

// stopped reports whether the command has been stopped. runsc has no verb for
// it, so a program in the sandbox is asked. Code inside can lie, or keep the
// answer back: that is for its own run to bear.
func (k *keeper) stopped(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, stoppedTimeout)
	defer cancel()
	out, err := k.launch.Client.Exec(ctx, sandboxID, "cat", "/proc/1/status")
	return err == nil && strings.Contains(string(out), "\nState:\tT")
}

// deliver sends a signal to the command as soon as it runs.
func (k *keeper) deliver(ctx context.Context, i instruction) {
	if k.awaitStart(ctx) != nil {
		return
	}
	// An error means that the sandbox is going: there is nobody to tell.
	k.launch.Client.Kill(ctx, sandboxID, i.Signal, i.All)
}

// startPoll is how often runsc is asked whether the command has been started;
// it announces it nowhere.
const startPoll = 10 * time.Millisecond

// awaitStart waits until the command runs.
func (k *keeper) awaitStart(ctx context.Context) error {
	for {
		status, err := k.launch.Client.Status(ctx, sandboxID)
		var failed *runsc.Error
		switch {
		case err == nil && status == runsc.StatusRunning:
			return nil
		case err != nil && !errors.As(err, &failed):
			return err // runsc itself is gone
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(startPoll):
		}
	}
}

// watchStart ends a runsc that does not come up: --platform=kvm hangs at 200 %
// CPU where virtualisation is nested and broken (gVisor
// v0.0.0-20260905035102).
func (k *keeper) watchStart() {
	ctx, cancel := context.WithTimeout(context.Background(), k.order.StartTimeout)
	defer cancel()
	if k.awaitStart(ctx) == nil {
		return
	}
	select {
	case <-k.ending:
		return
	default:
	}
	k.msgs.send(report{Failure: &failure{
		Msg:  fmt.Sprintf("cannot start the sandbox: platform %s did not come up within %v", k.launch.Client.Global.Platform.String(), k.order.StartTimeout),
		Hint: hintKVM,
	}})
	if k.launch.SharePID {
		killDescendants()
	}
	os.Exit(1)
}
