// Package bridge gives the kernel's network stack a way to a sandbox that has
// taken over the interface of a network namespace.
//
// gVisor's own stack takes the addresses of an interface away from the kernel. A
// port proxy that lives in the namespace and connects to such an address, as
// rootless podman's does, then finds nobody (gVisor #9398). So the interface
// becomes a port of a bridge, and the sandbox gets the end of a veth on it, with
// the name, the hardware address, the addresses and the routes that the
// interface had:
//
//	uplink ── bridge ── port ═ veth ═ guest → sandbox
//	            │
//	            └ the kernel's stack, for the proxy
//
// All of it is in one namespace, and goes with it. It is no network of its own:
// it makes no namespace, and moves packets between no two of them.
//
// Start reading at Build and Open; Proxied tells who needs them.
package bridge

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// proxy is part of the name that podman's port proxy gives its half that
// connects from inside.
const proxy = "rootlessport"

// Proxied reports whether a port proxy connects from inside the network
// namespace of process pid. No other proxy that is known needs to be: docker's
// and rootlesskit's are outside, with a route to the sandbox.
func Proxied(pid int) bool {
	ns, err := os.Readlink(namespaceOf(fmt.Sprint(pid)))
	if err != nil {
		return false
	}
	self, err := os.Open("/proc")
	if err != nil {
		return false
	}
	defer self.Close()
	names, _ := self.Readdirnames(-1)
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		// The link first: it is one system call, and few processes are left then.
		if other, err := os.Readlink(namespaceOf(name)); err != nil || other != ns {
			continue
		}
		cmdline, _ := os.ReadFile("/proc/" + name + "/cmdline")
		argv0, _, _ := strings.Cut(string(cmdline), "\x00")
		if strings.Contains(filepath.Base(argv0), proxy) {
			return true
		}
	}
	return false
}

// Namespace opens the network namespace of process pid, which may end then.
func Namespace(pid int) (*os.File, error) {
	ns, err := os.Open(namespaceOf(fmt.Sprint(pid)))
	if err != nil {
		return nil, fmt.Errorf("cannot open a network namespace: %w", err)
	}
	return ns, nil
}

func pathOf(ns *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", ns.Fd()) }

func namespaceOf(pid string) string { return "/proc/" + pid + "/ns/net" }

// Bridges are those of one namespace, as Build made them. They may be kept as
// JSON.
type Bridges struct {
	Doors []Door
}

// Door is one bridge.
type Door struct {
	// Guest is the name of the veth's end that the sandbox gets, which was the
	// uplink's.
	Guest string
	// Uplink, Bridge and Port are the names of the rest.
	Uplink, Bridge, Port string
	// Hardware is the address that the uplink had.
	Hardware string
	// Addresses are the IPv4 addresses of the sandbox, in CIDR form.
	Addresses []string
}

// Build puts bridges before the interfaces of the network namespace ns that have IPv4 addresses. The kernel's stack has no part in them until
// Open, so that the sandbox does not take that from it too.
func Build(ns *os.File) (*Bridges, error) {
	b := &Bridges{}
	err := within(pathOf(ns), func() error {
		if err := confine(); err != nil {
			return err
		}
		uplinks, err := findUplinks()
		if err != nil {
			return err
		}
		for i, u := range uplinks {
			door, err := u.build(i)
			if err != nil {
				return errors.Join(err, u.giveBack(door))
			}
			b.Doors = append(b.Doors, door)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot make a bridge for published ports: %w", err)
	}
	return b, nil
}

// Open gives the kernel's stack in the network namespace ns a route to the sandbox, which has taken its interfaces by now.
func (b *Bridges) Open(ns *os.File) error {
	err := within(pathOf(ns), func() error {
		for i := range b.Doors {
			if err := b.Doors[i].open(i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot open the bridge for published ports: %w", err)
	}
	return nil
}

// Remove takes the bridges out of the network namespace that a path names, and
// gives the uplinks the names and addresses back that they had. It does nothing
// where the namespace is gone.
func (b *Bridges) Remove(path string) error {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	err := within(path, func() error {
		var errs []error
		for _, d := range b.Doors {
			errs = append(errs, d.remove())
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("cannot remove the bridge for published ports: %w", err)
	}
	return nil
}

// within calls do on a thread in the network namespace at path; the thread is
// not used for anything else afterwards.
func within(path string, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with us
		ns, err := netns.GetFromPath(path)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err != nil {
			done <- fmt.Errorf("cannot enter %s: %w", path, err)
			return
		}
		done <- do()
	}()
	return <-done
}

// remove undoes a door.
func (d *Door) remove() error {
	// The guest goes with the port, which is the other end of its veth.
	for _, name := range []string{d.Port, d.Bridge} {
		if link, err := netlink.LinkByName(name); err == nil {
			if err := netlink.LinkDel(link); err != nil {
				return fmt.Errorf("cannot remove %s: %w", name, err)
			}
		}
	}
	link, err := netlink.LinkByName(d.Uplink)
	if err != nil {
		return nil // it never stepped aside, or the engine has taken it away
	}
	hardware, err := net.ParseMAC(d.Hardware)
	if err != nil {
		return err
	}
	err = errors.Join(netlink.LinkSetDown(link), netlink.LinkSetName(link, d.Guest), netlink.LinkSetHardwareAddr(link, hardware))
	for _, a := range d.Addresses {
		address, parseErr := netlink.ParseAddr(a)
		if parseErr == nil {
			parseErr = netlink.AddrReplace(link, address)
		}
		err = errors.Join(err, parseErr)
	}
	return errors.Join(err, netlink.LinkSetUp(link))
}
