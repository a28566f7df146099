package shim

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// name is our directory's in the directories of others.
	name = "gvisor-exec"
	// runPrefix and keptPrefix begin the names in the state directory; only
	// what begins with runPrefix is ever swept.
	runPrefix, keptPrefix = "run-", "kept-"
)

// Host is what state depends on of the caller. A zero value is nobody.
type Host struct {
	UID int
	// RealRoot says that the caller is root, and not of a user namespace.
	RealRoot bool
	// Home, RuntimeDir and CacheHome as $HOME, $XDG_RUNTIME_DIR and
	// $XDG_CACHE_HOME have them.
	Home, RuntimeDir, CacheHome string
}

// stateDir returns our state directory, made if it is missing: /run/gvisor-exec
// for real root, $XDG_RUNTIME_DIR/gvisor-exec otherwise, as runc has it, and
// without that a directory in /tmp. once says that no other run will find it.
func stateDir(h Host) (dir string, once bool, err error) {
	switch {
	case h.RealRoot:
		dir, err = ensurePrivate("/run/"+name, h.UID)
		return dir, false, err
	case filepath.IsAbs(h.RuntimeDir): // a relative one is to be ignored, says XDG
		if dir, err = filepath.EvalSymlinks(h.RuntimeDir); err != nil {
			return "", false, fmt.Errorf("cannot make our directory: %w", err)
		}
		dir, err = ensurePrivate(filepath.Join(dir, name), h.UID)
		return dir, false, err
	}
	dir, err = ensurePrivate(fmt.Sprintf("/tmp/%s-%d", name, h.UID), h.UID)
	if err == nil {
		return dir, false, nil
	}
	// Somebody else sits on the name: a name that nobody can guess serves, if not
	// one of ours is left from a run that was killed.
	prefix := fmt.Sprintf("/tmp/%s-%d-", name, h.UID)
	left, _ := filepath.Glob(prefix + "*")
	for _, dir := range left {
		if _, err := ensurePrivate(dir, h.UID); err == nil {
			return dir, true, nil
		}
	}
	dir, err = os.MkdirTemp("/tmp", filepath.Base(prefix))
	if err != nil {
		return "", false, fmt.Errorf("cannot make a state directory: %w", err)
	}
	return dir, true, nil
}

// overlayDir returns a directory on a disk for the files behind the sandbox's
// writes, which runsc unlinks as soon as they are open.
func overlayDir(h Host) (string, error) {
	cache := h.CacheHome
	switch {
	case h.RealRoot:
		cache = "/var/cache" // in /var/tmp others could sit on the name
	case !filepath.IsAbs(cache) && h.Home != "":
		cache = filepath.Join(h.Home, ".cache")
	}
	// runsc's --overlay2 cannot say a comma or a colon.
	if filepath.IsAbs(cache) && !strings.ContainsAny(cache, ",:") && os.MkdirAll(cache, 0o700) == nil {
		dir, err := filepath.EvalSymlinks(cache)
		if err != nil {
			return "", fmt.Errorf("cannot use %s: %w", cache, err)
		}
		return ensurePrivate(filepath.Join(dir, name), h.UID)
	}
	return ensurePrivate(fmt.Sprintf("/var/tmp/%s-%d", name, h.UID), h.UID)
}

// ensurePrivate makes dir, of mode 0700, or checks that it is a directory of
// uid's that nobody else can enter.
func ensurePrivate(dir string, uid int) (string, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cannot make our directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return "", fmt.Errorf("cannot use %s: %w", dir, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "", fmt.Errorf("cannot use %s: it is not a directory", dir)
	case int(st.Uid) != uid:
		return "", fmt.Errorf("cannot use %s: it belongs to user %d", dir, st.Uid)
	case st.Mode&0o022 == 0 && st.Mode&0o055 != 0 && unix.Chmod(dir, 0o700) == nil:
		// Nobody else has put anything there.
	case st.Mode&0o077 != 0:
		return "", fmt.Errorf("cannot use %s: others may enter it (mode %04o, not 0700)", dir, st.Mode&0o7777)
	}
	return dir, nil
}

// runDir is the directory of one run. Whoever holds its lock is using it.
type runDir struct {
	path string
	lock *os.File
	// state is the directory that path is in. It is held open: the sandbox may
	// have been given a way to put another one at its path.
	state *os.Root
}

