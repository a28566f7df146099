package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// readIfThere returns nil if there is no such file, which is not the same as an
// empty one.
func readIfThere(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && content == nil {
		content = []byte{}
	}
	return content, err
}

// write carries out the edit: all of it, or nothing. Somebody may have changed
// the file while the user was asked.
func (e *edit) write() error {
	now, err := readIfThere(e.path)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, e.old) || (now == nil) != (e.old == nil) {
		return fmt.Errorf("%s was changed meanwhile", e.path)
	}
	if e.new != nil {
		return replaceFile(e.path, e.new)
	}
	if err := os.Remove(e.path); err != nil {
		return err
	}
	for _, dir := range e.empty {
		if unix.Rmdir(dir) != nil { // it is not empty, or a link: then it stays
			break
		}
	}
	return nil
}

// replaceFile gives a file new content in one step. Its mode and owner stay; of a
// symbolic link the file that it leads to is replaced, not the link.
func replaceFile(path string, content []byte) (err error) {
	if err := makeDirs(filepath.Dir(path)); err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks(path)
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s is a symbolic link that leads nowhere", path)
		}
		target = path
	}
	dir := filepath.Dir(target)
	f, err := os.CreateTemp(dir, ".gvisor-exec-") // no .conf: podman does not read it
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	err = errors.Join(err, likeBefore(f, target), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), target); err != nil {
		return err
	}
	return syncDir(dir)
}

// makeDirs makes dir and those above it. What root makes below /etc is for
// everybody, whatever his umask: with a directory that it cannot read podman fails
// altogether.
func makeDirs(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDirs(filepath.Dir(dir)); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if err == nil && os.Geteuid() == 0 {
		err = os.Chmod(dir, 0o755)
	}
	return err
}

// likeBefore gives f the mode and the owner of the file that it will replace.
func likeBefore(f *os.File, target string) error {
	info, err := os.Stat(target)
	if err != nil { // there is none
		return f.Chmod(0o644)
	}
	stat := info.Sys().(*syscall.Stat_t)
	// The mode comes last: chown takes some of its bits away.
	return errors.Join(f.Chown(int(stat.Uid), int(stat.Gid)), f.Chmod(info.Mode().Perm()))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
