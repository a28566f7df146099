package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// client is how runsc is called from start on, where what create and the engine
// made of the network namespace is known.
func (c *Container) client() runsc.Client {
	client := c.Runsc
	if c.AutoNetwork && !connected(c.Pid) {
		client.Global.Network = runsc.NetworkNone
	}
	return client
}

// Start starts the process of a created container. Warnings go to warn.
func (c *Container) Start(warn func(format string, args ...any)) error {
	return c.launch("start", warn, func() error { return c.client().Start(context.Background(), c.inner()) })
}

// Restore starts a created container from the checkpoint in the directory
// imagePath.
func (c *Container) Restore(imagePath string, warn func(format string, args ...any)) error {
	return c.launch("restore", warn, func() error {
		return c.client().Restore(context.Background(), c.inner(), runsc.RestoreOpts{Bundle: c.path(bundleName), ImagePath: imagePath})
	})
}

func (c *Container) launch(verb string, warn func(format string, args ...any), do func() error) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	switch s := c.status(); {
	case s == Stopped:
		return errors.New("cannot start a container that has stopped") // runc's words
	case s != Created:
		return fmt.Errorf("cannot %s a container in the %s state", verb, s)
	case c.NoProcess:
		return errors.New("cannot start a container without a process: the spec has none")
	}
	switch {
	case c.Waiting != 0:
		do = c.release
	case c.Sandbox != "":
		do = c.releaseMember
	}
	if err := c.change(Running, c.withPorts(do)); err != nil {
		return c.explainStart(err)
	}
	// It is running, and other verbs need not wait for what hooks do.
	lock.Close()
	for _, h := range c.Hooks.Poststart {
		if err := c.runHook(h, Running); err != nil {
			warn("cannot run poststart hook: %v", err) // and go on, says the specification
		}
	}
	return nil
}

// explainStart puts into runc's words that the sandbox could not find or execute
// the command.
func (c *Container) explainStart(err error) error {
	var failed *runsc.Error
	if !errors.As(err, &failed) || len(c.Process.Args) == 0 {
		return err
	}
	switch fault, words := failed.Command(); fault {
	case runsc.CommandNotFound, runsc.CommandNotExecutable:
		return fmt.Errorf("unable to start container process: exec: %q: %s", c.Process.Args[0], words)
	}
	return err
}

// killSandbox ends all of the container at once, from outside. The sandbox of a
// pod is not one container's to end.
func (c *Container) killSandbox() {
	if c.Sandbox != "" {
		c.tell(wordNever) // if it has not been started
		c.Runsc.Kill(context.Background(), c.inner(), syscall.SIGKILL, true)
		return
	}
	kill(c.Pid, c.PidStart)
}

// Pause stops the processes of a container; Resume lets them go on.
func (c *Container) Pause() error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if s := c.status(); s != Running {
		// runsc panics over one that is only created (gVisor v0.0.0-20260905035102).
		return fmt.Errorf("container not running: %s", s)
	}
	return c.change(Paused, func() error { return c.Runsc.Pause(context.Background(), c.inner()) })
}

// Resume lets a paused container go on, and delivers the signals that came
// meanwhile.
func (c *Container) Resume() error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if c.status() != Paused {
		return errors.New("container not paused") // runc's words
	}
	if err := c.change(Running, func() error { return c.Runsc.Resume(context.Background(), c.inner()) }); err != nil {
		return err
	}
	pending := c.Pending
	c.Pending = nil
	if len(pending) == 0 {
		return nil
	}
	for _, n := range pending {
		if err := c.Runsc.Kill(context.Background(), c.inner(), syscall.Signal(n), false); err != nil {
			return err
		}
	}
	return c.save()
}

// Update changes the limits of a container.
func (c *Container) Update(r *specs.LinuxResources) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if s := c.status(); s == Stopped {
		return errors.New("cannot update a container that has stopped")
	}
	if c.NoCgroups != "" {
		return fmt.Errorf("cannot update container %q: it has no cgroup: %s", c.ID, c.NoCgroups)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot update container %q: %w", c.ID, err)
	}
	return c.Runsc.Update(context.Background(), c.inner(), bytes.NewReader(data))
}

