package bundle

import (
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// relaxOOM: in a user namespace nobody can make himself a worse victim of the
// OOM killer than his creator made him; runc ignores the wish there.
func relaxOOM(a *adaptation) error {
	p := a.Spec.Process
	if a.host.UserNS && p.OOMScoreAdj != nil && *p.OOMScoreAdj < a.host.OOMScoreAdj {
		a.note("oomScoreAdj %d cannot be had in a user namespace: it stays %d", *p.OOMScoreAdj, a.host.OOMScoreAdj)
		p.OOMScoreAdj = nil
	}
	return nil
}

// fillResources: `runsc update` crashes where the spec has none
// (gVisor v0.0.0-20260905035102, cmd/update.go).
func fillResources(a *adaptation) error {
	if a.Spec.Linux.Resources == nil {
		a.Spec.Linux.Resources = &specs.LinuxResources{}
	}
	return nil
}

// podAnnotations are how engines say that a container is a pod's: its type, and
// the id of the sandbox. podman has taken over CRI-O's.
var podAnnotations = []struct{ kind, sandbox string }{
	{"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"},
	{"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"},
}

// notePod: a member of a pod shares the sandbox of its first container.
func notePod(a *adaptation) error {
	for _, p := range podAnnotations {
		if a.Spec.Annotations[p.kind] == "container" {
			a.Sandbox = a.Spec.Annotations[p.sandbox]
			if a.Sandbox == "" {
				return fmt.Errorf("cannot use the bundle: annotation %s is container, and %s is not set", p.kind, p.sandbox)
			}
		}
	}
	return nil
}

// noteNetwork: a new and empty network is not always going to stay so.
func noteNetwork(a *adaptation) error {
	for _, ns := range a.Spec.Linux.Namespaces {
		switch {
		case ns.Type == specs.UserNamespace:
			a.NewNetwork = false
			return nil
		case ns.Type == specs.NetworkNamespace:
			a.NewNetwork = ns.Path == ""
		}
	}
	return nil
}

// noteNetRaw: runsc takes CAP_NET_RAW away unless it is told not to.
func noteNetRaw(a *adaptation) error {
	if c := a.Spec.Process.Capabilities; c != nil {
		a.NetRaw = slices.Contains(c.Bounding, "CAP_NET_RAW")
	}
	return nil
}

// noteSeccomp: runsc ignores the filter unless it is told not to.
func noteSeccomp(a *adaptation) error {
	a.Seccomp = a.Spec.Linux.Seccomp != nil
	return nil
}

// noteDevices: the sandbox has the sentry's own devices and no others.
func noteDevices(a *adaptation) error {
	for _, d := range a.Spec.Linux.Devices {
		if !slices.Contains(sentryDevices, d.Path) {
			a.note("device %s is not there in a sandbox", d.Path)
		}
	}
	return nil
}

// sentryDevices are the devices that every sandbox has.
var sentryDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/fuse", "/dev/net/tun"}
