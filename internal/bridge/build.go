package bridge

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The names of what is made; the number of the uplink follows.
const (
	// Prefix begins the names of bridges.
	Prefix     = "gvisor-br"
	portName   = "gvisor-port"
	uplinkName = "gvisor-up"
)

// doorway is the kernel's own address on bridge i. It is link-local, so that no
// address of a subnet that somebody else hands out is taken. The sandbox sees
// connections through the proxy come from it.
func doorway(i int) *net.IPNet {
	return &net.IPNet{IP: net.IPv4(169, 254, 232, byte(1+i)), Mask: net.CIDRMask(32, 32)}
}

// uplink is an interface that a sandbox would take.
type uplink struct {
	link   netlink.Link
	addrs  []netlink.Addr
	routes []netlink.Route
}

// findUplinks returns the interfaces that are up and have an IPv4 address.
func findUplinks() (list []uplink, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("cannot list interfaces: %w", err)
	}
	for _, l := range links {
		if flags := l.Attrs().Flags; flags&net.FlagLoopback != 0 || flags&net.FlagUp == 0 {
			continue
		}
		if strings.HasPrefix(l.Attrs().Name, Prefix) {
			continue // another sandbox's, in a namespace that it shares with this one
		}
		u := uplink{link: l}
		if u.addrs, err = netlink.AddrList(l, netlink.FAMILY_ALL); err != nil {
			return nil, fmt.Errorf("cannot list the addresses of %s: %w", l.Attrs().Name, err)
		}
		if !slices.ContainsFunc(u.addrs, isIPv4) {
			continue
		}
		if u.routes, err = netlink.RouteList(l, netlink.FAMILY_ALL); err != nil {
			return nil, fmt.Errorf("cannot list the routes of %s: %w", l.Attrs().Name, err)
		}
		list = append(list, u)
	}
	return list, nil
}

func isIPv4(a netlink.Addr) bool { return a.IP.To4() != nil }

// confine keeps the kernel from passing on what hostile code sends to it through
// a bridge. A new namespace inherits the host's settings, so none is assumed.
func confine() error {
	return errors.Join(
		sysctl("ipv4/ip_forward", "0"), sysctl("ipv6/conf/all/forwarding", "0"),
		sysctl("ipv4/conf/all/route_localnet", "0"), sysctl("ipv4/conf/default/route_localnet", "0"),
		sysctl("ipv4/conf/all/accept_local", "0"), sysctl("ipv4/conf/all/proxy_arp", "0"),
		sysctl("ipv4/conf/default/proxy_arp", "0"), sysctl("ipv4/conf/default/accept_local", "0"),
		// What comes in on a bridge must come from the one address that is routed
		// back to it; the default is for the bridge that is made next.
		sysctl("ipv4/conf/default/rp_filter", "1"), sysctl("ipv4/conf/default/arp_ignore", "1"),
		// The kernel is to have no IPv6 address on what is made.
		sysctl("ipv6/conf/default/disable_ipv6", "1"),
	)
}

// sysctl sets one in the namespace of the thread. One that this kernel has not
// needs no setting.
func sysctl(name, value string) error {
	err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// build makes door i for the uplink.
func (u *uplink) build(i int) (Door, error) {
	attrs := u.link.Attrs()
	d := Door{
		Guest: attrs.Name, Hardware: attrs.HardwareAddr.String(),
		Uplink: fmt.Sprint(uplinkName, i), Bridge: fmt.Sprint(Prefix, i), Port: fmt.Sprint(portName, i),
	}
	for _, a := range u.addrs {
		if isIPv4(a) {
			d.Addresses = append(d.Addresses, a.IPNet.String())
		}
	}
	if err := u.stepAside(&d); err != nil {
		return d, err
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: new(bool)}
	bridge.Name, bridge.MTU = d.Bridge, attrs.MTU
	if err := netlink.LinkAdd(bridge); err != nil {
		return d, fmt.Errorf("cannot add a bridge: %w", err)
	}
	guest := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: d.Port}
	guest.Name, guest.MTU, guest.HardwareAddr = d.Guest, attrs.MTU, attrs.HardwareAddr
	if err := netlink.LinkAdd(guest); err != nil {
		return d, fmt.Errorf("cannot add a veth: %w", err)
	}
	port, err := netlink.LinkByName(d.Port)
	if err != nil {
		return d, fmt.Errorf("cannot find the end of a veth: %w", err)
	}
	for _, l := range []netlink.Link{u.link, port} {
		if err := errors.Join(netlink.LinkSetMaster(l, bridge), netlink.LinkSetUp(l)); err != nil {
			return d, fmt.Errorf("cannot put %s on the bridge: %w", l.Attrs().Name, err)
		}
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return d, fmt.Errorf("cannot bring the bridge up: %w", err)
	}
	return d, u.dress(guest, i)
}

