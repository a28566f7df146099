package integration

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// podman is podman with our runtime, a storage of its own and one image, as one
// caller uses it.
type podman struct {
	c      *caller
	global []string
}

// image is made of busybox, by podman import: no registry is needed.
const image = "localhost/busybox"

// newPodman makes the storage and the image; what is in it goes when the test
// ends. The driver that copies leaves no mounts.
func newPodman(t *testing.T, c *caller) *podman {
	t.Helper()
	dir := c.dir(t)
	p := &podman{c: c, global: []string{
		"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
		"--runtime", filepath.Join(binDir, "gvisor-exec"),
	}}
	c.rootfs(t, dir+"/image")
	tar := c.do(t, spawn{dir: dir, argv: []string{"tar", "-C", "image", "-cf", "image.tar", "."}})
	tar.want(t, 0, "", "")
	t.Cleanup(func() {
		p.do(t, "rm", "-af", "-t", "0")
		if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), dir) {
			t.Errorf("mounts are left in %s", dir) // and nothing below is removed
		}
	})
	if o := p.do(t, "import", dir+"/image.tar", image); o.status != 0 {
		t.Fatalf("import: %+v", o)
	}
	return p
}

func (p *podman) do(t *testing.T, args ...string) outcome {
	t.Helper()
	argv := append(append([]string{"podman"}, p.global...), args...)
	return p.c.do(t, spawn{argv: argv})
}

// want runs podman and checks its status and standard output.
func (p *podman) want(t *testing.T, status int, stdout string, args ...string) {
	t.Helper()
	if o := p.do(t, args...); o.status != status || o.stdout != stdout {
		t.Errorf("podman %q: status %d, stdout %q, stderr %q\nwant status %d, stdout %q", args, o.status, o.stdout, o.stderr, status, stdout)
	}
}

// ok runs podman and returns its standard output; the status must be 0.
func (p *podman) ok(t *testing.T, args ...string) string {
	t.Helper()
	o := p.do(t, args...)
	if o.status != 0 {
		t.Errorf("podman %q: %+v", args, o)
	}
	return o.stdout
}

// awaitLog waits until a container has written words.
func (p *podman) awaitLog(t *testing.T, name, words string) {
	t.Helper()
	eventually(t, fmt.Sprintf("log %q", words), func() bool { return strings.Contains(p.ok(t, "logs", name), words) })
}

// eachPodman runs test as root and as an ordinary user, where podman works.
func eachPodman(t *testing.T, test func(t *testing.T, p *podman)) {
	t.Helper()
	each(t, func(t *testing.T, c *caller) {
		probe.Skip(t, probe.Command("podman", "apt-get install podman"))
		if c.uid != 0 {
			probe.Skip(t, probe.Command("slirp4netns", "apt-get install slirp4netns"))
			probe.Skip(t, probe.TunDevice())
		}
		test(t, newPodman(t, c))
	})
}

// The first thing that anybody tries: no flag but the runtime's, in the default
// network of each user, from where the host is reached.
func TestPodmanRun(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.want(t, 0, "4.19.0-gvisor\n", "run", "--rm", image, "uname", "-r")
		p.want(t, 3, "", "run", "--rm", image, "sh", "-c", "exit 3")
		p.want(t, 137, "", "run", "--rm", image, "sh", "-c", "kill -9 $$")
		p.want(t, 127, "", "run", "--rm", image, "nosuch")
		p.want(t, 126, "", "run", "--rm", image, "/etc/passwd")
		o := p.do(t, "run", "--rm", image, "ip", "-o", "addr")
		if !strings.Contains(o.stdout, "127.0.0.1") || !strings.Contains(o.stdout, "eth0") && !strings.Contains(o.stdout, "tap0") {
			t.Errorf("%+v", o)
		}
	})
}

// A sandbox in the default network reaches a server on the host.
func TestPodmanReachesTheHost(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		l, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "from the host")
		})}}
		server.Start()
		defer server.Close()
		port := l.Addr().(*net.TCPAddr).Port
		address, args := "10.0.2.2", []string{"--network", "slirp4netns:allow_host_loopback=true"}
		if p.c.uid == 0 {
			address, args = "$(ip route | grep default | cut -d' ' -f3)", nil
		}
		script := fmt.Sprintf("wget -qO- http://%s:%d/", address, port)
		p.want(t, 0, "from the host\n", append(append([]string{"run", "--rm"}, args...), image, "sh", "-c", script)...)
	})
}

