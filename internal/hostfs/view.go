// Package hostfs builds the filesystem that a sandbox sees, out of mounts, in
// a mount namespace of our own. What it builds ends with that namespace.
//
// It decides nothing: which path is shown where, and what runsc mounts itself,
// comes from the caller. Start reading at Build.
package hostfs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// View is what Build is to build below Tree, an empty directory: the root of
// the view at Root, and for each Mount with a Stash that path.
type View struct {
	// Tree gets a private tmpfs, Root is a directory in it.
	Tree, Root string
	// Source is the host directory that is seen as the root.
	Source string
	// Kernel are the top-level directories that belong to the sandbox's kernel:
	// the view shows them empty, and nothing is mounted in them. Empty are others
	// that it shows empty.
	Kernel, Empty []string
	// Mounts are ordered parents first.
	Mounts []Mount
	// Hidden are directories of the host that the view shows empty.
	Hidden []string
}

// Mount is one path of the view that is not simply the root's.
type Mount struct {
	// Source is the host path to show; empty: an empty directory.
	Source string
	// Dest is where, absolute and clean.
	Dest string
	// Stash is where Source is made ready instead of at Dest, for runsc to
	// mount over Dest; empty: it is mounted at Dest itself.
	Stash string
	// OCI says that runsc mounts something at Dest.
	OCI bool
	// Copy makes Stash a throw-away copy-on-write copy of Source.
	Copy bool
	// Persistent says that writes at Dest reach the host, so that nothing may
	// be made there.
	Persistent bool
}

// Built is a finished view.
type Built struct {
	view View
	// Dests are the destinations of the mounts, in their order, with every
	// symbolic link of the view resolved.
	Dests []string
	// Hidden are the names that what is hidden has in the view.
	Hidden []string
}

// MissingError says that a path is not there.
type MissingError struct {
	Path string
	Err  error
}

func (e *MissingError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap returns what the kernel said.
func (e *MissingError) Unwrap() error { return e.Err }

// PersistentError says that a mount point is missing in a directory whose
// writes reach the host, where none may be made.
type PersistentError struct{ Dest, Parent string }

func (e *PersistentError) Error() string {
	return fmt.Sprintf("%s does not exist in %s, which is the host's", e.Dest, e.Parent)
}

// Private makes the mounts of the calling process, which has a mount namespace
// of its own, receive what the host unmounts, and send nothing back.
func Private() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("cannot make the mounts private: %w", err)
	}
	return nil
}

// MountProc mounts the /proc of the calling process's own PID namespace. The
// kernel refuses where parts of the one that is there are covered, as in most
// containers.
func MountProc() error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	return nil
}

// Build builds v. The calling process has a mount namespace of its own.
func Build(v View) (*Built, error) {
	b := &builder{view: v}
	if err := b.openSources(); err != nil {
		return nil, err
	}
	defer b.close()
	if err := unix.Mount("tmpfs", v.Tree, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=50%,nr_inodes=0"); err != nil {
		return nil, fmt.Errorf("cannot mount the view's tmpfs: %w", err)
	}
	if err := b.root(); err != nil {
		return nil, err
	}
	for i := range v.Mounts {
		if err := b.mount(i); err != nil {
			return nil, err
		}
	}
	built := &Built{view: v, Dests: b.dests}
	for _, dir := range b.hidden {
		names, err := b.hide(dir)
		if err != nil {
			return nil, err
		}
		built.Hidden = append(built.Hidden, names...)
	}
	return built, nil
}

// builder is a Build under way.
type builder struct {
	view    View
	sources []*os.File // of view.Mounts; nil where there is none
	rootDir *os.File   // view.Source
	hidden  []*os.File // view.Hidden
	dests   []string
	copies  int // throw-away overlays made so far
}

// openSources opens what will be mounted before anything is: later the paths
// may lead into our own mounts, and other users may have renamed them.
func (b *builder) openSources() (err error) {
	b.sources = make([]*os.File, len(b.view.Mounts))
	for i, m := range b.view.Mounts {
		if m.Source == "" {
			continue
		}
		if b.sources[i], err = openPath(m.Source); err != nil {
			b.close()
			return err
		}
	}
	if b.rootDir, err = openPath(b.view.Source); err != nil {
		b.close()
		return err
	}
	b.hidden = make([]*os.File, len(b.view.Hidden))
	for i, dir := range b.view.Hidden {
		if b.hidden[i], err = openPath(dir); err != nil {
			b.close()
			return err
		}
	}
	return nil
}

func (b *builder) close() {
	for _, f := range slices.Concat(b.sources, b.hidden, []*os.File{b.rootDir}) {
		if f != nil {
			f.Close()
		}
	}
}

// openPath opens p for mounting only; it needs no permission on p itself.
func openPath(p string) (*os.File, error) {
	fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &MissingError{Path: p, Err: err}
	}
	return os.NewFile(uintptr(fd), p), nil
}

