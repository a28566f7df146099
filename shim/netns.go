package shim

import (
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gvisor-exec/gvisor-exec/internal/bridge"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// ownNetwork is the network namespace that we are in.
const ownNetwork = "/proc/self/ns/net"

// chooseNetwork decides which stack a container is created with, by its spec:
// without a network namespace it is the host's, otherwise gVisor's. With auto,
// what the namespace has at start decides whether there is anything but a
// loopback: engines configure it between create and start.
func chooseNetwork(asked runsc.Network, spec *specs.Spec) (network runsc.Network, auto bool) {
	if asked != "" {
		return asked, false
	}
	if networkNamespace(spec) < 0 {
		return runsc.NetworkHost, false
	}
	if p := networkPath(spec); p != "" && sameNamespace(p, ownNetwork) {
		return runsc.NetworkHost, false
	}
	return runsc.NetworkSandbox, true
}

// networkNamespace is the index of the network namespace among the spec's; -1:
// it has none.
func networkNamespace(spec *specs.Spec) int {
	return slices.IndexFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.NetworkNamespace })
}

// networkPath is that of the network namespace in the spec; empty: it has none,
// or one that is made for the container.
func networkPath(spec *specs.Spec) string {
	if i := networkNamespace(spec); i >= 0 {
		return spec.Linux.Namespaces[i].Path
	}
	return ""
}

// sameNamespace reports whether two files name one namespace.
func sameNamespace(a, b string) bool {
	sa, errA := os.Stat(a)
	sb, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(sa, sb)
}

// connected reports whether the network namespace of process pid has more than
// a loopback: a route, or an IPv6 address of another interface. To read that
// needs no privilege, and a later verb may have none.
func connected(pid int) bool {
	routes, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/route", pid))
	for line := range strings.Lines(string(routes)) {
		// The first line is a heading; and what leads to another sandbox in the
		// same namespace is that one's.
		if !strings.HasPrefix(line, "Iface") && !strings.HasPrefix(line, bridge.Prefix) {
			return true
		}
	}
	addresses, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/if_inet6", pid))
	for line := range strings.Lines(string(addresses)) {
		if fields := strings.Fields(line); len(fields) == 6 && fields[5] != "lo" {
			return true
		}
	}
	return false
}
