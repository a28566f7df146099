package bundle

import (
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// slaveOf names the propagation that a sandbox can have in place of a shared
// one: it sees what the host mounts, and its own mounts, which the sentry alone
// knows of, never reach the host.
var slaveOf = map[string]string{"shared": "slave", "rshared": "rslave"}

// unshareMounts: runsc refuses shared mounts.
func unshareMounts(a *adaptation) error {
	for i := range a.Spec.Mounts {
		m := &a.Spec.Mounts[i]
		for j, option := range m.Options {
			if slave, ok := slaveOf[option]; ok {
				m.Options[j] = slave
				a.note("the mount %s is %s: what the sandbox mounts does not reach the host", m.Destination, slave)
			}
		}
		// Of runc's recursive options runsc knows none; the sentry's mount is
		// one, whatever is mounted below its source.
		if slices.Contains(m.Options, "rro") && !slices.Contains(m.Options, "ro") {
			m.Options = append(m.Options, "ro")
		}
	}
	return nil
}

// unsharePropagation: runsc takes private and slave roots only.
func unsharePropagation(a *adaptation) error {
	p := a.Spec.Linux.RootfsPropagation
	switch p {
	case "shared", "rshared":
		a.Spec.Linux.RootfsPropagation = slaveOf[p]
	case "unbindable":
		a.Spec.Linux.RootfsPropagation = "private"
	case "runbindable":
		a.Spec.Linux.RootfsPropagation = "rprivate"
	case "", "private", "rprivate", "slave", "rslave":
		return nil
	default:
		return fmt.Errorf("cannot use rootfsPropagation %q: it is none of shared, slave, private, unbindable and their recursive forms", p)
	}
	a.note("rootfsPropagation %s is %s", p, a.Spec.Linux.RootfsPropagation)
	return nil
}

// noHostKernelMounts: rootless specs bind the host's /sys, because Linux lets
// them mount no sysfs. The sentry has its own, and shows nothing of the host's.
func noHostKernelMounts(a *adaptation) error {
	for i := range a.Spec.Mounts {
		m := &a.Spec.Mounts[i]
		fs, ok := map[string]string{"/sys": "sysfs", "/proc": "proc", "/sys/fs/cgroup": "cgroup"}[m.Destination]
		if !ok || !isBind(m) || path.Clean(m.Source) != m.Destination {
			continue
		}
		m.Type, m.Source = fs, fs
		m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "bind" || o == "rbind" })
		a.note("%s is the sandbox's own, not a bind of the host's", m.Destination)
	}
	return nil
}

// noDeviceMounts: a sandbox opens no device of the host's, and a bind of one may
// fail the start. In /dev, where rootless engines bind all there are, the
// sentry's own are left; elsewhere /dev/null serves to mask a file.
func noDeviceMounts(a *adaptation) error {
	a.Spec.Mounts = slices.DeleteFunc(a.Spec.Mounts, func(m specs.Mount) bool {
		if !isBind(&m) || !under(m.Destination, "/dev") {
			return false
		}
		_, kind := a.host.Lookup(m.Source, "")
		if kind != Device {
			return false
		}
		switch d, known := sentryDevices[m.Source]; {
		case !known:
			a.note("device %s is not there in a sandbox", m.Source)
		case m.Source != m.Destination:
			d.Path = m.Destination
			a.Spec.Linux.Devices = append(a.Spec.Linux.Devices, d)
		}
		return true
	})
	for i := range a.Spec.Mounts {
		if m := &a.Spec.Mounts[i]; isBind(m) && m.Source == "/dev/null" {
			m.Source, m.Options = a.host.Empty, []string{"bind", "ro"}
			a.note("%s is an empty file, in place of /dev/null", m.Destination)
		} else if isBind(m) {
			if _, kind := a.host.Lookup(m.Source, ""); kind == Device {
				return fmt.Errorf("cannot bind the device %s: a sandbox opens none of the host's", m.Source)
			}
		}
	}
	return nil
}

// keepTmp: over an empty /tmp runsc mounts a tmpfs of its own, and what is written
// there would not belong to the rootfs.
func keepTmp(a *adaptation) error {
	source, kind := a.find("/tmp")
	mounted := slices.ContainsFunc(a.Spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/tmp" })
	if kind != Directory || mounted {
		return nil
	}
	access := "rw"
	if a.Spec.Root.Readonly {
		access = "ro"
	}
	a.Spec.Mounts = append(a.Spec.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: source, Options: []string{"rbind", access}})
	return nil
}