// newRunDir sweeps what dead runs left in the directory stateDir and makes a
// directory for this one. With keep it is one that is never swept.
func newRunDir(stateDir string, keep bool) (_ *runDir, err error) {
	state, err := os.OpenRoot(stateDir)
	if err != nil {
		return nil, fmt.Errorf("cannot use our state: %w", err)
	}
	defer func() {
		if err != nil {
			state.Close()
		}
	}()
	// Between its mkdir and its lock a new directory looks like a dead run's;
	// so both happen, like the sweep, under a lock of state.
	guard, err := lockFile(state, lockName, unix.O_CREAT, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	sweep(state)
	prefix := runPrefix
	if keep {
		prefix = keptPrefix
	}
	dir := prefix + rand.Text()[:12]
	if err := state.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make a directory for this run in %s: %w", stateDir, err)
	}
	lock, err := lockFile(state, filepath.Join(dir, lockName), unix.O_CREAT, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		state.Remove(dir)
		return nil, err
	}
	r := &runDir{path: filepath.Join(stateDir, dir), lock: lock, state: state}
	for _, sub := range []string{"tree", "bundle", "runsc"} {
		if err := state.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			removeRun(state, dir)
			lock.Close()
			return nil, fmt.Errorf("cannot make a directory for this run in %s: %w", stateDir, err)
		}
	}
	return r, nil
}

// overlayLink is a link in a run's directory to the directory of its file behind
// ephemeral writes. runsc unlinks that file as soon as it is open; a run that is
// killed just before leaves it to the sweep.
const overlayLink = "overlay"

// overlayPrefix begins the name of that directory, and the run's own ends it: both
// may be in one place.
const overlayPrefix = "overlay-"

// makeOverlay makes this run's directory in parent, which overlayDir returned.
func (r *runDir) makeOverlay(parent string) (string, error) {
	run := filepath.Base(r.path)
	dir := filepath.Join(parent, overlayPrefix+run)
	err := r.state.Symlink(dir, filepath.Join(run, overlayLink))
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("cannot make a directory for this run's writes: %w", err)
	}
	return dir, nil
}

// removeOverlay removes what makeOverlay has made for the run of this name.
func removeOverlay(state *os.Root, run string) error {
	dir, err := state.Readlink(filepath.Join(run, overlayLink))
	if err != nil || filepath.Base(dir) != overlayPrefix+run {
		return nil
	}
	files, err := os.ReadDir(dir)
	for _, f := range files {
		err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
	}
	if err = errors.Join(err, os.Remove(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return state.Remove(filepath.Join(run, overlayLink))
}

// close lets go of the directory, which stays.
func (r *runDir) close() error { return errors.Join(r.lock.Close(), r.state.Close()) }

func (r *runDir) remove() error {
	return errors.Join(removeRun(r.state, filepath.Base(r.path)), r.close())
}

// lockName is the file in a run's directory that its processes hold a lock of.
const lockName = "lock"

// lockFile opens, with unix.O_CREAT in flags makes, and locks the file p below
// state until it is closed.
func lockFile(state *os.Root, p string, flags, how int) (*os.File, error) {
	f, err := state.OpenFile(p, os.O_RDWR|unix.O_NOFOLLOW|flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock our state: %w", err)
	}
	for {
		if err = unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// sweep removes the directories of runs that nobody holds a lock of: a run that
// was killed could not do it itself. It removes files and nothing else: the
// kernel has taken the processes and the mounts. What cannot be removed is left
// for a later run.
func sweep(state *os.Root) {
	dirs, err := fs.Glob(state.FS(), runPrefix+"*")
	if err != nil {
		return
	}
	for _, dir := range dirs {
		lock, err := lockFile(state, filepath.Join(dir, lockName), 0, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			removeRun(state, dir)
			lock.Close()
		case errors.Is(err, fs.ErrNotExist):
			state.Remove(dir) // its run ended, or was killed, just before this line of removeRun
		}
	}
}

// removeRun removes the directory dir of a run whose lock the caller holds. The
// lock goes last: who finds the directory without one knows that it is empty.
func removeRun(state *os.Root, dir string) error {
	if err := removeOverlay(state, dir); err != nil {
		return err
	}
	f, err := state.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if err := removeIn(f, st.Dev, lockName); err != nil {
		return err
	}
	if err := unix.Unlinkat(int(f.Fd()), lockName, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := state.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeIn removes what is in dir, but for except, on the file system dev only:
// should a mount of the host's ever be in there, it stays.
func removeIn(dir *os.File, dev uint64, except string) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if name == except {
			continue
		}
		at := int(dir.Fd())
		var st unix.Stat_t
		if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			continue
		}
		if st.Dev != dev {
			errs = append(errs, fmt.Errorf("%s/%s is another file system", dir.Name(), name))
			continue
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			errs = append(errs, unix.Unlinkat(at, name, 0))
			continue
		}
		fd, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_RDONLY, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		sub := os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name))
		errs = append(errs, removeIn(sub, dev, ""))
		sub.Close()
		errs = append(errs, unix.Unlinkat(at, name, unix.AT_REMOVEDIR))
	}
	return errors.Join(errs...)
}
