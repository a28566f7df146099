package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// `runsc create` passes no descriptors on; `runsc run` does, but starts at once
// (gVisor v0.0.0-20260905035102). So a container that gets some is made by a
// `runsc run --detach` that stands still at a hook of ours, between its create
// and its start, until our own start, or a kill, comes.

// HookName is argv[0] of the process that is this hook.
const HookName = "gvisor-exec-hook"

// preserved are the descriptors from 3 on that are to be passed. The caller has
// seen to it that they are open.
func preserved(n int) []*os.File {
	var files []*os.File
	for fd := 3; fd < 3+n; fd++ {
		files = append(files, os.NewFile(uintptr(fd), "descriptor "+strconv.Itoa(fd)))
	}
	return files
}

// numbers are the first n descriptors behind stdio.
func numbers(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = 3 + i
	}
	return list
}

// addWaitingHook adds the hook at which runsc run stands still.
func (c *Container) addWaitingHook(a *bundle.Adapted) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find our own binary: %w", err)
	}
	for _, name := range []string{readyName, releaseName} {
		if err := unix.Mkfifo(c.path(name), 0o600); err != nil {
			return fmt.Errorf("cannot make a pipe: %w", err)
		}
	}
	if a.Spec.Hooks == nil {
		a.Spec.Hooks = &specs.Hooks{}
	}
	a.Spec.Hooks.CreateRuntime = []specs.Hook{{Path: self, Args: []string{HookName, c.path(readyName), c.path(releaseName)}}}
	return nil
}

// createWaiting makes the container with descriptors of ours.
func (c *Container) createWaiting(o *CreateOptions, a *bundle.Adapted) error {
	client := c.Runsc
	client.Global.Log = c.path(logName)
	cmd := client.RunDetachedCommand(c.inner(), runsc.DetachedOpts{
		CreateOpts: runsc.CreateOpts{Bundle: c.path(bundleName), ConsoleSocket: o.ConsoleSocket},
		PassFDs:    numbers(o.PreserveFDs),
	})
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = o.stdio(0), o.stdio(1), o.stdio(2), preserved(o.PreserveFDs)
	cmd, err := c.enter(cmd, a)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ready := make(chan []byte, 1)
	go func() {
		data, _ := os.ReadFile(c.path(readyName))
		ready <- data
	}()
	select {
	case err := <-ended:
		_, err = client.Explain("run", err, cmd.ProcessState)
		if err == nil {
			err = errors.New("cannot create the container: runsc did not wait for its hook")
		}
		return err
	case data := <-ready:
		c.Waiting = cmd.Process.Pid
		if c.Pid, err = strconv.Atoi(string(data)); err != nil {
			return fmt.Errorf("cannot read the pid of container %q: %w", c.ID, err)
		}
		return nil
	}
}

// Hook is the life of the hook of a `runsc run` that stands still. It returns
// the status to exit with: 0 lets the container start.
func Hook(args []string) int {
	var state specs.State
	if len(args) != 3 || json.NewDecoder(os.Stdin).Decode(&state) != nil {
		return 1
	}
	// For writing too: so it never ends, and from now on there is who reads it.
	release, err := os.OpenFile(args[2], os.O_RDWR, 0)
	if err != nil {
		return 1
	}
	// If create has been killed, nobody reads this.
	ready, err := os.OpenFile(args[1], os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 1
	}
	if _, err := ready.WriteString(strconv.Itoa(state.Pid)); err != nil || ready.Close() != nil {
		return 1
	}
	word := make([]byte, len(wordNever))
	if n, err := release.Read(word); err != nil || string(word[:n]) != wordGo {
		return 1
	}
	return 0
}

// What the hook is told.
const (
	wordGo    = "go"
	wordNever = "never"
)

// tell wakes the hook. Where nobody waits any more there is nobody to be told.
func (c *Container) tell(word string) error {
	f, err := os.OpenFile(c.path(releaseName), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("cannot go on with container %q: %w", c.ID, err)
	}
	defer f.Close()
	_, err = f.WriteString(word)
	return err
}

// release lets `runsc run` start the container, and waits until it has.
func (c *Container) release() error {
	pidfd, err := unix.PidfdOpen(c.Waiting, 0)
	if err != nil {
		return fmt.Errorf("cannot start container %q: its runsc is gone: %w", c.ID, err)
	}
	defer unix.Close(pidfd)
	if err := c.tell(wordGo); err != nil {
		return err
	}
	awaitEnd(pidfd)
	client := c.Runsc
	client.Global.Log = c.path(logName)
	return client.Logged("run")
}
