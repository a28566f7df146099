package runsc

import (
	"fmt"
	"slices"
	"strings"
)

// Platform is how the sentry intercepts system calls. The zero value is
// systrap, runsc's own default. It implements flag.Value.
type Platform string

// The platforms that runsc has on Linux.
const (
	Systrap Platform = "systrap"
	Ptrace  Platform = "ptrace"
	KVM     Platform = "kvm"
)

func (p *Platform) String() string {
	if *p == "" {
		return string(Systrap)
	}
	return string(*p)
}

// Values are the platforms there are.
func (*Platform) Values() []string { return []string{string(Systrap), string(Ptrace), string(KVM)} }

// Set accepts the name of a platform.
func (p *Platform) Set(s string) error { return setEnum(p, s, p.Values()) }

// Network is where the sandbox's packets go. The zero value is none: a
// loopback interface and nothing else. It implements flag.Value.
type Network string

// The networks of a sandbox.
const (
	NetworkNone Network = "none"
	NetworkHost Network = "host"
	// NetworkSandbox is gVisor's own stack on the interfaces of the network
	// namespace that the spec names.
	NetworkSandbox Network = "sandbox"
)

func (n *Network) String() string {
	if *n == "" {
		return string(NetworkNone)
	}
	return string(*n)
}

// Values are the networks there are.
func (*Network) Values() []string {
	return []string{string(NetworkNone), string(NetworkHost), string(NetworkSandbox)}
}

// Set accepts the name of a network.
func (n *Network) Set(s string) error { return setEnum(n, s, n.Values()) }

// GlobalFlags are the flags before the verb. The zero value leaves every one
// of them to runsc.
type GlobalFlags struct {
	// Root is the directory of runsc's state.
	Root string
	// Platform and Network as their types say; passed only if set.
	Platform Platform
	Network  Network
	// Overlay2 is the value of --overlay2, such as "root:memory".
	Overlay2 string
	// Log is the file that takes runsc's errors, as JSON.
	Log string
	// DebugLog is the pattern of the debug logs; empty: none are written.
	DebugLog string
	// Strace logs the system calls of the command to DebugLog.
	Strace bool
	// IgnoreCgroups leaves the host's cgroups alone.
	IgnoreCgroups bool
	// IgnoreHostSettings skips runsc's look at the host's tunables, which
	// costs a tenth of a cold start.
	IgnoreHostSettings bool
	// SharedRoot is the directory of what sandboxes with different Roots share.
	SharedRoot string
	// NetRaw leaves the command CAP_NET_RAW where the spec has it.
	NetRaw bool
	// AllowSUID lets setuid and setgid programs have their owner's ids inside,
	// unless the process has no_new_privs.
	AllowSUID bool
	// OCISeccomp applies the spec's seccomp filter inside the sandbox.
	OCISeccomp bool
	// SystemdCgroup makes cgroups through systemd.
	SystemdCgroup bool
}

func (g GlobalFlags) args() []string {
	var args []string
	str := func(name, value string) {
		if value != "" {
			args = append(args, "--"+name+"="+value)
		}
	}
	flag := func(name string, on bool) {
		if on {
			args = append(args, "--"+name)
		}
	}
	str("root", g.Root)
	str("platform", string(g.Platform))
	str("network", string(g.Network))
	str("overlay2", g.Overlay2)
	flag("ignore-cgroups", g.IgnoreCgroups)
	if g.IgnoreHostSettings {
		str("host-settings", "ignore")
	}
	if g.Log != "" {
		str("log", g.Log)
		str("log-format", "json")
	}
	if g.DebugLog != "" {
		flag("debug", true)
		str("debug-log", g.DebugLog)
	}
	flag("strace", g.Strace)
	str("shared-root", g.SharedRoot)
	flag("net-raw", g.NetRaw)
	flag("allow-suid", g.AllowSUID)
	flag("oci-seccomp", g.OCISeccomp)
	flag("systemd-cgroup", g.SystemdCgroup)
	return args
}

// setEnum sets *dst to s if it is one of the allowed values.
func setEnum[T ~string](dst *T, s string, allowed []string) error {
	if !slices.Contains(allowed, s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(allowed, ", "))
	}
	*dst = T(s)
	return nil
}