// root fills the view's root: a directory of our tmpfs whose entries are
// recursive binds. It is never a bind of / itself: runsc loses binds when the
// root is one (gVisor #14470).
func (b *builder) root() error {
	if err := os.Mkdir(b.view.Root, 0o755); err != nil {
		return err
	}
	empty := slices.Concat(b.view.Kernel, b.view.Empty)
	if err := populate(b.rootDir, b.view.Root, empty); err != nil {
		return err
	}
	for _, dir := range empty {
		if err := os.Mkdir(filepath.Join(b.view.Root, dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// populate binds every entry of src at the same name in dst, which is ours and
// empty, but for those in except, and copies symbolic links.
func populate(src *os.File, dst string, except []string) error {
	entries, err := os.ReadDir(fdPath(src))
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", src.Name(), errors.Unwrap(err))
	}
	for _, entry := range entries {
		if slices.Contains(except, "/"+entry.Name()) {
			continue
		}
		if err := populateEntry(src, entry, filepath.Join(dst, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func populateEntry(dir *os.File, entry os.DirEntry, dst string) error {
	if entry.Type()&os.ModeSymlink != 0 {
		target, err := os.Readlink(filepath.Join(fdPath(dir), entry.Name()))
		if err != nil {
			return err
		}
		return os.Symlink(target, dst)
	}
	fd, err := unix.Openat(int(dir.Fd()), entry.Name(), unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil // gone since it was listed
	}
	src := os.NewFile(uintptr(fd), entry.Name())
	defer src.Close()
	if err := makeLike(dst, entry.IsDir()); err != nil {
		return err
	}
	return bind(fdPath(src), dst, filepath.Join(dir.Name(), entry.Name()))
}

// mount brings about view.Mounts[i].
func (b *builder) mount(i int) error {
	m := b.view.Mounts[i]
	isDir := true
	if src := b.sources[i]; src != nil {
		info, err := src.Stat()
		if err != nil {
			return err
		}
		isDir = info.IsDir()
	}
	point, dest, err := b.point(i, isDir)
	if err != nil {
		return err
	}
	b.dests = append(b.dests, dest)
	if m.Source == "" {
		if !m.OCI {
			// An empty directory of ours covers what the host has there.
			return unix.Mount("tmpfs", point, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
		}
		return nil
	}
	if m.Stash != "" {
		if err := os.MkdirAll(filepath.Dir(m.Stash), 0o755); err != nil {
			return err
		}
		if err := makeLike(m.Stash, isDir); err != nil {
			return err
		}
		point = m.Stash
	}
	if m.Copy {
		return b.copyOnWrite(fdPath(b.sources[i]), point, isDir)
	}
	return bind(fdPath(b.sources[i]), point, m.Source)
}

// cover finds the mount before number i that dest lies in or below: the base
// directory it is in on our side, dest relative to that, and its number; -1:
// the root. A base "" says that the sandbox makes dest itself.
func (b *builder) cover(i int, dest string) (base, rel string, number int) {
	base, rel, number = b.view.Root, dest, -1
	for j := range min(i, len(b.dests)) {
		m := b.view.Mounts[j]
		if !m.OCI || !below(dest, b.dests[j]) {
			continue
		}
		base, rel, number = m.Stash, "/"+strings.TrimPrefix(dest[len(b.dests[j]):], "/"), j
	}
	return base, rel, number
}

// below reports whether p is dir or lies below it.
func below(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// point makes sure that the destination of mount i exists, and returns where
// it is on our side and its name in the view. What is missing is made where
// the host does not see it.
func (b *builder) point(i int, isDir bool) (point, dest string, err error) {
	m := b.view.Mounts[i]
	base, rel, number := b.cover(i, m.Dest)
	if base == "" {
		return "", m.Dest, nil
	}
	f, err := openIn(base, rel)
	if errors.Is(err, unix.ENOENT) {
		persistent := number >= 0 && b.view.Mounts[number].Persistent
		if persistent {
			return "", "", &PersistentError{Dest: m.Dest, Parent: b.view.Mounts[number].Dest}
		}
		if err := b.make(base, rel, isDir); err != nil {
			return "", "", fmt.Errorf("cannot make %s in the view: %w", m.Dest, err)
		}
		f, err = openIn(base, rel)
	}
	if err != nil {
		return "", "", &MissingError{Path: m.Dest, Err: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	if info.IsDir() != isDir {
		return "", "", &MissingError{Path: m.Dest, Err: kindErr(isDir)}
	}
	point, err = os.Readlink(fdPath(f))
	if err != nil {
		return "", "", err
	}
	inBase, err := filepath.Rel(base, point)
	if err != nil || inBase == ".." || strings.HasPrefix(inBase, "../") {
		return "", "", fmt.Errorf("cannot place %s: it is at %s, outside of the view", m.Dest, point)
	}
	dest = path.Join("/", inBase)
	if number >= 0 {
		dest = path.Join(b.dests[number], inBase)
	}
	if dest == "/" || slices.ContainsFunc(b.view.Kernel, func(dir string) bool { return below(dest, dir) }) {
		return "", "", fmt.Errorf("cannot mount over %s: it is a link to %s", m.Dest, dest)
	}
	return point, dest, nil
}

func kindErr(isDir bool) error {
	if isDir {
		return unix.ENOTDIR
	}
	return unix.EISDIR
}

// Directory reports whether dir is a directory of the view. A path inside of
// what runsc mounts empty is none.
func (b *Built) Directory(dir string) error {
	if slices.Contains(slices.Concat(b.view.Kernel, b.view.Empty), dir) {
		return nil
	}
	helper := &builder{view: b.view, dests: b.Dests}
	base, rel, _ := helper.cover(len(b.Dests), dir)
	if base == "" {
		if slices.Contains(b.Dests, dir) {
			return nil
		}
		return b.madeInside(dir)
	}
	f, err := openIn(base, rel)
	if err != nil {
		return &MissingError{Path: dir, Err: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &MissingError{Path: dir, Err: unix.ENOTDIR}
	}
	return nil
}

// madeInside reports whether dir is a parent, which the sandbox will make, of a
// mount below an empty one.
func (b *Built) madeInside(dir string) error {
	for _, dest := range b.Dests {
		if below(dest, dir) {
			return nil
		}
	}
	return &MissingError{Path: dir, Err: unix.ENOENT}
}
