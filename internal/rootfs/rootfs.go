// Package rootfs looks at the files of a container from outside, as the
// container will see them: no link and no .. leads out of its root directory,
// and what is mounted over it counts.
//
// It opens nothing for others and changes nothing. Start reading at Tree.
package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is what a container sees.
type Tree struct {
	// Root is the host directory that is the root.
	Root string
	// Mounts lie over it, in any order.
	Mounts []Mount
}

// Mount shows Source, a host path, at Dest. An empty Source is something that
// only the sandbox's kernel can look into.
type Mount struct{ Dest, Source string }

// ErrUnknown says that a path leads to where only the sandbox's kernel can look.
var ErrUnknown = errors.New("only the sandbox can tell")

// maxLinks is what Linux follows before it says ELOOP.
const maxLinks = 40

// Stat returns what is at the container's path p, links followed. A wrapped
// fs.ErrNotExist says that there is nothing.
func (t Tree) Stat(p string) (unix.Stat_t, error) {
	var st unix.Stat_t
	rest := strings.Split(strings.Trim(path.Clean("/"+p), "/"), "/")
	at, links := "/", 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		next := path.Join(at, name)
		st = unix.Stat_t{}
		link, err := t.lstat(next, &st)
		if err != nil {
			return st, err
		}
		if link == "" {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return st, &fs.PathError{Op: "stat", Path: p, Err: unix.ELOOP}
		}
		if path.IsAbs(link) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(link, "/"), "/"), rest...)
		rest = slices.DeleteFunc(rest, func(s string) bool { return s == "" })
	}
	if at == "/" {
		_, err := t.lstat("/", &st)
		return st, err
	}
	return st, nil
}

// lstat looks at p, which has no link in its parents, and returns where it leads
// if it is a link.
func (t Tree) lstat(p string, st *unix.Stat_t) (link string, err error) {
	root, rest := t.locate(p)
	if root == "" {
		return "", ErrUnknown
	}
	f, err := open(root, rest, unix.O_NOFOLLOW)
	if err != nil {
		switch {
		case errors.Is(err, unix.EACCES):
			return "", ErrUnknown // the container may be somebody else
		case errors.Is(err, unix.ENOENT) && t.leadsToMount(p):
			st.Mode = unix.S_IFDIR | 0o755 // it will be made
			return "", nil
		}
		return "", &fs.PathError{Op: "stat", Path: p, Err: err}
	}
	defer f.Close()
	if err := unix.Fstat(int(f.Fd()), st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", nil
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// leadsToMount reports whether something is mounted below p.
func (t Tree) leadsToMount(p string) bool {
	return slices.ContainsFunc(t.Mounts, func(m Mount) bool { return strings.HasPrefix(m.Dest, p+"/") })
}

// locate returns the host directory or file that shows p, and the rest of p
// below it; an empty root: nobody outside knows.
func (t Tree) locate(p string) (root, rest string) {
	root, rest = t.Root, p
	longest := 0
	for _, m := range t.Mounts {
		covers := p == m.Dest || m.Dest == "/" || strings.HasPrefix(p, m.Dest+"/")
		if covers && len(m.Dest) >= longest {
			root, rest, longest = m.Source, strings.TrimPrefix(p, m.Dest), len(m.Dest)
		}
	}
	return root, rest
}

// open opens rest below root, which may be a file if rest is empty.
func open(root, rest string, flags int) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	rest = strings.Trim(rest, "/")
	if rest == "" {
		return os.NewFile(uintptr(dir), root), nil
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, rest, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | uint64(flags),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), rest), nil
}

// Resolve returns the host path of p below the host directory root, without a
// link in it and never outside of root, and its mode.
func Resolve(root, p string) (resolved string, mode uint32, err error) {
	f, err := open(root, p, 0)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", 0, err
	}
	resolved, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	return resolved, st.Mode, err
}
