package bundle

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ExecConfig is what another process in a container has of its own. Its zero
// value is a process like the container's first.
type ExecConfig struct {
	Args []string
	// Cwd; empty: the container's.
	Cwd string
	// Env and Capabilities are added to the container's.
	Env, Capabilities []string
	// User; nil: the container's. AdditionalGIDs are added.
	User           *User
	AdditionalGIDs []uint32
	// Terminal gives it one.
	Terminal bool
	// NoNewPrivileges; nil: as the container has it.
	NoNewPrivileges *bool
}

// User is a user by number, and perhaps a group.
type User struct {
	UID uint32
	GID *uint32
}

// ExecProcess is the process of c in a container whose first is base.
func ExecProcess(base *specs.Process, c ExecConfig) *specs.Process {
	p := *base
	p.Args, p.Terminal, p.ConsoleSize = c.Args, c.Terminal, nil
	if c.Cwd != "" {
		p.Cwd = c.Cwd
	}
	p.Env = slices.Concat(base.Env, c.Env)
	if c.User != nil {
		p.User = specs.User{UID: c.User.UID, GID: base.User.GID, AdditionalGids: base.User.AdditionalGids, Umask: base.User.Umask}
		if c.User.GID != nil {
			p.User.GID = *c.User.GID
		}
	}
	p.User.AdditionalGids = slices.Concat(p.User.AdditionalGids, c.AdditionalGIDs)
	if c.NoNewPrivileges != nil {
		p.NoNewPrivileges = *c.NoNewPrivileges
	}
	if len(c.Capabilities) > 0 {
		clamped := clampedAmbient(*addCapabilities(base.Capabilities, c.Capabilities))
		p.Capabilities = &clamped
	}
	return &p
}

// addCapabilities adds to the sets that runc adds to: not to the inheritable,
// and to the ambient only where there are inheritable ones.
func addCapabilities(base *specs.LinuxCapabilities, more []string) *specs.LinuxCapabilities {
	var sets specs.LinuxCapabilities
	if base != nil {
		sets = *base
	}
	sets.Bounding = slices.Concat(sets.Bounding, more)
	sets.Effective = slices.Concat(sets.Effective, more)
	sets.Permitted = slices.Concat(sets.Permitted, more)
	if len(sets.Inheritable) > 0 {
		sets.Ambient = slices.Concat(sets.Ambient, more)
	}
	return &sets
}

// LoadProcess reads a file that holds a specs.Process.
func LoadProcess(path string) (*specs.Process, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the process: %w", err)
	}
	var p specs.Process
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("cannot read the process: %s: %w", path, err)
	}
	if p.Capabilities != nil {
		clamped := clampedAmbient(*p.Capabilities)
		p.Capabilities = &clamped
	}
	return &p, nil
}
