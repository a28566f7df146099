package integration

import (
	"strings"
	"testing"
)

// fetch is a script that prints what a server at addr says.
func fetch(host, port string) string { return "nc " + host + " " + port + " < /dev/null" }

func TestPodmanNetworkNone(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.sh("ls /sys/class/net 2>/dev/null || ip -o link | cut -d: -f2 | tr -d ' '", "lo\n", "--network", "none")
		p.sh("nc -l -p 5000 -e echo hi & until nc 127.0.0.1 5000 </dev/null 2>/dev/null; do :; done", "hi\n", "--network", "none")
	})
}

func TestPodmanNetworkHost(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		port := p.m.serve(t, "127.0.0.1:0", "hello from the host\n")
		p.sh(fetch("127.0.0.1", port), "hello from the host\n", "--network", "host")
	})
}

// The default network of each caller reaches the host.
func TestPodmanNetworkDefault(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		if p.rootful() {
			port := p.m.serve(t, "0.0.0.0:0", "hello\n")
			p.sh("gw=$(ip route | awk '/default/ {print $3}'); nc $gw "+port+" </dev/null", "hello\n")
			return
		}
		port := p.m.serve(t, "127.0.0.1:0", "hello\n")
		p.sh(fetch("10.0.2.2", port), "hello\n", "--network", "slirp4netns:allow_host_loopback=true")
		p.sh("ip -o -4 addr | grep -c 10.0.2.100", "1\n")
	})
}

// Two containers of one network talk, by address and by name.
func TestPodmanNetworkBridge(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok("network", "create", "mesh")
		p.ok("run", "-d", "--name", "server", "--network", "mesh", image, "sh", "-c", "mkdir /www; echo page > /www/index.html; echo ready; exec httpd -f -p 80 -h /www")
		p.says("server", "ready")
		addr := p.inspect("server", `{{(index .NetworkSettings.Networks "mesh").IPAddress}}`)
		p.sh("until wget -q -O - http://"+addr+"/; do sleep 0.1; done", "page\n", "--network", "mesh")
		p.sh("wget -q -O - http://server/", "page\n", "--network", "mesh")
		p.ok("rm", "-f", "-t", "0", "server")
		p.ok("network", "rm", "mesh")
	})
}

// server is a container that serves a page on port 80.
var server = []string{image, "sh", "-c", "mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www"}

func TestPodmanPublish(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		flags := [][]string{{}}
		if !p.rootful() {
			flags = [][]string{{"--network", "slirp4netns:port_handler=slirp4netns"}}
		}
		for _, network := range flags {
			port := p.m.freePort(t)
			args := append([]string{"run", "-d", "--name", "x", "-p", port + ":80"}, network...)
			p.ok(append(args, server...)...)
			p.fetches(t, port)
			p.ok("restart", "-t", "0", "x")
			p.fetches(t, port)
			p.ok("rm", "-f", "-t", "0", "x")
			if _, err := p.m.get("127.0.0.1:" + port); err == nil {
				t.Errorf("port %s is still open", port)
			}
		}
	})
}

// fetches waits until the page is there on a port of the machine.
func (p *podman) fetches(t *testing.T, port string) {
	t.Helper()
	eventually(t, "the page on port "+port, func() bool {
		page, err := p.m.get("127.0.0.1:" + port)
		return err == nil && strings.HasSuffix(page, "\r\n\r\npage\n")
	})
}

func TestPodmanPod(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok("pod", "create", "--name", "pod")
		p.ok(append([]string{"run", "-d", "--pod", "pod", "--name", "web"}, server...)...)
		p.sh("until wget -q -O - http://127.0.0.1/; do sleep 0.1; done", "page\n", "--pod", "pod")
		p.want(5, "", "run", "--rm", "--pod", "pod", image, "sh", "-c", "exit 5")
		p.sh("echo shared > /dev/shm/f", "", "--pod", "pod")
		p.want(0, "shared\n", "exec", "web", "cat", "/dev/shm/f")
		// It lists none of the sandbox's processes (docs/podman.md), nor the host's.
		if got := p.ok("pod", "top", "pod"); strings.Contains(got, "conmon") {
			t.Errorf("pod top: %q", got)
		}
		p.ok("pod", "stop", "-t", "0", "pod")
		p.want(0, "137\n", "wait", "web")
		p.ok("pod", "start", "pod")
		p.is("web", "running")
		p.ok("pod", "rm", "-f", "-t", "0", "pod")
		p.want(0, "", "ps", "-aq")
	})
}
