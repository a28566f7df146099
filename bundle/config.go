// Package bundle says what is to run, as an OCI bundle. Config is what a user
// of `exec` asks for; Spec turns it into the config.json that runsc reads.
//
// The package computes and touches nothing: only Write does I/O. Start
// reading at Config and its method Spec.
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Overlay says where ephemeral writes go. The zero value is OverlaySelf. It
// implements flag.Value.
type Overlay string

// The overlays of a sandbox.
const (
	// OverlaySelf keeps writes in an unlinked file on a disk.
	OverlaySelf Overlay = "self"
	// OverlayMemory keeps writes in RAM.
	OverlayMemory Overlay = "memory"
	// OverlayNone keeps nothing: the root and every Bind are read-only.
	OverlayNone Overlay = "none"
)

func (o *Overlay) String() string {
	if *o == "" {
		return string(OverlaySelf)
	}
	return string(*o)
}

// Values are the overlays there are.
func (*Overlay) Values() []string {
	return []string{string(OverlaySelf), string(OverlayMemory), string(OverlayNone)}
}

// Set accepts self, memory or none.
func (o *Overlay) Set(s string) error {
	if !slices.Contains(o.Values(), s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(o.Values(), ", "))
	}
	*o = Overlay(s)
	return nil
}

// Config is what runs in a fresh sandbox. Paths in it are absolute and clean.
type Config struct {
	// Args is the command; Args[0] is looked for in the PATH of Env.
	Args []string
	Env  Env
	// Cwd is the working directory inside.
	Cwd string
	// Hostname inside; empty: DefaultHostname.
	Hostname string
	// UID and GID inside; 0 is the calling user.
	UID, GID uint32
	// Umask of the command.
	Umask uint32
	// Rlimits of the command; one that is not named is the sentry's default.
	Rlimits []specs.POSIXRlimit
	// Capabilities of the command, against the sentry's kernel.
	Capabilities Capabilities
	// Terminal gives the command the terminal that is its descriptor 0 as
	// controlling terminal.
	Terminal bool
	// HostNetwork shares the caller's network instead of an empty one.
	HostNetwork bool
	// Overlay says where ephemeral writes go.
	Overlay Overlay
	// Mounts in any order; of two with one Dest the later wins.
	Mounts []Mount
	// Tree is where the filesystem view will be: Tree/root is the root, and
	// Tree/binds/N the source of the mount Plan()[N].
	Tree string
}

// DefaultHostname is the sandbox's name unless Config says another.
const DefaultHostname = "gvisor-exec"

// Tmp is the one tmpfs that every sandbox has.
const Tmp = "/tmp"

// Placement is how a Mount is brought about.
type Placement int

const (
	// InTree mounts are part of the root's tree, under the root's overlay.
	InTree Placement = iota
	// OCI mounts are the sentry's, over the root's overlay.
	OCI
	// OCICopy is OCI with a throw-away copy-on-write source: for a Bind that
	// lies below an OCI mount, where the root's overlay does not reach.
	OCICopy
)

// PlannedMount is a Mount and its Placement. Index numbers its source in
// Tree/binds.
type PlannedMount struct {
	Mount
	Placement Placement
	Index     int
}

// Plan orders the mounts by depth, parents first, and places each. /tmp is
// among them.
func (c *Config) Plan() []PlannedMount {
	byDest := map[string]Mount{Tmp: {Kind: Tmpfs, Dest: Tmp}}
	for _, m := range c.Mounts {
		byDest[m.Dest] = m
	}
	mounts := make([]Mount, 0, len(byDest))
	for _, m := range byDest {
		mounts = append(mounts, m)
	}
	slices.SortFunc(mounts, func(a, b Mount) int {
		if d := depth(a.Dest) - depth(b.Dest); d != 0 {
			return d
		}
		return strings.Compare(a.Dest, b.Dest)
	})
	plan := make([]PlannedMount, len(mounts))
	for i, m := range mounts {
		plan[i] = PlannedMount{Mount: m, Index: i, Placement: c.place(m, mounts, plan[:i])}
	}
	return plan
}

func depth(p string) int { return strings.Count(p, "/") }

