package hostfs

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// place is where something is, whatever it is called: a path on a filesystem.
type place struct {
	major, minor int
	path         string
}

// locate finds the place of dir, which mounts show.
func locate(dir *os.File, mounts []*mountinfo.Info) (place, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(dir.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return place{}, fmt.Errorf("cannot locate %s: %w", dir.Name(), err)
	}
	at, err := os.Readlink(fdPath(dir))
	if err != nil {
		return place{}, err
	}
	for _, m := range mounts {
		if uint64(m.ID) == st.Mnt_id && below(at, m.Mountpoint) {
			return place{m.Major, m.Minor, path.Join(m.Root, strings.TrimPrefix(at, m.Mountpoint))}, nil
		}
	}
	return place{}, fmt.Errorf("cannot locate %s: no mount shows it", dir.Name())
}

// hide covers the host directory dir with an empty one wherever the view shows
// it: as part of the root, and of every source that contains it. It returns the
// names that it has in the view.
func (b *builder) hide(dir *os.File) ([]string, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("cannot read the mounts: %w", err)
	}
	hidden, err := locate(dir, mounts)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range mounts {
		if m.Major != hidden.major || m.Minor != hidden.minor || !below(m.Mountpoint, b.view.Tree) {
			continue
		}
		if m.Root != hidden.path && below(m.Root, hidden.path) {
			return nil, fmt.Errorf("cannot show what is in %s: it is our own state", dir.Name())
		}
		if !below(hidden.path, m.Root) {
			continue
		}
		at := path.Join(m.Mountpoint, strings.TrimPrefix(hidden.path, m.Root))
		name, ok := b.name(at)
		if !ok {
			continue
		}
		if err := coverWithEmpty(at, dir); err != nil {
			return nil, err
		}
		// A source that contains our state contains the view, and so on.
		if !slices.ContainsFunc(names, func(parent string) bool { return below(name, parent) }) {
			names = append(names, name)
		}
	}
	return names, nil
}

// name is what the sandbox calls the path at of the tree; it may have no name.
func (b *builder) name(at string) (string, bool) {
	if below(at, b.view.Root) {
		return path.Join("/", strings.TrimPrefix(at, b.view.Root)), true
	}
	for i, m := range b.view.Mounts {
		if m.Stash != "" && below(at, m.Stash) {
			return path.Join(b.dests[i], strings.TrimPrefix(at, m.Stash)), true
		}
	}
	return "", false
}

// coverWithEmpty mounts an empty directory over at, if what is seen there is
// dir: it may have been covered already.
func coverWithEmpty(at string, dir *os.File) error {
	f, err := openPath(at)
	if err != nil {
		return nil // a mount lies over a parent of it
	}
	defer f.Close()
	var seen, hidden unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &seen); err != nil {
		return err
	}
	if err := unix.Fstat(int(dir.Fd()), &hidden); err != nil {
		return err
	}
	if seen.Dev != hidden.Dev || seen.Ino != hidden.Ino {
		return nil
	}
	if err := unix.Mount("tmpfs", fdPath(f), "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		return fmt.Errorf("cannot hide %s: %w", at, err)
	}
	return nil
}
