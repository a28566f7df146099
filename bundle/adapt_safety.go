package bundle

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// steering begins the annotations by which runsc takes flags, mounts and cgroups
// (gVisor v0.0.0-20260905035102, specutils).
const steering = "dev.gvisor."

// dropAnnotations: engines copy an image's annotations into the spec, and an
// image is not to be obeyed: it could open host sockets, turn a volume into a
// tmpfs, or leave its cgroup. Only flags steer runsc.
func dropAnnotations(a *adaptation) error {
	for _, key := range slices.Sorted(maps.Keys(a.Spec.Annotations)) {
		if strings.HasPrefix(key, steering) {
			a.note("annotation %s is dropped: flags steer runsc, and nothing else", key)
			delete(a.Spec.Annotations, key)
		}
	}
	return nil
}

// clampAmbient: Linux keeps in the ambient set only what is permitted and
// inheritable; runsc gives it all that it says.
func clampAmbient(a *adaptation) error {
	if c := a.Spec.Process.Capabilities; c != nil {
		clamped := clampedAmbient(*c)
		a.Spec.Process.Capabilities = &clamped
	}
	return nil
}

func clampedAmbient(c specs.LinuxCapabilities) specs.LinuxCapabilities {
	c.Ambient = slices.DeleteFunc(slices.Clone(c.Ambient), func(name string) bool {
		return !slices.Contains(c.Inheritable, name) || !slices.Contains(c.Permitted, name)
	})
	return c
}

// checkSeccomp: runsc refuses some actions, and does it in start. One that only
// logs lets the call through; one that asks somebody else has nobody to ask.
func checkSeccomp(a *adaptation) error {
	s := a.Spec.Linux.Seccomp
	if s == nil {
		return nil
	}
	actions := []*specs.LinuxSeccompAction{&s.DefaultAction}
	for i := range s.Syscalls {
		actions = append(actions, &s.Syscalls[i].Action)
	}
	for _, action := range actions {
		switch *action {
		case specs.ActNotify:
			return fmt.Errorf("cannot honour seccomp action %s: gVisor asks no agent", specs.ActNotify)
		case specs.ActLog:
			a.note("seccomp action %s is %s: there is no audit log", specs.ActLog, specs.ActAllow)
			*action = specs.ActAllow
		}
	}
	return nil
}

// noteKernel: the kernel that a spec tunes, and the namespaces of it that it
// shares, are the sandbox's own.
func noteKernel(a *adaptation) error {
	for _, key := range slices.Sorted(maps.Keys(a.Spec.Linux.Sysctl)) {
		a.note("sysctl %s is for the host's kernel and has no effect in a sandbox, but for the few that gVisor knows", key)
	}
	own := []specs.LinuxNamespaceType{specs.PIDNamespace, specs.IPCNamespace, specs.UTSNamespace}
	for _, kind := range own {
		i := slices.IndexFunc(a.Spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == kind })
		if i < 0 || a.Spec.Linux.Namespaces[i].Path != "" {
			a.note("the sandbox has a %s namespace of its own, and shares none", kind)
		}
	}
	return nil
}