// place decides for m, given all mounts and the placed ones above it.
func (c *Config) place(m Mount, all []Mount, above []PlannedMount) Placement {
	belowOCI := false
	for _, p := range above {
		if under(m.Dest, p.Dest) {
			belowOCI = p.Placement != InTree
		}
	}
	switch m.Kind {
	case Bind:
		switch {
		case c.Overlay == OverlayNone:
			return OCI // which Spec makes read-only
		case belowOCI:
			return OCICopy
		}
		return InTree
	case Tmpfs:
		// An OCI tmpfs would cover what the tree has below it, so with a Bind
		// there the tmpfs is an empty directory of the tree.
		bindBelow := slices.ContainsFunc(all, func(o Mount) bool {
			return o.Kind == Bind && o.Dest != m.Dest && under(o.Dest, m.Dest)
		})
		if bindBelow && !belowOCI && c.Overlay != OverlayNone {
			return InTree
		}
	}
	return OCI
}

// Root is the root directory of the view below tree.
func Root(tree string) string { return filepath.Join(tree, "root") }

// Source is the directory or file below tree that feeds the mount with the
// given PlannedMount.Index.
func Source(tree string, index int) string {
	return filepath.Join(tree, "binds", fmt.Sprint(index))
}

// Spec computes config.json. It is deterministic and does no I/O.
func (c *Config) Spec() *specs.Spec {
	hostname := c.Hostname
	if hostname == "" {
		hostname = DefaultHostname
	}
	umask := c.Umask
	spec := &specs.Spec{
		Version:  specs.Version,
		Hostname: hostname,
		Root:     &specs.Root{Path: Root(c.Tree), Readonly: c.Overlay == OverlayNone},
		Process: &specs.Process{
			Terminal:        c.Terminal,
			User:            specs.User{UID: c.UID, GID: c.GID, Umask: &umask},
			Args:            c.Args,
			Env:             c.Env.List(),
			Cwd:             c.Cwd,
			Rlimits:         c.Rlimits,
			NoNewPrivileges: true,
		},
		Mounts: c.mounts(),
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
			{Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
		}},
	}
	// With a network namespace in the spec, even one of ours, --network=host
	// would connect the sandbox to that one.
	if !c.HostNetwork {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	if caps := []string(c.Capabilities); len(caps) > 0 {
		spec.Process.Capabilities = &specs.LinuxCapabilities{
			Bounding: caps, Effective: caps, Permitted: caps, Inheritable: caps, Ambient: caps,
		}
	}
	return spec
}

// mounts are the sentry's own filesystems, then the user's by depth.
func (c *Config) mounts() []specs.Mount {
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts"},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=1777", "nosuid", "nodev"}},
	}
	for _, p := range c.Plan() {
		if p.Placement == InTree {
			continue
		}
		m := specs.Mount{Destination: p.Dest}
		if p.Kind == Tmpfs {
			m.Type, m.Source, m.Options = "tmpfs", "tmpfs", []string{"mode=1777", "nosuid", "nodev"}
		} else {
			// rbind: a plain bind of a source inside our tree dies with EOF
			// (gVisor v0.0.0-20260905035102).
			m.Type, m.Source, m.Options = "bind", Source(c.Tree, p.Index), []string{"rbind", "rw"}
			if p.Kind == ROBind || c.Overlay == OverlayNone && p.Kind == Bind {
				m.Options[1] = "ro"
			}
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// EmptyDir is a mount that hides the directory dir of the sandbox: it is empty
// and cannot be written. It belongs at the end of a spec's mounts, so that
// nothing lies over it.
func EmptyDir(dir string) specs.Mount {
	return specs.Mount{Destination: dir, Type: "tmpfs", Source: "tmpfs", Options: []string{"ro", "mode=0700"}}
}

// Check reports what config.json, which is UTF-8, cannot say: runsc would get
// other bytes than the user gave.
func (c *Config) Check() error {
	said := func(what, s string) error {
		if utf8.ValidString(s) {
			return nil
		}
		return fmt.Errorf("cannot pass on %s %q: it is not UTF-8", what, s)
	}
	errs := []error{said("working directory", c.Cwd), said("hostname", c.Hostname)}
	for _, arg := range c.Args {
		errs = append(errs, said("argument", arg))
	}
	for _, assignment := range c.Env.List() {
		errs = append(errs, said("variable", assignment))
	}
	for _, m := range c.Mounts {
		errs = append(errs, said("path", m.Source), said("path", m.Dest))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Write writes the spec as config.json into dir, which exists.
func Write(dir string, spec *specs.Spec) error {
	data, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write the bundle: %w", err)
	}
	// A new file: nobody else's link is followed.
	f, err := os.OpenFile(filepath.Join(dir, "config.json"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write the bundle: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot write the bundle: %w", err)
	}
	return nil
}
