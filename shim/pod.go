package shim

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// A member of a pod is a container in the sandbox of another, its infra
// container in podman's words. What runsc keeps of it is in the root of that
// one, its pid is that of a waiter, and it ends with the sandbox at the latest.

// pod tells a member whose sandbox it is in.
type pod struct {
	// ID is the sandbox's container, and Pid and Start its process.
	ID    string `json:"id"`
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`
	// Member is the id that runsc knows the member by. The sandbox keeps a cgroup
	// of its name for ever, and starts none of that name again (gVisor
	// v0.0.0-20260905035102, boot/vfs.go: "mount cgroup: file exists").
	Member string `json:"member"`
}

// runscID is what runsc knows the container by.
func (c *Container) runscID() string {
	if c.Pod != nil {
		return c.Pod.Member
	}
	return c.ID
}

// alive reports whether the sandbox runs.
func (p *pod) alive() bool {
	now, err := readProcess(p.Pid)
	return err == nil && !now.dead && now.start == p.Start
}

// joinPod finds the sandbox that the spec asks for, if any. Where there is none
// to be shared, as in a pod without an infra container, or one that is not to be
// shared, the container gets a sandbox of its own: it is shut in all the better.
func (c *Container) joinPod(o *CreateOptions, a *bundle.Adapted) error {
	id := bundle.PodSandbox(a.Spec)
	if id == "" {
		return nil
	}
	leave := func(why string) error {
		o.debug("the container gets a sandbox of its own: %s", why)
		bundle.LeavePod(a.Spec)
		return nil
	}
	sandbox, err := Load(o.Root, id)
	var unknown *NotExistError
	switch {
	case errors.As(err, &unknown):
		return leave(err.Error())
	case err != nil:
		return err
	case sandbox.Pod != nil:
		return fmt.Errorf("cannot join the sandbox of container %q: it is in another's", id)
	case sandbox.status() == Stopped:
		return fmt.Errorf("cannot join the sandbox of container %q: it has stopped", id)
	}
	// A sandbox has one network stack.
	path := networkPath(a.Spec)
	if networkNamespace(a.Spec) < 0 {
		path = ownNetwork
	}
	if !sameNamespace(path, fmt.Sprintf("/proc/%d/ns/net", sandbox.Pid)) {
		return leave("its network namespace is not that of container " + id)
	}
	if !privileged() {
		// runsc would have to be in the user namespace of the sandbox.
		return fmt.Errorf("cannot join the sandbox of container %q as an ordinary user", id)
	}
	if o.PreserveFDs > 0 {
		return errors.New("cannot pass descriptors to a member of a pod: runsc passes it none but stdio")
	}
	// All that are made from one id are as long: runsc takes a beginning for the id.
	c.Pod = &pod{
		ID: id, Pid: sandbox.Pid, Start: sandbox.PidStart, Member: fmt.Sprintf("%s.%016x", c.ID, time.Now().UnixNano()),
	}
	c.podRunsc = sandbox.Runsc
	return nil
}

// configureMember makes runsc find the sandbox of a member.
func (c *Container) configureMember() {
	if c.Pod == nil {
		return
	}
	g := c.podRunsc.Global
	g.NetRaw, g.OCISeccomp = c.Runsc.Global.NetRaw, c.Runsc.Global.OCISeccomp
	c.Runsc = runsc.Client{Path: c.podRunsc.Path, Global: g}
	c.AutoNetwork = false
}

// killMember ends a member, but not the sandbox.
func (c *Container) killMember() {
	switch c.saved.Status {
	case Paused:
		// A process that stands still does not die; the sandbox goes on only when
		// all that were paused have been resumed.
		c.Runsc.Resume(context.Background(), c.runscID())
		fallthrough
	case Running:
		if c.Runsc.Kill(context.Background(), c.runscID(), syscall.SIGKILL, true) == nil {
			return // the waiter will say so
		}
	}
	c.killWaiter()
}

func (c *Container) killWaiter() {
	if c.alive() {
		syscall.Kill(c.Pid, syscall.SIGKILL)
	}
}

// deleteInRunsc removes what runsc keeps of the container. With its sandbox a
// member has gone already.
func (c *Container) deleteInRunsc() error {
	// Dead or created, runsc may call it running: it counts zombies.
	err := c.Runsc.Delete(context.Background(), c.runscID(), runsc.DeleteOpts{Force: true})
	if c.Pod == nil {
		return err
	}
	c.killWaiter()
	if !c.Pod.alive() {
		return nil
	}
	return err
}
