package shim

import (
	"fmt"

	"github.com/gvisor-exec/gvisor-exec/internal/bridge"
)

// proxied reports whether a port proxy of rootless podman may connect from
// inside a container's network namespace. It can only where create is called in
// podman's user namespace.
func (o *CreateOptions) proxied() bool { return !o.Host.RealRoot && privileged() }

// withPorts is do, which starts the container, with what published ports need
// around it: where a proxy connects from inside the network namespace, its
// kernel needs a way to gVisor's stack.
func (c *Container) withPorts(do func() error) func() error {
	if !c.AutoNetwork || c.Sandbox != "" || !c.Proxied || !bridge.Proxied(c.Pid) {
		return do
	}
	return func() error {
		// Open, as the container may be over before do returns.
		ns, err := bridge.Namespace(c.Pid)
		if err != nil {
			return err
		}
		defer ns.Close()
		made, err := bridge.Build(ns)
		if err != nil {
			return err
		}
		// On disk before what it is about: the start may be killed.
		c.Bridges = made
		if err := c.save(); err != nil {
			return err
		}
		if err := do(); err != nil {
			return err
		}
		return made.Open(ns)
	}
}

// removePorts takes away what withPorts made, should the network namespace be
// there longer than the container.
func (c *Container) removePorts(warn func(format string, args ...any)) {
	if c.Bridges == nil || c.NetworkPath == "" {
		return
	}
	if err := c.Bridges.Remove(c.NetworkPath); err != nil {
		warn("%v", fmt.Errorf("cannot clean up after container %q: %w", c.ID, err))
	}
}
