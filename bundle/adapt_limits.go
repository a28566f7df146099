package bundle

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// relaxOOM: in a user namespace nobody can make himself a worse victim of the
// OOM killer than his creator made him; runc ignores the wish there.
func relaxOOM(a *adaptation) error {
	p := a.Spec.Process
	if a.host.UserNS && p.OOMScoreAdj != nil && *p.OOMScoreAdj < a.host.OOMScoreAdj {
		a.note("oomScoreAdj %d cannot be had in a user namespace: it stays %d", *p.OOMScoreAdj, a.host.OOMScoreAdj)
		p.OOMScoreAdj = nil
	}
	return nil
}

// fillResources: `runsc update` crashes where the spec has none
// (gVisor v0.0.0-20260905035102, cmd/update.go).
func fillResources(a *adaptation) error {
	if a.Spec.Linux.Resources == nil {
		a.Spec.Linux.Resources = &specs.LinuxResources{}
	}
	return nil
}

// noteNetwork: a new and empty network is not always going to stay so.
func noteNetwork(a *adaptation) error {
	for _, ns := range a.Spec.Linux.Namespaces {
		switch {
		case ns.Type == specs.UserNamespace:
			a.NewNetwork = false
			return nil
		case ns.Type == specs.NetworkNamespace:
			a.NewNetwork = ns.Path == ""
		}
	}
	return nil
}

// noteNetRaw: runsc takes CAP_NET_RAW away unless it is told not to.
func noteNetRaw(a *adaptation) error {
	if c := a.Spec.Process.Capabilities; c != nil {
		a.NetRaw = slices.Contains(c.Bounding, "CAP_NET_RAW")
	}
	return nil
}

// noteSeccomp: runsc ignores the filter unless it is told not to.
func noteSeccomp(a *adaptation) error {
	a.Seccomp = a.Spec.Linux.Seccomp != nil
	return nil
}

// noteDevices: the sandbox has the sentry's own devices and no others.
func noteDevices(a *adaptation) error {
	for _, d := range a.Spec.Linux.Devices {
		if !isSentryDevice(d) {
			a.note("device %s is not there in a sandbox", d.Path)
		}
	}
	return nil
}

// sentryDevices are the devices that every sandbox has, with their numbers.
var sentryDevices = map[string]specs.LinuxDevice{
	"/dev/null": {Type: "c", Major: 1, Minor: 3}, "/dev/zero": {Type: "c", Major: 1, Minor: 5},
	"/dev/full": {Type: "c", Major: 1, Minor: 7}, "/dev/random": {Type: "c", Major: 1, Minor: 8},
	"/dev/urandom": {Type: "c", Major: 1, Minor: 9}, "/dev/tty": {Type: "c", Major: 5, Minor: 0},
	"/dev/fuse": {Type: "c", Major: 10, Minor: 229}, "/dev/net/tun": {Type: "c", Major: 10, Minor: 200},
}

func isSentryDevice(d specs.LinuxDevice) bool {
	for _, known := range sentryDevices {
		if d.Type == known.Type && d.Major == known.Major && d.Minor == known.Minor {
			return true
		}
	}
	return false
}