func TestPodmanLifecycle(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok(t, "run", "-d", "--name", "c", image, "sh", "-c", `trap "echo bye; exit 9" TERM; echo ready; while :; do sleep 0.05; done`)
		p.awaitLog(t, "c", "ready")
		p.want(t, 0, "c\n", "ps", "--format", "{{.Names}}")
		p.want(t, 5, "in\n", "exec", "c", "sh", "-c", "echo in; exit 5")
		p.want(t, 0, "detach\n/tmp\n1000\n", "exec", "-e", "A=detach", "-w", "/tmp", "-u", "1000:1000", "c", "sh", "-c", "echo $A; pwd; id -u")
		p.want(t, 127, "", "exec", "c", "nosuch")
		p.want(t, 126, "", "exec", "c", "/etc/passwd")
		p.ok(t, "exec", "-d", "c", "sh", "-c", "echo detach > /tmp/d")
		eventually(t, "a detached exec", func() bool { return p.do(t, "exec", "c", "cat", "/tmp/d").stdout == "detach\n" })
		if out := p.ok(t, "top", "c", "-o", "pid,comm"); !strings.Contains(out, "sh") {
			t.Errorf("top: %s", out)
		}
		p.want(t, 0, "c\n", "stop", "c")
		p.want(t, 0, "9\n", "wait", "c")
		p.want(t, 0, "ready\nbye\n", "logs", "c")
		p.want(t, 0, "c\n", "start", "c")
		p.ok(t, "exec", "c", "touch", "/kept")
		p.want(t, 0, "c\n", "restart", "-t", "0", "c")
		p.want(t, 0, "/kept\n", "exec", "c", "ls", "/kept")
		p.want(t, 0, "c\n", "kill", "c")
		p.want(t, 0, "137\n", "wait", "c")
		p.want(t, 0, "c\n", "rm", "c")
		p.ok(t, "run", "-d", "--name", "c", image, "sleep", "1000")
		p.want(t, 0, "c\n", "rm", "-f", "c")
		p.want(t, 0, "", "ps", "-aq")
	})
}

// Writes are the image layer's: commit, diff, cp and export see them.
func TestPodmanWritesAreKept(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok(t, "run", "--name", "c", image, "sh", "-c", "echo new > /new; rm -f /etc/group")
		diff := p.ok(t, "diff", "c")
		if !strings.Contains(diff, "A /new\n") || !strings.Contains(diff, "D /etc/group\n") {
			t.Errorf("diff: %s", diff)
		}
		p.ok(t, "commit", "-q", "c", "changed")
		p.want(t, 0, "new\n", "run", "--rm", "changed", "cat", "/new")
		dir := p.c.dir(t)
		p.ok(t, "cp", "c:/new", dir+"/out")
		if got := read(t, dir+"/out"); got != "new\n" {
			t.Errorf("%q", got)
		}
		p.c.file(t, dir+"/in", "in\n", 0o644)
		p.ok(t, "cp", dir+"/in", "c:/in")
		p.ok(t, "start", "-a", "c")
		p.ok(t, "commit", "-q", "c", "again")
		p.want(t, 0, "in\n", "run", "--rm", "again", "cat", "/in")
	})
}

func TestPodmanOptions(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		vol := p.c.dir(t)
		p.c.file(t, vol+"/x", "x\n", 0o644)
		run := func(status int, stdout string, args ...string) {
			t.Helper()
			p.want(t, status, stdout, append([]string{"run", "--rm"}, args...)...)
		}
		run(0, "x\n", "-v", vol+":/v", image, "sh", "-c", "cat /v/x; echo y > /v/y")
		if got := read(t, vol+"/y"); got != "y\n" {
			t.Errorf("%q", got)
		}
		run(1, "x\n", "-v", vol+":/v:ro", image, "sh", "-c", "cat /v/x; echo y > /v/z")
		run(0, "x\ny\n", "-v", vol+":/v:rshared", image, "ls", "/v")
		run(0, "1000\n/tmp\ny\n", "--user", "1000", "--workdir", "/tmp", "--env", "X=y", image, "sh", "-c", "id -u; pwd; echo $X")
		run(0, "h\n", "--hostname", "h", image, "hostname")
		run(0, "t\n", "--tmpfs", "/t", image, "sh", "-c", "touch /t/t; ls /t")
		run(1, "", "--read-only", image, "touch", "/x")
		run(0, "CapEff:\t0000000000000000\n", "--cap-drop", "all", image, "grep", "CapEff", "/proc/self/status")
		run(0, "", "--memory", "64m", "--pids-limit", "50", image, "true")
		run(0, "", "--security-opt", "mask=/etc/passwd", image, "cat", "/etc/passwd")
		run(0, "ok\n", "--privileged", image, "echo", "ok")
		run(0, "1\n", "--network", "none", image, "sh", "-c", "ip -o link | wc -l")
		run(0, "0\n", "--network", "host", image, "sh", "-c", "ip -o link | grep -c eth9; true")
		o := p.do(t, "run", "--rm", "--init", image, "ps", "-o", "pid,comm")
		if !strings.Contains(o.stdout, "podman-init") && !strings.Contains(o.stdout, "catatonit") {
			t.Errorf("--init: %+v", o)
		}
		if p.c.uid != 0 {
			run(0, fmt.Sprintln(p.c.uid), "--userns", "keep-id", image, "id", "-u")
		}
		flags := append([]string{"--runtime-flag", "network=none"}, "run", "--rm", image, "sh", "-c", "ip -o link | wc -l")
		p.want(t, 0, "1\n", flags...)
		script := fmt.Sprintf("podman %s run --rm --preserve-fds 1 %s cat /proc/self/fd/3 3< <(echo three)", strings.Join(p.global, " "), image)
		p.c.shell(t, "", script).want(t, 0, "three\n", "*")
	})
}

