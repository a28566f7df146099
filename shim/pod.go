package shim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// The members of a pod are containers in the sandbox of its first, as their
// annotations say. None has a host process of its own: its engine, which waits for
// a pid, gets that of a waiter. That is a process of ours, left to the engine by
// create, which holds the member's stdio until start, and ends as the member does.

// WaiterName is argv[0] of a process that is to be a waiter.
const WaiterName = "gvisor-exec-waiter"

// The descriptors that a waiter inherits: at fdRelease it is told that start has
// come, and fdReport takes whether it waits.
const (
	fdRelease = 3 + iota
	fdReport
)

// statusKilled is a member's that SIGKILL ended, or that ended with its sandbox.
const statusKilled = 128 + int(syscall.SIGKILL)

// joinPod makes the container a member of a pod if its spec says so.
func (c *Container) joinPod(o *CreateOptions, a *bundle.Adapted) error {
	if a.Sandbox == "" {
		return nil
	}
	why, err := mayJoin(o, a)
	if err != nil {
		return err
	}
	if why != "" {
		o.debug("the container gets a sandbox of its own: %s", why)
		a.LeavePod()
		return nil
	}
	return c.join(o, a)
}

// join makes the container a member of the sandbox of another.
func (c *Container) join(o *CreateOptions, a *bundle.Adapted) error {
	if !privileged() {
		return errors.New("cannot join a sandbox as an ordinary user, outside of its user namespace")
	}
	first, err := Load(o.Root, a.Sandbox)
	if err != nil {
		return fmt.Errorf("cannot join the pod's sandbox: %w", err)
	}
	if s := first.status(); s != Running && s != Created {
		return fmt.Errorf("cannot join the pod's sandbox: container %q is %s", a.Sandbox, s)
	}
	c.Sandbox, c.Runsc, c.NoCgroups = first.ID, first.Runsc, first.NoCgroups
	// The sandbox's cgroups remember an id that it has had: an engine that starts
	// the container again would be refused (gVisor v0.0.0-20260905035102). And in
	// the runsc root that members share, none may be the beginning of another.
	c.Inner = rand.Text()[:12] + "-" + c.ID
	for _, name := range []string{releaseName, readyName} {
		if err := unix.Mkfifo(c.path(name), 0o600); err != nil {
			return fmt.Errorf("cannot make a pipe: %w", err)
		}
	}
	return nil
}

// startWaiter starts the waiter, whose stdio is the container's.
func (c *Container) startWaiter(o *CreateOptions) error {
	if o.PreserveFDs > 0 {
		return errors.New("cannot pass descriptors to a member of a pod")
	}
	reports, reportsW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot start a waiter: %w", err)
	}
	defer reports.Close()
	defer reportsW.Close()
	cmd := ourselves(WaiterName, filepath.Dir(c.dir), c.ID, strconv.Itoa(c.Pid))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.stdio(0), o.stdio(1), o.stdio(2)
	// For writing too: so it never ends, and can be written to from now on.
	release, err := os.OpenFile(c.path(releaseName), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cannot start a waiter: %w", err)
	}
	defer release.Close()
	cmd.ExtraFiles = []*os.File{release, reportsW}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start a waiter: %w", err)
	}
	reportsW.Close()
	if err := awaitReport(reports); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	c.Pid = cmd.Process.Pid
	return cmd.Process.Release() // its status is for who adopts it
}

// Waiter is the life of a waiter. It returns the status to exit with.
func Waiter(args []string) int {
	if len(args) != 4 {
		return 1
	}
	sandbox, err := strconv.Atoi(args[3])
	if err != nil {
		return 1
	}
	pidfd, err := unix.PidfdOpen(sandbox, 0)
	if err == nil {
		err = enterNamespaces(sandbox)
	}
	tellCreate(os.NewFile(fdReport, "report"), err)
	if err != nil {
		return 1
	}
	// On other threads than ours, for which the host is still there.
	started, ended, dead := make(chan struct{}), make(chan int, 1), make(chan struct{})
	go func() { ended <- follow(args[1], args[2], started) }()
	go func() { awaitEnd(pidfd); close(dead) }()
	select {
	case status := <-ended:
		return status
	case <-dead:
	}
	select {
	case <-started: // what waits for the member ends with the sandbox, and may know more
		return <-ended
	default:
		return statusKilled
	}
}

// follow waits until the member is to start, starts it, closes started, and waits
// for its end. It returns its status.
func follow(root, id string, started chan<- struct{}) int {
	word := make([]byte, len(wordNever))
	n, err := os.NewFile(fdRelease, releaseName).Read(word)
	if err != nil || string(word[:n]) != wordGo {
		return statusKilled
	}
	c, err := Load(root, id)
	if err != nil {
		return 1
	}
	if err := c.startMember(); err != nil {
		c.answer(err.Error())
		return 1
	}
	close(started)
	c.answer(wordGo)
	status, err := c.Runsc.Wait(context.Background(), c.inner())
	if err != nil {
		return statusKilled // the sandbox is gone
	}
	return status
}

// startMember starts the member with the waiter's stdio, and lets go of that.
func (c *Container) startMember() error {
	client := c.Runsc
	client.Global.Log = c.path(logName)
	os.Remove(client.Global.Log)
	cmd := client.StartCommand(c.inner())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	status, err := client.Explain("start", err, cmd.ProcessState)
	if err == nil && status != 0 {
		err = &runsc.Error{Verb: "start", Status: status}
	}
	letGo(3) // what fails here only keeps a pipe open
	return err
}

// answer tells start how it went.
func (c *Container) answer(word string) {
	os.WriteFile(c.path(readyName), []byte(word), 0o600)
}

// releaseMember is start, as far as the waiter does it.
func (c *Container) releaseMember() error {
	// For writing too, or its end would come before the waiter has opened it.
	answer, err := os.OpenFile(c.path(readyName), os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("cannot start container %q: %w", c.ID, err)
	}
	defer answer.Close()
	pidfd, err := unix.PidfdOpen(c.Pid, 0)
	if err != nil {
		return fmt.Errorf("cannot start container %q: its waiter is gone: %w", c.ID, err)
	}
	defer unix.Close(pidfd)
	if err := c.tell(wordGo); err != nil {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(answer.Fd()), Events: unix.POLLIN}, {Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != unix.EINTR {
			break
		}
	}
	buf := make([]byte, 64<<10)
	n, err := unix.Read(int(answer.Fd()), buf)
	switch {
	case err != nil || n <= 0:
		return fmt.Errorf("cannot start container %q: its waiter was killed", c.ID)
	case string(buf[:n]) == wordGo:
		return nil
	}
	return &runsc.Error{Verb: "start", Msg: strings.TrimPrefix(string(buf[:n]), "runsc start: ")}
}
