package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Host is what Adapt has to know of where a container will run. The zero value
// is real root on a host without security modules.
type Host struct {
	// UserNS says that runsc will be in a user namespace.
	UserNS bool
	// OwnUserNS says that this namespace is made for the container, with the
	// mappings that Adapted has.
	OwnUserNS bool
	// SELinux and AppArmor say that these modules are active.
	SELinux, AppArmor bool
	// OOMScoreAdj is our own, below which an ordinary user cannot go.
	OOMScoreAdj int
	// Lookup says what is at a path below a host directory, the first argument,
	// and at which host path, with no link in it, without ever leaving the
	// directory; nil: nothing is anywhere.
	Lookup func(root, path string) (string, FileKind)
	// Relay is a program and its argv[0] that, given a bundle, a path and an
	// argv, runs these with a state of that bundle on the standard input.
	Relay [2]string
	// Empty is the path of an empty file, which masks another.
	Empty string
}

// FileKind is what is found at a path.
type FileKind int

// The kinds of files that Adapt distinguishes.
const (
	Missing FileKind = iota
	Directory
	File
	Device
)

// Adapted is a spec that runsc takes, and what it cannot say.
type Adapted struct {
	Spec *specs.Spec
	// Hooks are those that we run, at the times that the spec has for them.
	Hooks specs.Hooks
	// NetRaw says that the process may have CAP_NET_RAW.
	NetRaw bool
	// Seccomp says that the spec has a filter.
	Seccomp bool
	// NewNetwork says that the spec asks for a network namespace of its own, and
	// for none of users, for whose owner an engine fills it later.
	NewNetwork bool
	// Sandbox is the container whose sandbox this one is to share; empty: none.
	Sandbox string
	// NoProcess says that there is nothing to start.
	NoProcess bool
	// UIDs and GIDs are the mappings of the user namespace that is made for the
	// container; none: its caller's choice.
	UIDs, GIDs []specs.LinuxIDMapping
	// Notes say what was changed, for a debug log.
	Notes []string
}

// adaptation is the state of one Adapt.
type adaptation struct {
	*Adapted
	host Host
	// dir is the bundle, absolute.
	dir string
}

// rules are applied in this order; each is a function of its own, with a test.
var rules = []func(*adaptation) error{
	requireRoot, makeAbsolute, fillProcess, dropSELinux, dropAppArmor, takeHooks, takeUserNamespace,
	unshareMounts, unsharePropagation, noHostKernelMounts, noDeviceMounts, maskPaths, protectPaths,
	relaxOOM, fillResources, notePod, noteNetwork, noteNetRaw, noteSeccomp, noteDevices,
}

// Adapt turns a spec of the bundle dir, which is absolute, into one that runsc
// accepts and that means the same. What cannot be honoured and matters to safety
// is an error. The spec itself is not changed.
func Adapt(spec *specs.Spec, dir string, host Host) (*Adapted, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("cannot copy the spec: %w", err)
	}
	a := &adaptation{Adapted: &Adapted{Spec: &specs.Spec{}}, host: host, dir: dir}
	if err := json.Unmarshal(data, a.Spec); err != nil {
		return nil, fmt.Errorf("cannot copy the spec: %w", err)
	}
	if a.host.Lookup == nil {
		a.host.Lookup = func(string, string) (string, FileKind) { return "", Missing }
	}
	if a.Spec.Linux == nil {
		a.Spec.Linux = &specs.Linux{}
	}
	for _, rule := range rules {
		if err := rule(a); err != nil {
			return nil, err
		}
	}
	return a.Adapted, nil
}

func (a *adaptation) note(format string, args ...any) {
	a.Notes = append(a.Notes, fmt.Sprintf(format, args...))
}

// requireRoot: a spec without a root directory is no Linux container's.
func requireRoot(a *adaptation) error {
	if a.Spec.Root == nil || a.Spec.Root.Path == "" {
		return errors.New("cannot use the bundle: the spec has no root")
	}
	return nil
}

// makeAbsolute: the adapted spec lies in another directory than its bundle, so
// what is relative to that is made absolute.
func makeAbsolute(a *adaptation) error {
	a.Spec.Root.Path = a.absolute(a.Spec.Root.Path)
	for i := range a.Spec.Mounts {
		m := &a.Spec.Mounts[i]
		// Old specs, and those of runtime-tools, have relative destinations.
		m.Destination = filepath.Clean("/" + m.Destination)
		if isBind(m) && m.Source != "" {
			m.Source = a.absolute(m.Source)
		}
	}
	return nil
}

