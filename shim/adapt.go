package shim

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/internal/rootfs"
)

// adapt loads the bundle and makes it one for runsc.
func (c *Container) adapt(o *CreateOptions) (*bundle.Adapted, error) {
	spec, err := bundle.Load(o.Bundle)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.path(emptyName), nil, 0o444); err != nil {
		return nil, fmt.Errorf("cannot make a directory for container %q: %w", c.ID, err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find our own binary: %w", err)
	}
	adapted, err := bundle.Adapt(spec, o.Bundle, bundle.Host{
		UserNS: !o.Host.RealRoot, OwnUserNS: !privileged(),
		SELinux: active("/sys/fs/selinux/enforce"), AppArmor: active("/sys/module/apparmor/parameters/enabled"),
		OOMScoreAdj: oomScoreAdj(), Empty: c.path(emptyName), Lookup: lookup, Relay: [2]string{self, RelayName},
	})
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(adapted.Spec.Root.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot use the root directory: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("cannot use the root directory: %s is not a directory", adapted.Spec.Root.Path)
	}
	for _, n := range adapted.Notes {
		o.debug("%s", n)
	}
	c.saved = saved{
		OCIVersion: spec.Version, ID: c.ID, Bundle: o.Bundle, Rootfs: adapted.Spec.Root.Path,
		Created: time.Now().UTC(), Owner: owner(), Annotations: spec.Annotations, Status: Creating,
		NoProcess: adapted.NoProcess, Hooks: adapted.Hooks, Process: adapted.Spec.Process,
	}
	return adapted, nil
}

// active reports whether a file of a security module says that it is at work.
func active(path string) bool {
	data, err := os.ReadFile(path)
	return err == nil && (strings.HasPrefix(string(data), "1") || strings.HasPrefix(string(data), "Y"))
}

func oomScoreAdj() int {
	data, _ := os.ReadFile("/proc/self/oom_score_adj")
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}

func owner() string {
	u, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		return ""
	}
	return u.Username
}

func lookup(root, p string) (string, bundle.FileKind) {
	resolved, mode, err := rootfs.Resolve(root, p)
	if err != nil {
		return "", bundle.Missing
	}
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return resolved, bundle.Directory
	case unix.S_IFCHR, unix.S_IFBLK:
		return resolved, bundle.Device
	}
	return resolved, bundle.File
}

// checkCommand looks whether the command can be started: callers of runc expect
// to hear it from create.
func (c *Container) checkCommand(a *bundle.Adapted) error {
	if a.NoProcess {
		return nil
	}
	tree := rootfs.Tree{Root: a.Spec.Root.Path}
	for _, m := range a.Spec.Mounts {
		over := rootfs.Mount{Dest: m.Destination}
		if m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind") {
			over.Source = m.Source
		}
		tree.Mounts = append(tree.Mounts, over)
	}
	p := a.Spec.Process
	if err := tree.CheckCommand(p.Args[0], p.Cwd, p.Env); err != nil {
		return fmt.Errorf("unable to start container process: %w", err) // runc's words
	}
	return nil
}
