package bridge

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// namespace starts a process in a network namespace that looks as slirp4netns
// leaves it, and returns its pid.
func namespace(t testing.TB) int {
	t.Helper()
	probe.Skip(t, probe.Root())
	probe.Skip(t, probe.TunDevice())
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	inside(t, cmd.Process.Pid, func() error {
		tap := &netlink.Tuntap{LinkAttrs: netlink.NewLinkAttrs(), Mode: netlink.TUNTAP_MODE_TAP}
		tap.Name, tap.MTU = "tap0", 65520
		if err := netlink.LinkAdd(tap); err != nil {
			return err
		}
		address, _ := netlink.ParseAddr("10.0.2.100/24")
		if err := netlink.AddrAdd(tap, address); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(tap); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: tap.Index, Gw: net.IPv4(10, 0, 2, 2)})
	})
	return cmd.Process.Pid
}

func open(t testing.TB, pid int) *os.File {
	t.Helper()
	ns, err := Namespace(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func inside(t testing.TB, pid int, do func() error) {
	t.Helper()
	if err := within(namespaceOf(fmt.Sprint(pid)), do); err != nil {
		t.Fatal(err)
	}
}

// look describes the links of the namespace with their IPv4 addresses and the
// IPv4 routes.
func look(t testing.TB, pid int) (links, routes string) {
	t.Helper()
	inside(t, pid, func() error {
		list, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range list {
			links += " " + l.Attrs().Name
			addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
			if err != nil {
				return err
			}
			for _, a := range addrs {
				links += "=" + a.IPNet.String()
			}
		}
		all, err := netlink.RouteList(nil, netlink.FAMILY_V4)
		for _, r := range all {
			link, _ := netlink.LinkByIndex(r.LinkIndex)
			routes += fmt.Sprintf(" %v>%s", r.Dst, link.Attrs().Name)
		}
		return err
	})
	return links, routes
}

func TestBridge(t *testing.T) {
	pid := namespace(t)
	var before netlink.Link
	inside(t, pid, func() (err error) {
		before, err = netlink.LinkByName("tap0")
		return err
	})
	ns := open(t, pid)
	b, err := Build(ns)
	if err != nil {
		t.Fatal(err)
	}
	links, routes := look(t, pid)
	if links != " lo gvisor-up0 gvisor-br0 gvisor-port0 tap0=10.0.2.100/24" {
		t.Errorf("built:%s", links)
	}
	if routes != " 0.0.0.0/0>tap0 10.0.2.0/24>tap0 169.254.232.1/32>tap0" {
		t.Errorf("built:%s", routes)
	}
	inside(t, pid, func() error {
		guest, err := netlink.LinkByName("tap0")
		if err != nil {
			return err
		}
		if g, w := guest.Attrs(), before.Attrs(); g.MTU != w.MTU || g.HardwareAddr.String() != w.HardwareAddr.String() {
			t.Errorf("the guest has %d, %s, not %d, %s", g.MTU, g.HardwareAddr, w.MTU, w.HardwareAddr)
		}
		for name, want := range map[string]string{"ip_forward": "0", "conf/gvisor-br0/rp_filter": "1", "conf/gvisor-br0/route_localnet": "0"} {
			if got, err := os.ReadFile("/proc/sys/net/ipv4/" + name); err != nil || strings.TrimSpace(string(got)) != want {
				t.Errorf("%s is %q, %v", name, got, err)
			}
		}
		// What gVisor does when it takes the interface.
		address, _ := netlink.ParseAddr("10.0.2.100/24")
		return netlink.AddrDel(guest, address)
	})
	if err := b.Open(ns); err != nil {
		t.Fatal(err)
	}
	links, routes = look(t, pid)
	if !strings.Contains(links, " gvisor-br0=169.254.232.1/32 ") || !strings.Contains(routes, " 10.0.2.100/32>gvisor-br0") {
		t.Errorf("opened:%s,%s", links, routes)
	}
	// Another sandbox in the namespace leaves it alone.
	if other, err := Build(ns); err != nil || len(other.Doors) != 0 {
		t.Errorf("built upon: %v, %v", other, err)
	}
	// A later verb removes it.
	data, _ := json.Marshal(b)
	var saved Bridges
	if err := json.Unmarshal(data, &saved); err != nil {
		t.Fatal(err)
	}
	for range 2 { // once more is no harm
		if err := saved.Remove(namespaceOf(fmt.Sprint(pid))); err != nil {
			t.Fatal(err)
		}
	}
	if links, _ = look(t, pid); links != " lo tap0=10.0.2.100/24" {
		t.Errorf("removed:%s", links)
	}
}

func TestRemoveWhereNothingIs(t *testing.T) {
	b := &Bridges{Doors: []Door{{Guest: "tap0"}}}
	if err := b.Remove(t.TempDir() + "/gone"); err != nil {
		t.Error(err)
	}
}

func TestProxied(t *testing.T) {
	pid := namespace(t)
	if Proxied(pid) {
		t.Error("proxied without a proxy")
	}
	inside(t, pid, func() error {
		cmd := &exec.Cmd{Path: "/bin/sleep", Args: []string{"containers-rootlessport-child", "1000"}}
		if err := cmd.Start(); err != nil {
			return err
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return nil
	})
	// A poll: a process shows its arguments some time after its exec.
	for end := time.Now().Add(10 * time.Second); !Proxied(pid); {
		if time.Now().After(end) {
			t.Fatal("a proxy is not seen")
		}
	}
	if Proxied(os.Getpid()) {
		t.Error("the proxy of another namespace is seen")
	}
}

// What a container without published ports pays.
func BenchmarkProxied(b *testing.B) {
	pid := os.Getpid()
	for b.Loop() {
		Proxied(pid)
	}
}

// What one with published ports pays, but for Remove.
func BenchmarkBuild(b *testing.B) {
	pid := namespace(b)
	ns := open(b, pid)
	for b.Loop() {
		made, err := Build(ns)
		if err == nil {
			err = made.Open(ns)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := made.Remove(namespaceOf(fmt.Sprint(pid))); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
