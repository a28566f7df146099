// Package probe finds out what this host can do. A Check says whether something
// works, why not, and what mends it; errors, doctor and the skips of tests all
// speak from it.
package probe

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Check is the outcome of one probe.
type Check struct {
	// Name of what was looked at.
	Name string
	// OK says that it works.
	OK bool
	// Reason says why it does not, and Fix what to do; empty where OK.
	Reason, Fix string
}

// userNSSwitch is a file that closes user namespaces to ordinary users when it
// holds the value closed.
type userNSSwitch struct{ path, closed, sysctl string }

var userNSSwitches = []userNSSwitch{
	{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"},
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"},
}

// UserNamespaces makes a user namespace and, where it cannot, names the switch.
func UserNamespaces() Check {
	c := Check{Name: "user namespaces"}
	cmd := exec.Command("/proc/self/exe", ChildArg)
	cmd.Args[0] = ChildArg
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	err := cmd.Run()
	if err == nil {
		c.OK = true
		return c
	}
	c.Reason = err.Error()
	c.Fix = "this kernel, or the container around us, gives no user namespaces"
	for _, s := range userNSSwitches {
		value, err := os.ReadFile(s.path)
		if err == nil && strings.TrimSpace(string(value)) == s.closed {
			c.Reason = fmt.Sprintf("%s is %s", s.path, s.closed)
			c.Fix = "as root: sysctl -w " + s.sysctl
			return c
		}
	}
	return c
}

// ChildArg is argv[0] of a process that is to exit at once with status 0.
const ChildArg = "gvisor-exec-probe"

// Command looks for a program in $PATH; fix is what installs it.
func Command(name, fix string) Check {
	if _, err := exec.LookPath(name); err != nil {
		return Check{Name: name, Reason: "it is not installed", Fix: fix}
	}
	return Check{Name: name, OK: true}
}

// TunDevice finds out whether everybody may make a network interface of his own,
// as user-mode networks do.
func TunDevice() Check {
	const path = "/dev/net/tun"
	c := Check{Name: path, Fix: "as root: chmod 666 " + path}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		c.Reason = err.Error()
	case info.Mode().Perm()&0o006 != 0o006:
		c.Reason = "its mode keeps ordinary users out: " + info.Mode().Perm().String()
	default:
		return Check{Name: path, OK: true}
	}
	return c
}