// kernelFiles are what the sentry has under /proc and /sys, as far as a spec may
// want it masked (gVisor v0.0.0-20260905035102). A mount on what it does not have
// would fail the start.
var kernelFiles = map[string]FileKind{
	"/proc/bus": Directory, "/proc/fs": Directory, "/proc/irq": Directory, "/proc/sys": Directory,
	"/proc/sys/fs": Directory, "/proc/sys/kernel": Directory, "/proc/sys/net": Directory, "/proc/sys/vm": Directory,
	"/proc/cgroups": File, "/proc/cmdline": File, "/proc/cpuinfo": File, "/proc/devices": File,
	"/proc/filesystems": File, "/proc/loadavg": File, "/proc/meminfo": File, "/proc/modules": File,
	"/proc/sentry-meminfo": File, "/proc/stat": File, "/proc/sysrq-trigger": File, "/proc/uptime": File,
	"/proc/version": File,
	"/sys/block":    Directory, "/sys/bus": Directory, "/sys/class": Directory, "/sys/dev": Directory,
	"/sys/devices": Directory, "/sys/firmware": Directory, "/sys/fs": Directory, "/sys/kernel": Directory,
	"/sys/module": Directory, "/sys/power": Directory,
}

// ofKernel reports whether p is in a filesystem that the sentry itself fills.
func ofKernel(p string) bool { return slices.Contains([]string{"/proc", "/sys"}, topLevel(p)) }

// maskPaths: runsc ignores maskedPaths. An empty read-only tmpfs covers a
// directory and an empty read-only file a file.
func maskPaths(a *adaptation) error {
	for _, p := range a.Spec.Linux.MaskedPaths {
		p = path.Clean("/" + p)
		kind := kernelFiles[p]
		if !ofKernel(p) {
			_, kind = a.find(p)
		}
		switch kind {
		case Directory:
			a.Spec.Mounts = append(a.Spec.Mounts, specs.Mount{
				Destination: p, Type: "tmpfs", Source: "tmpfs", Options: []string{"ro", "nosuid", "nodev", "noexec", "mode=0555"},
			})
		case Device, Special:
			// A mount over one fails, or waits for its other end (gVisor
			// v0.0.0-20260905035102).
			a.note("masked path %s: a sandbox does not open it anyway", p)
		case File:
			a.Spec.Mounts = append(a.Spec.Mounts, specs.Mount{
				Destination: p, Type: "bind", Source: a.host.Empty, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"},
			})
		default:
			a.note("masked path %s: the sandbox has none", p)
		}
	}
	a.Spec.Linux.MaskedPaths = nil
	return nil
}

// protectPaths: runsc ignores readonlyPaths. A path of the root or of a bind is
// bound over itself, read-only. Those under /proc and /sys are left: they are
// the sentry's own, say nothing to the host's kernel, and a bind would show the
// host's in their place.
func protectPaths(a *adaptation) error {
	for _, p := range a.Spec.Linux.ReadonlyPaths {
		p = path.Clean("/" + p)
		if ofKernel(p) {
			if kernelFiles[p] != Missing {
				a.note("read-only path %s belongs to the sandbox's own kernel and is left", p)
			}
			continue
		}
		source, kind := a.find(p)
		if kind != Directory && kind != File {
			a.note("read-only path %s: the sandbox has none that it opens", p)
			continue
		}
		a.Spec.Mounts = append(a.Spec.Mounts, specs.Mount{
			Destination: p, Type: "bind", Source: source, Options: []string{"rbind", "ro"},
		})
	}
	a.Spec.Linux.ReadonlyPaths = nil
	return nil
}

// find tells where on the host the container's p is: below the source of the
// bind that covers it, or in the root directory. In a filesystem that the sentry
// makes there is nothing to be found.
func (a *adaptation) find(p string) (string, FileKind) {
	root, rest := a.Spec.Root.Path, p
	var covering *specs.Mount
	for i := range a.Spec.Mounts {
		m := &a.Spec.Mounts[i]
		if under(p, m.Destination) && (covering == nil || len(m.Destination) >= len(covering.Destination)) {
			covering = m
		}
	}
	if covering != nil {
		if !isBind(covering) {
			return "", Missing
		}
		root, rest = covering.Source, strings.TrimPrefix(p, covering.Destination)
	}
	return a.host.Lookup(root, rest)
}
