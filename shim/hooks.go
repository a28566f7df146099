package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// runHooks runs the hooks of one time one after the other, each with the state
// on its standard input, until one fails.
func (c *Container) runHooks(when string, hooks []specs.Hook, s Status) error {
	for i, h := range hooks {
		if err := c.runHook(h, s); err != nil {
			return fmt.Errorf("cannot run %s hook %d: %w", when, i, err)
		}
	}
	return nil
}

func (c *Container) runHook(h specs.Hook, s Status) error {
	if !filepath.IsAbs(h.Path) {
		return fmt.Errorf("%q is not an absolute path", h.Path)
	}
	state := specs.State{
		Version: c.OCIVersion, ID: c.ID, Status: specs.ContainerState(s), Pid: c.Pid,
		Bundle: c.Bundle, Annotations: c.Annotations,
	}
	if s == Stopped {
		state.Pid = 0
	}
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if h.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
		defer cancel()
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, h.Path)
	cmd.Args, cmd.Env, cmd.Dir = h.Args, h.Env, c.Bundle
	if len(cmd.Args) == 0 {
		cmd.Args = []string{h.Path}
	}
	if cmd.Env == nil {
		cmd.Env = []string{} // a hook has the environment that its spec names
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), &out, &out
	// A daemon that a hook leaves behind may keep the pipes.
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: not done after %d s", h.Path, *h.Timeout)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return fmt.Errorf("%s: %w, output: %s", h.Path, err, strings.TrimSpace(out.String()))
	}
	return nil
}

// closeOthers keeps from a hook what runsc's gofer has open.
func closeOthers() { unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) }

// runPoststop runs the hooks of a container that is gone.
func (c *Container) runPoststop(warn func(format string, args ...any)) {
	for _, h := range c.Hooks.Poststop {
		if err := c.runHook(h, Stopped); err != nil {
			warn("cannot run poststop hook: %v", err)
		}
	}
}

// RelayName is argv[0] of a process that stands between runsc and a hook.
const RelayName = "gvisor-exec-relay"

// Relay runs the hook that args name behind the bundle, with a state on its
// standard input that names this bundle, and returns the status to exit with.
func Relay(args []string) int {
	if len(args) < 3 {
		return 1
	}
	closeOthers()
	var state specs.State
	if err := json.NewDecoder(os.Stdin).Decode(&state); err != nil {
		fmt.Fprintln(os.Stderr, "cannot read the state:", err)
		return 1
	}
	state.Bundle = args[1]
	data, err := json.Marshal(state)
	if err != nil {
		return 1
	}
	argv := args[3:]
	if len(argv) == 0 {
		argv = []string{args[2]}
	}
	cmd := &exec.Cmd{Path: args[2], Args: argv, Env: os.Environ(), Stdin: bytes.NewReader(data), Stdout: os.Stdout, Stderr: os.Stderr}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
