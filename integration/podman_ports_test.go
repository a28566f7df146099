package integration

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answerer makes a directory of the caller's with the server that answers what it
// gets.
func (c *caller) answerer(t *testing.T) string {
	t.Helper()
	dir := c.dir(t)
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "answer"), "./answer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// freePort is a port of the host's that nobody uses.
func freePort(t *testing.T, network string) int {
	t.Helper()
	if network == "udp" {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.LocalAddr().(*net.UDPAddr).Port
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// answers sends n bytes to a port of the host's and checks that they come back.
func answers(t *testing.T, network string, port, n int) {
	t.Helper()
	sent := bytes.Repeat([]byte("0123456789abcdef"), n/16)
	eventually(t, fmt.Sprintf("an answer from %s port %d", network, port), func() bool {
		conn, err := net.DialTimeout(network, fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err != nil {
			return false
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(2 * time.Second))
		go conn.Write(sent)
		got := make([]byte, len(sent))
		for have := 0; have < len(got); {
			m, err := conn.Read(got[have:])
			if err != nil {
				return false
			}
			have += m
		}
		if !bytes.Equal(got, sent) {
			t.Errorf("%s: %d bytes came back changed", network, n)
		}
		return true
	})
}

// Published ports are reached from the host with no flag, on gVisor's own stack,
// in each network that podman has for them, and after a restart.
func TestPodmanPublishedPorts(t *testing.T) {
	eachPlainPodman(t, func(t *testing.T, p *plainPodman) {
		dir := p.c.answerer(t)
		// Root's networks are in /etc, whatever the storage.
		other := fmt.Sprintf("gvisor-exec-test-%d", os.Getpid())
		p.ok(t, "network", "create", other)
		t.Cleanup(func() { p.ok(t, "network", "rm", "-f", other) })
		networks := map[string][]string{"default": nil, "bridge": {"--network", other}}
		if p.c.uid != 0 {
			networks["keep-id"] = []string{"--userns", "keep-id", "--user", "0"}
			networks["slirp4netns's own"] = []string{"--network", "slirp4netns:port_handler=slirp4netns"}
		}
		for name, args := range networks {
			t.Run(name, func(t *testing.T) {
				tcp, udp := freePort(t, "tcp"), freePort(t, "udp")
				args = append([]string{"run", "-d", "--name", "c", "-v", dir + ":/srv:ro",
					"-p", fmt.Sprintf("127.0.0.1:%d:80", tcp), "-p", fmt.Sprintf("127.0.0.1:%d:81/udp", udp)}, args...)
				p.ok(t, append(args, image, "/srv/answer")...)
				p.awaitLog(t, "c", "ready")
				answers(t, "tcp", tcp, 1<<20)
				if name != "slirp4netns's own" { // which does not bring UDP here
					answers(t, "udp", udp, 16)
				}
				p.want(t, 0, "c\n", "restart", "-t", "0", "c")
				answers(t, "tcp", tcp, 16)
				p.want(t, 0, "c\n", "rm", "-f", "-t", "0", "c")
			})
		}
	})
}

// The bridge for published ports leaves the way out as it was, shows the sandbox
// the interface that it would have without, and lets the kernel pass nothing on.
func TestPodmanPublishedPortsAndOutbound(t *testing.T) {
	eachPlainPodman(t, func(t *testing.T, p *plainPodman) {
		if p.c.uid == 0 {
			return // no proxy, and no bridge
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(conn, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhost\n")
				conn.Close()
			}
		}()
		p.ok(t, "run", "-d", "--name", "c", "--network", "slirp4netns:allow_host_loopback=true",
			"-p", fmt.Sprintf("127.0.0.1:%d:80", freePort(t, "tcp")), image, "sleep", "1000")
		p.want(t, 0, "host\n", "exec", "c", "wget", "-qO-", fmt.Sprintf("http://10.0.2.2:%d/", l.Addr().(*net.TCPAddr).Port))
		addresses := p.ok(t, "exec", "c", "ip", "-o", "-4", "addr")
		if !strings.Contains(addresses, "10.0.2.100/24") || strings.Contains(addresses, "gvisor-br") {
			t.Errorf("%s", addresses)
		}
		pid := strings.TrimSpace(p.ok(t, "inspect", "-f", "{{.State.Pid}}", "c"))
		out, err := exec.Command("nsenter", "-t", pid, "-n", "cat", "/proc/sys/net/ipv4/ip_forward").CombinedOutput()
		if err != nil || string(out) != "0\n" {
			t.Errorf("ip_forward: %s, %v", out, err)
		}
		// A container in the same namespace, which has no network, leaves the bridge
		// alone, and one that ends at once is no trouble.
		p.want(t, 0, "1\n", "run", "--rm", "--network", "container:c", image, "sh", "-c", "ip -o link | wc -l")
		for range 5 {
			p.want(t, 0, "", "run", "--rm", "-p", fmt.Sprintf("127.0.0.1:%d:80", freePort(t, "tcp")), image, "true")
		}
		// Without a published port there is no bridge.
		p.ok(t, "rm", "-f", "-t", "0", "c")
		p.ok(t, "run", "-d", "--name", "c", image, "sleep", "1000")
		pid = strings.TrimSpace(p.ok(t, "inspect", "-f", "{{.State.Pid}}", "c"))
		out, err = exec.Command("nsenter", "-t", pid, "-n", "ip", "-o", "link").CombinedOutput()
		if err != nil || strings.Contains(string(out), "gvisor") {
			t.Errorf("links: %s, %v", out, err)
		}
	})
}