// Podman sends SIGKILL to a paused container when it is removed. Rootless, with
// cgroups v1, podman itself refuses to pause.
func TestPodmanPause(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok(t, "run", "-d", "--name", "c", image, "sleep", "1000")
		if p.do(t, "pause", "c").status == 0 {
			p.want(t, 0, "paused\n", "inspect", "-f", "{{.State.Status}}", "c")
			p.want(t, 0, "c\n", "unpause", "c")
			p.want(t, 0, "running\n", "inspect", "-f", "{{.State.Status}}", "c")
			p.ok(t, "pause", "c")
			p.want(t, 0, "c\n", "kill", "c")
			p.want(t, 0, "137\n", "wait", "c")
			p.ok(t, "start", "c")
			p.ok(t, "pause", "c")
		} else if p.c.uid == 0 {
			t.Error("cannot pause")
		}
		p.want(t, 0, "c\n", "rm", "-f", "c")
	})
}

func TestPodmanTerminal(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		podman := "podman " + strings.Join(p.global, " ")
		script := func(command string) outcome {
			return p.c.do(t, spawn{argv: []string{"/usr/bin/script", "-qec", "stty rows 33 cols 44; " + podman + " " + command, "/dev/null"}})
		}
		if o := script("run -it --rm " + image + " sh -c 'sleep 0.5; stty size; exit 6'"); o.status != 6 || !strings.Contains(o.stdout, "33 44\r\n") {
			t.Errorf("run -it: %+v", o)
		}
		p.ok(t, "run", "-d", "--name", "c", image, "sleep", "1000")
		if o := script("exec -it c sh -c 'test -t 0; sleep 0.5; stty size; exit 7'"); o.status != 7 || !strings.Contains(o.stdout, "33 44\r\n") {
			t.Errorf("exec -it: %+v", o)
		}
	})
}

// The members of a pod share a sandbox: its network and its /dev/shm. Each has
// logs and a status of its own.
func TestPodmanPod(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		t.Cleanup(func() { p.do(t, "pod", "rm", "-af", "-t", "0") })
		p.ok(t, "pod", "create", "--name", "pod", "--infra-image", image, "--infra-command", "/bin/sleep 100000")
		member := func(args ...string) []string { return append([]string{"run", "--rm", "--pod", "pod", image}, args...) }
		p.ok(t, "run", "-d", "--pod", "pod", "--name", "srv", image, "sh", "-c", "echo up; while :; do echo hi | nc -l -p 7000; done")
		p.awaitLog(t, "srv", "up")
		p.want(t, 0, "hi\n", member("sh", "-c", "until nc 127.0.0.1 7000; do sleep 0.05; done 2> /dev/null")...)
		p.want(t, 0, "", member("sh", "-c", "echo shared > /dev/shm/f")...)
		p.want(t, 0, "shared\n", member("cat", "/dev/shm/f")...)
		for range 5 {
			p.want(t, 5, "", member("sh", "-c", "exit 5")...)
		}
		p.want(t, 127, "", member("nosuch")...)
		p.want(t, 7, "in\n", "exec", "srv", "sh", "-c", "echo in; exit 7")
		p.want(t, 0, "srv\n", "stop", "-t", "1", "srv")
		p.want(t, 0, "143\n", "wait", "srv")
		p.want(t, 0, "srv\n", "start", "srv")
		p.want(t, 0, "srv\n", "kill", "srv")
		p.want(t, 0, "137\n", "wait", "srv")
		p.ok(t, "start", "srv")
		p.ok(t, "pod", "stop", "-t", "1", "pod")
		eventually(t, "the end of all", func() bool { return p.ok(t, "ps", "-q") == "" })
		p.ok(t, "pod", "start", "pod")
		p.awaitLog(t, "srv", "up\nup\nup\n")
		p.ok(t, "pod", "rm", "-f", "-t", "0", "pod")
		p.want(t, 0, "", "ps", "-aq")
	})
}