// Checkpoint writes the state of a container to the directory imagePath. It
// ends then, unless leaveRunning.
func (c *Container) Checkpoint(imagePath string, leaveRunning bool) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if s := c.status(); s != Running {
		return fmt.Errorf("cannot checkpoint a container in the %s state", s)
	}
	after := Stopped
	if leaveRunning {
		after = Running
	}
	return c.change(after, func() error {
		return c.Runsc.Checkpoint(context.Background(), c.inner(), runsc.CheckpointOpts{ImagePath: imagePath, LeaveRunning: leaveRunning})
	})
}

// Stats returns an event with what the container uses, in runc's JSON.
func (c *Container) Stats() (json.RawMessage, error) {
	if s := c.status(); s == Stopped {
		return nil, errors.New("container not running") // runc's words
	}
	stats, err := c.Runsc.Stats(context.Background(), c.inner())
	if err != nil || c.Inner == "" {
		return stats, err
	}
	return bytes.Replace(stats, []byte(`"id":"`+c.Inner+`"`), []byte(`"id":"`+c.ID+`"`), 1), nil
}

// Processes returns the processes of a container, with their pids inside.
func (c *Container) Processes() ([]runsc.Process, error) {
	if s := c.status(); s == Stopped || s == Created || s == Creating {
		return nil, nil // as in runc, where there is nothing in the cgroup
	}
	return c.Runsc.Processes(context.Background(), c.inner())
}

// Delete removes a container that is not running; with force, any. Warnings
// go to warn.
func (c *Container) Delete(force bool, warn func(format string, args ...any)) error {
	if force && c.status() == Creating {
		kill(c.Creator, c.CreatorStart) // which holds the lock
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if s := c.status(); s != Stopped && s != Created && !force {
		return fmt.Errorf("cannot delete container %q that is not stopped: %s", c.ID, s)
	}
	c.tell(wordNever) // if a runsc run still waits: it removes what it has made
	// Dead or created, runsc may call it running: it counts zombies.
	if err := c.deleteInner(); err != nil {
		if !force {
			return err
		}
		warn("%v", err)
	}
	c.killSandbox()
	if c.Sandbox != "" && force {
		kill(c.Pid, c.PidStart) // a waiter that still waits
	}
	c.removePorts(warn)
	c.removeCgroup()
	c.runPoststop(warn)
	return removeContainer(c.dir)
}

// deleteTimeout bounds a runsc that hangs: what it would have removed is killed.
const deleteTimeout = 20 * time.Second

// deleteInner has runsc delete the container.
func (c *Container) deleteInner() error {
	ctx, cancel := context.WithTimeout(context.Background(), deleteTimeout)
	defer cancel()
	return c.Runsc.Delete(ctx, c.inner(), runsc.DeleteOpts{Force: true})
}

// DeleteRemains removes what is left of the container id, if anything, where its
// state cannot be read: its create was killed early, or the file is broken.
func DeleteRemains(root, id string) error {
	if err := errors.Join(checkID(id), checkRoot(root)); err != nil {
		return err
	}
	dir := filepath.Join(root, id)
	lock, err := lockIn(dir, unix.O_CREAT, unix.LOCK_EX)
	if err != nil {
		return nil // there is no directory
	}
	defer lock.Close()
	if _, err := Load(root, id); err == nil {
		return nil // its create went on meanwhile
	}
	c := &Container{dir: dir}
	if err := c.readPid(); err == nil {
		// The number may be another's by now; this is what tells.
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.Pid))
		if p, err := readProcess(c.Pid); err == nil && bytes.Contains(cmdline, []byte("--root="+c.path(runscName)+"\x00")) {
			if in, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.Pid)); bytes.Contains(in, []byte(":/"+id+"\n")) {
				c.Cgroup = "/" + id
			}
			kill(c.Pid, p.start)
		}
	}
	c.removeCgroup()
	return removeContainer(dir)
}
