package bundle

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// MountKind is what a mount lets the sandbox do.
type MountKind int

// The kinds of mounts that a user can ask for.
const (
	// Bind shows a host path; what is written there is thrown away.
	Bind MountKind = iota
	// RWBind shows a host path; what is written there reaches the host.
	RWBind
	// ROBind shows a host path; writes fail with EROFS.
	ROBind
	// Tmpfs is an empty, writable directory.
	Tmpfs
)

// String is the name of the flag that asks for the kind.
func (k MountKind) String() string {
	return [...]string{"bind", "rw-bind", "ro-bind", "tmpfs"}[k]
}

// Mount is one thing to be seen in the sandbox.
type Mount struct {
	Kind MountKind
	// Source is a host path, absolute and clean; empty for a Tmpfs.
	Source string
	// Dest is a path in the sandbox, absolute and clean.
	Dest string
}

// ParseMount parses the value of a mount flag: HOST[:DEST], or DEST for a
// Tmpfs. A colon that belongs to a path is written `\:`, a backslash `\\`.
// Relative host paths are taken from cwd; DEST must be absolute, and is HOST
// where it is missing.
func ParseMount(kind MountKind, value, cwd string) (Mount, error) {
	parts, err := splitColons(value)
	if err != nil {
		return Mount{}, err
	}
	if kind == Tmpfs {
		parts = append([]string{"/"}, parts...)
	}
	if len(parts) > 2 {
		return Mount{}, fmt.Errorf("%q has too many colons (in a path, a colon is written \\: with its backslash)", value)
	}
	if slices.Contains(parts, "") {
		return Mount{}, fmt.Errorf("%q has an empty path", value)
	}
	m := Mount{Kind: kind, Source: parts[0]}
	if !path.IsAbs(m.Source) {
		m.Source = path.Join(cwd, m.Source)
	}
	m.Source = path.Clean(m.Source)
	m.Dest = m.Source
	if len(parts) == 2 {
		if m.Dest = path.Clean(parts[1]); !path.IsAbs(m.Dest) {
			return Mount{}, fmt.Errorf("destination %q is not an absolute path", parts[1])
		}
	}
	if kind == Tmpfs {
		m.Source = ""
	}
	if m.Dest == "/" {
		return Mount{}, errors.New("the destination cannot be /: -rootfs gives another root")
	}
	if top := topLevel(m.Dest); slices.Contains(KernelDirs, top) {
		return Mount{}, fmt.Errorf("the destination cannot be in %s: it belongs to the sandbox's kernel", top)
	}
	return m, nil
}

// KernelDirs are filled by the sentry; a mount there would be covered by it, or
// would show the host's.
var KernelDirs = []string{"/proc", "/sys", "/dev"}

func topLevel(p string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	return "/" + first
}

// splitColons splits at colons that no backslash precedes, and takes the
// backslashes away that protect a colon or a backslash.
func splitColons(s string) ([]string, error) {
	if strings.ContainsRune(s, 0) {
		return nil, errors.New("a path cannot contain a zero byte")
	}
	parts := []string{""}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s) && (s[i+1] == ':' || s[i+1] == '\\'):
			i++
			parts[len(parts)-1] += s[i : i+1]
		case c == ':':
			parts = append(parts, "")
		default:
			parts[len(parts)-1] += s[i : i+1]
		}
	}
	return parts, nil
}

// under reports whether p is dir or lies below it.
func under(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
