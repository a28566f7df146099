package shim

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
)

// cgroups is where the hierarchies are: one a controller with cgroups v1, and the
// one of v2 itself.
const cgroups = "/sys/fs/cgroup"

// noteCgroup remembers the cgroup that runsc is going to make for the container. A
// create that fails, or is killed, leaves it (gVisor v0.0.0-20260905035102). One
// that is there already belongs to somebody else.
func (c *Container) noteCgroup(a *bundle.Adapted) {
	if c.NoCgroups != "" || c.Runsc.Global.SystemdCgroup || c.Sandbox != "" {
		return
	}
	path := "/" + c.ID
	if a.Spec.Linux != nil && a.Spec.Linux.CgroupsPath != "" {
		path = a.Spec.Linux.CgroupsPath
	}
	if !filepath.IsAbs(path) || filepath.Clean(path) == "/" {
		return
	}
	for _, dir := range cgroupDirs(path) {
		if _, err := os.Lstat(dir); err == nil {
			return
		}
	}
	c.Cgroup = filepath.Clean(path)
}

// removeCgroup removes it where it is left. One with processes, or with cgroups of
// others below, stays.
func (c *Container) removeCgroup() {
	if c.Cgroup == "" {
		return
	}
	end := time.Now().Add(emptyTimeout)
	for _, dir := range cgroupDirs(c.Cgroup) {
		for unix.Rmdir(dir) == unix.EBUSY && time.Now().Before(end) {
			time.Sleep(emptyPoll) // v1 does not say when it is empty
		}
	}
}

// What was killed takes a moment to leave its cgroup.
const (
	emptyTimeout = 500 * time.Millisecond
	emptyPoll    = 5 * time.Millisecond
)

func cgroupDirs(path string) []string {
	dirs := []string{filepath.Join(cgroups, path)}
	entries, _ := os.ReadDir(cgroups)
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(cgroups, e.Name(), path))
		}
	}
	return dirs
}