func (a *adaptation) absolute(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(a.dir, p)
}

func isBind(m *specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// fillProcess: a container may be created without a process, and only start has
// to fail; runsc wants one.
func fillProcess(a *adaptation) error {
	if a.Spec.Process == nil {
		a.NoProcess = true
		a.Spec.Process = &specs.Process{Args: []string{"/"}, Cwd: "/"}
		return nil
	}
	p := a.Spec.Process
	switch {
	case len(p.Args) == 0:
		return errors.New("cannot use the bundle: process.args must not be empty")
	case !filepath.IsAbs(p.Cwd):
		return fmt.Errorf("cannot use the bundle: cwd must be an absolute path, not %q", p.Cwd)
	}
	return nil
}

// dropSELinux: runsc refuses labels. Where nothing enforces them, dropping one
// changes nothing.
func dropSELinux(a *adaptation) error {
	if label := a.Spec.Process.SelinuxLabel; label != "" {
		if a.host.SELinux {
			return fmt.Errorf("cannot honour the SELinux label %s: gVisor has no SELinux (--security-opt label=disable asks for none)", label)
		}
		a.note("SELinux is not active: label %s is dropped", label)
		a.Spec.Process.SelinuxLabel = ""
	}
	if a.Spec.Linux.MountLabel != "" {
		a.note("mount label %s is dropped", a.Spec.Linux.MountLabel)
		a.Spec.Linux.MountLabel = ""
	}
	return nil
}

// defaultProfiles begin the names of the AppArmor profiles that engines give to
// every container. They protect the host's kernel, to which the processes of a
// sandbox do not talk.
var defaultProfiles = []string{"containers-default-", "docker-default", "crio-default", "cri-containerd.apparmor.d", "unconfined", "nerdctl-default"}

// dropAppArmor: an engine's default profile has no task here; one that somebody
// wrote may have.
func dropAppArmor(a *adaptation) error {
	profile := a.Spec.Process.ApparmorProfile
	if profile == "" {
		return nil
	}
	isDefault := slices.ContainsFunc(defaultProfiles, func(s string) bool {
		return len(profile) >= len(s) && profile[:len(s)] == s
	})
	if a.host.AppArmor && !isDefault {
		return fmt.Errorf("cannot honour the AppArmor profile %s: gVisor has no AppArmor (--security-opt apparmor=unconfined asks for none)", profile)
	}
	a.note("AppArmor profile %s is dropped", profile)
	a.Spec.Process.ApparmorProfile = ""
	return nil
}

// takeHooks: runsc would tell the hooks of our directory in place of the bundle
// (and leaves startContainer out), so all but createContainer are ours to run.
// That one runs in the gofer's namespaces, and gets the right state by a relay.
func takeHooks(a *adaptation) error {
	h := a.Spec.Hooks
	if h == nil {
		return nil
	}
	if len(h.StartContainer) > 0 {
		return errors.New("cannot honour hooks.startContainer: runsc cannot run a hook inside the sandbox before its command")
	}
	a.Hooks = *h
	a.Hooks.CreateContainer = nil
	a.Spec.Hooks = nil
	if len(h.CreateContainer) == 0 {
		return nil
	}
	a.Spec.Hooks = &specs.Hooks{}
	for _, hook := range h.CreateContainer {
		args := append([]string{a.host.Relay[1], a.dir, hook.Path}, hook.Args...)
		hook.Path, hook.Args = a.host.Relay[0], args
		a.Spec.Hooks.CreateContainer = append(a.Spec.Hooks.CreateContainer, hook)
	}
	return nil
}

// takeUserNamespace: where the namespace around runsc is made for this
// container, it is the one that the spec asks for.
func takeUserNamespace(a *adaptation) error {
	if !a.host.OwnUserNS {
		return nil
	}
	l := a.Spec.Linux
	i := slices.IndexFunc(l.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.UserNamespace })
	if i < 0 {
		return nil
	}
	if l.Namespaces[i].Path != "" {
		return fmt.Errorf("cannot join the user namespace %s as an ordinary user", l.Namespaces[i].Path)
	}
	l.Namespaces = slices.Delete(l.Namespaces, i, i+1)
	a.UIDs, a.GIDs = l.UIDMappings, l.GIDMappings
	l.UIDMappings, l.GIDMappings = nil, nil
	return nil
}