// stepAside takes from the uplink what its place is known by: its name, and, as a
// bridge hands no frame on that is for a port of its own, its hardware address.
func (u *uplink) stepAside(d *Door) error {
	other := make(net.HardwareAddr, 6)
	rand.Read(other)
	other[0] = other[0]&^1 | 2 // one station's, and made up
	err := netlink.LinkSetDown(u.link)
	for _, a := range u.addrs {
		if isIPv4(a) { // the others have gone
			err = errors.Join(err, netlink.AddrDel(u.link, &a))
		}
	}
	err = errors.Join(err, netlink.LinkSetHardwareAddr(u.link, other), netlink.LinkSetName(u.link, d.Uplink),
		sysctl("ipv6/conf/"+d.Uplink+"/disable_ipv6", "1"))
	if err != nil {
		return fmt.Errorf("cannot move %s away: %w", d.Guest, err)
	}
	return nil
}

// dress gives the guest the addresses and routes of the uplink, and a way to the
// bridge's own address.
func (u *uplink) dress(guest netlink.Link, i int) error {
	name := guest.Attrs().Name
	// It keeps what it is told, and makes up no address of its own.
	err := errors.Join(sysctl("ipv6/conf/"+name+"/accept_ra", "0"), sysctl("ipv6/conf/"+name+"/addr_gen_mode", "1"),
		sysctl("ipv6/conf/"+name+"/disable_ipv6", "0"), netlink.LinkSetUp(guest))
	for _, a := range u.addrs {
		a.Label, a.LinkIndex, a.ValidLft, a.PreferedLft = "", 0, 0, 0
		a.Flags = unix.IFA_F_NODAD // nobody else has had it meanwhile
		if addErr := netlink.AddrAdd(guest, &a); addErr != nil && isIPv4(a) {
			err = errors.Join(err, addErr)
		}
	}
	for _, r := range u.routes {
		if r.Protocol == unix.RTPROT_KERNEL {
			continue // came with the address
		}
		r.LinkIndex, r.Flags = guest.Attrs().Index, r.Flags&int(netlink.FLAG_ONLINK) // the others are states
		if r.Family == netlink.FAMILY_V6 {
			r.Protocol = unix.RTPROT_STATIC
		}
		if addErr := netlink.RouteReplace(&r); addErr != nil && r.Family == netlink.FAMILY_V4 {
			err = errors.Join(err, addErr)
		}
	}
	err = errors.Join(err, netlink.RouteAdd(&netlink.Route{LinkIndex: guest.Attrs().Index, Dst: doorway(i), Scope: netlink.SCOPE_LINK}))
	if err != nil {
		return fmt.Errorf("cannot give the addresses of %s on: %w", name, err)
	}
	return nil
}

// open gives bridge i its address, and routes those of the sandbox to it.
func (d *Door) open(i int) error {
	bridge, err := netlink.LinkByName(d.Bridge)
	if err != nil {
		return fmt.Errorf("cannot find %s: %w", d.Bridge, err)
	}
	own := doorway(i)
	if err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: own}); err != nil {
		return fmt.Errorf("cannot give %s an address: %w", d.Bridge, err)
	}
	for _, a := range d.Addresses {
		ip, _, err := net.ParseCIDR(a)
		if err != nil {
			return err
		}
		err = netlink.RouteAdd(&netlink.Route{
			LinkIndex: bridge.Attrs().Index, Dst: &net.IPNet{IP: ip, Mask: own.Mask}, Src: own.IP, Scope: netlink.SCOPE_LINK,
		})
		if err != nil {
			return fmt.Errorf("cannot route %s to %s: %w", a, d.Bridge, err)
		}
	}
	return nil
}

// giveBack undoes a door that was made only in part.
func (u *uplink) giveBack(d Door) error {
	if d.Uplink == "" {
		return nil
	}
	err := d.remove()
	for _, r := range u.routes {
		if r.Protocol != unix.RTPROT_KERNEL && r.Family == netlink.FAMILY_V4 {
			r.Flags &= int(netlink.FLAG_ONLINK)
			err = errors.Join(err, netlink.RouteReplace(&r))
		}
	}
	return err
}
