package hostfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// fdPath names an open file for calls that take a path, so that a rename by
// somebody else changes nothing.
func fdPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// openIn opens p inside of root as a chroot would: no symbolic link and no ..
// leads out.
func openIn(root, p string) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, strings.TrimPrefix(path.Clean("/"+p), "/")+"/.", &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOTDIR) {
		// Not a directory: without the /. that follows a final link to one.
		fd, err = unix.Openat2(dir, strings.TrimPrefix(path.Clean("/"+p), "/"), &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), p), nil
}

// bind mounts src over dst, with all that is mounted below it.
func bind(src, dst, name string) error {
	if err := unix.Mount(src, dst, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cannot bind %s into the view: %w", name, err)
	}
	return nil
}

// makeLike makes an empty directory or file at p, to be mounted over.
func makeLike(p string, isDir bool) error {
	if isDir {
		return os.Mkdir(p, 0o755)
	}
	f, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// make makes the missing rest of rel below base. Where the deepest directory
// that exists is the host's, something of ours over it takes the new entries:
// runsc's gofer would make them on the host.
func (b *builder) make(base, rel string, isDir bool) error {
	parent, missing, err := deepest(base, rel)
	if err != nil {
		return err
	}
	defer func() { parent.Close() }()
	ours, err := onTmpfsOf(b.view.Tree, parent)
	if err != nil {
		return err
	}
	if !ours {
		at, err := os.Readlink(fdPath(parent))
		if err != nil {
			return err
		}
		if err := b.shadow(fdPath(parent), at); err != nil {
			return err
		}
		parent.Close()
		if parent, err = openPath(at); err != nil {
			return err
		}
	}
	at := fdPath(parent)
	for i, name := range missing {
		at = filepath.Join(at, name)
		if err := makeLike(at, isDir || i < len(missing)-1); err != nil {
			return err
		}
	}
	return nil
}

// deepest opens the deepest directory of rel below base that exists, and
// returns the names that are missing below it.
func deepest(base, rel string) (*os.File, []string, error) {
	var missing []string
	for {
		f, err := openIn(base, rel)
		if err == nil {
			return f, missing, nil
		}
		if !errors.Is(err, unix.ENOENT) || rel == "/" {
			return nil, nil, err
		}
		missing = append([]string{path.Base(rel)}, missing...)
		rel = path.Dir(rel)
	}
}

// onTmpfsOf reports whether f is on the filesystem that is mounted at tree.
func onTmpfsOf(tree string, f *os.File) (bool, error) {
	var a, b unix.Stat_t
	if err := unix.Stat(tree, &a); err != nil {
		return false, err
	}
	if err := unix.Fstat(int(f.Fd()), &b); err != nil {
		return false, err
	}
	return a.Dev == b.Dev, nil
}

// shadow covers the directory dst with one that shows the same and takes new
// entries without the host noticing. src is the same directory, to be read.
func (b *builder) shadow(src, dst string) error {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(m.Mountpoint, dst+"/"), false
	})
	if err != nil {
		return fmt.Errorf("cannot read the mounts below %s: %w", dst, err)
	}
	if len(mounts) > 0 {
		// An overlay does not show what is mounted below its lower layer, and
		// in a user namespace the kernel refuses such a layer.
		return b.skeleton(src, dst)
	}
	return b.overlay(src, dst)
}

// skeleton covers dst with a tmpfs on which each entry of src is bound.
func (b *builder) skeleton(src, dst string) error {
	dir, err := os.Open(src)
	if err != nil {
		return err
	}
	defer dir.Close()
	over, err := openPath(dst)
	if err != nil {
		return err
	}
	defer over.Close()
	if err := unix.Mount("tmpfs", fdPath(over), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("cannot mount a tmpfs over %s: %w", dst, err)
	}
	if err := copyAttributes(fdPath(dir), dst); err != nil {
		return err
	}
	return populate(dir, dst, nil)
}

// overlay mounts a kernel overlay over dst whose lower layer is src and whose
// upper one is on our tmpfs. userxattr is what an ordinary user may use.
func (b *builder) overlay(src, dst string) error {
	b.copies++
	dir := filepath.Join(b.view.Tree, "overlay", fmt.Sprint(b.copies))
	// The layers are named by descriptors: a comma or a colon in a path would
	// end the option.
	layers := map[string]*os.File{}
	for _, name := range []string{"upper", "work"} {
		layer := filepath.Join(dir, name)
		if err := os.MkdirAll(layer, 0o755); err != nil {
			return err
		}
		f, err := openPath(layer)
		if err != nil {
			return err
		}
		defer f.Close()
		layers[name] = f
	}
	if err := copyAttributes(src, fdPath(layers["upper"])); err != nil {
		return err
	}
	options := "lowerdir=" + src + ",upperdir=" + fdPath(layers["upper"]) + ",workdir=" + fdPath(layers["work"]) + ",userxattr"
	if err := unix.Mount("overlay", dst, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("cannot mount an overlay over %s: %w", dst, err)
	}
	return nil
}

// copyAttributes gives dst the mode of src, and its owner where we may: the
// directory at the top of an overlay shows its upper layer's.
func copyAttributes(src, dst string) error {
	var st unix.Stat_t
	if err := unix.Stat(src, &st); err != nil {
		return err
	}
	// An owner outside of our user namespace cannot be given; it stays ours.
	if err := os.Chown(dst, int(st.Uid), int(st.Gid)); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		return err
	}
	return unix.Chmod(dst, st.Mode&0o7777)
}

// copyOnWrite makes dst, which is on our tmpfs, show src in such a way that
// what is written stays on our tmpfs. A file is copied.
func (b *builder) copyOnWrite(src, dst string, isDir bool) (err error) {
	if isDir {
		return b.shadow(src, dst)
	}
	// Whatever else it is, it cannot be copied, nor opened without a risk: a FIFO
	// waits for its other end.
	var st unix.Stat_t
	if err := unix.Stat(src, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return bind(src, dst, dst)
	}
	in, err := os.OpenFile(src, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
