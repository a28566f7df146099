package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// openRoot makes the directory of the containers and locks it, how being
// unix.LOCK_SH for who adds one. The lock is held until the file is closed.
func openRoot(root string, how int) (*os.File, error) {
	for {
		if err := os.MkdirAll(root, 0o700); err != nil {
			return nil, fmt.Errorf("cannot make the directory of the containers: %w", err)
		}
		f, err := os.Open(root)
		if errors.Is(err, fs.ErrNotExist) {
			continue // tidied away in between
		}
		if err != nil {
			return nil, fmt.Errorf("cannot use the directory of the containers: %w", err)
		}
		if err := flock(f, how); err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", root, err)
		}
		if sameFileAs(f, root) {
			return f, nil
		}
		f.Close()
	}
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

func sameFileAs(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// tidyRoot removes what runsc's sandboxes share, a network namespace that it
// pins by a mount, when the last container of root is gone, and then root. While
// somebody creates one, and where there are others, it does nothing.
func tidyRoot(root string) {
	f, err := os.Open(root)
	if err != nil {
		return
	}
	defer f.Close()
	if flock(f, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != sharedName {
		return
	}
	shared := filepath.Join(root, sharedName)
	mounts, _ := filepath.Glob(filepath.Join(shared, "*"))
	for _, m := range mounts {
		// Creates that ran at once have stacked them.
		for unix.Unmount(m, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
		}
		os.Remove(m)
	}
	os.Remove(shared)
	os.Remove(root) // fails, as it should, if a container is there
}

// removeContainer removes the directory of a container, whose lock the caller
// holds.
func removeContainer(dir string) error {
	if err := removeDir(dir); err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("cannot remove %s: %w", dir, err)
	}
	tidyRoot(filepath.Dir(dir))
	return nil
}

// lockIn locks a container's directory, or with unix.O_CREAT in flags begins to.
func lockIn(dir string, flags, how int) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return lockFile(root, lockName, flags, how)
}

// removeDir removes a container's directory and what is in it.
func removeDir(dir string) error {
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer root.Close()
	return removeRun(root, filepath.Base(dir))
}
