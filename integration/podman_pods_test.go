package integration

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// newPod makes a pod, whose infra container is of podman's own image where that
// can be built.
func (p *plainPodman) newPod(t *testing.T, args ...string) {
	t.Helper()
	p.ok(t, append([]string{"pod", "create", "--name", "pod"}, args...)...)
	t.Cleanup(func() { p.do(t, "pod", "rm", "-f", "-t", "0", "pod") }) // before newPodman's
}

// pid is the pid that podman has of a container.
func (p *plainPodman) pid(t *testing.T, name string) int {
	t.Helper()
	var pid int
	fmt.Sscan(p.ok(t, "inspect", "-f", "{{.State.Pid}}", name), &pid)
	if pid <= 0 {
		t.Fatalf("%s has no pid", name)
	}
	return pid
}

// infra is the name of the pod's infra container.
func (p *plainPodman) infra(t *testing.T) string {
	t.Helper()
	for _, name := range strings.Fields(p.ok(t, "ps", "-a", "--format", "{{.Names}}")) {
		if strings.HasSuffix(name, "-infra") {
			return name
		}
	}
	t.Fatal("the pod has no infra container")
	return ""
}

// The members of a pod have one network and one /dev/shm, and each its own
// status.
func TestPodmanPodLife(t *testing.T) {
	eachPlainPodman(t, func(t *testing.T, p *plainPodman) {
		p.newPod(t)
		member := func(args ...string) []string { return append([]string{"run", "--rm", "--pod", "pod"}, args...) }
		p.want(t, 0, "4.19.0-gvisor\n", member(image, "uname", "-r")...)
		p.want(t, 7, "out\n", member(image, "sh", "-c", "echo out; exit 7")...)
		p.want(t, 137, "", member(image, "sh", "-c", "kill -9 $$")...)
		p.want(t, 127, "", member(image, "nosuch")...)
		p.want(t, 126, "", member(image, "/etc/passwd")...)
		p.ok(t, "run", "-d", "--name", "server", "--pod", "pod", image, "sh", "-c",
			"echo shared > /dev/shm/x; echo ready; while :; do echo from the server | nc -l -p 8000; done")
		p.awaitLog(t, "server", "ready")
		p.want(t, 0, "from the server\nshared\npod\n", member(image, "sh", "-c",
			"until nc 127.0.0.1 8000 </dev/null; do :; done; cat /dev/shm/x; hostname")...)
		p.want(t, 5, "in\n", "exec", "server", "sh", "-c", "echo in; exit 5")
		// Each sees its own processes.
		if out := p.ok(t, "top", "server", "-o", "pid,comm"); !strings.Contains(out, "sh") || strings.Contains(out, "catatonit") {
			t.Errorf("top: %s", out)
		}
		p.ok(t, "pod", "top", "pod")
		if out := p.ok(t, "pod", "ps", "--format", "{{.Status}} {{.NumberOfContainers}}"); out != "Running 2\n" {
			t.Errorf("pod ps: %s", out)
		}
		p.ok(t, "pod", "stop", "-t", "0", "pod")
		p.want(t, 0, "137\n", "wait", "server")
		p.want(t, 0, "exited\n", "inspect", "-f", "{{.State.Status}}", "server")
		p.ok(t, "pod", "start", "pod")
		p.want(t, 0, "again\n", "exec", "server", "echo", "again")
		p.ok(t, "pod", "rm", "-f", "-t", "0", "pod")
		p.want(t, 0, "", "ps", "-aq")
	})
}

// A member is stopped, started again and killed while others go on.
func TestPodmanPodMember(t *testing.T) {
	eachPlainPodman(t, func(t *testing.T, p *plainPodman) {
		p.newPod(t)
		p.ok(t, "run", "-d", "--name", "other", "--pod", "pod", image, "sleep", "1000")
		p.ok(t, "run", "-d", "--name", "c", "--pod", "pod", image, "sh", "-c", `trap "echo bye; exit 9" TERM; echo ready; while :; do sleep 0.05; done`)
		p.awaitLog(t, "c", "ready")
		p.want(t, 0, "c\n", "stop", "c")
		p.want(t, 0, "9\n", "wait", "c")
		p.want(t, 0, "ready\nbye\n", "logs", "c")
		p.want(t, 0, "c\n", "start", "c")
		p.want(t, 0, "c\n", "restart", "-t", "0", "c")
		p.want(t, 0, "c\n", "kill", "c")
		p.want(t, 0, "137\n", "wait", "c")
		p.want(t, 0, "c\n", "start", "c")
		// Podman takes the waiter for the container, and so did who kills it.
		syscall.Kill(p.pid(t, "c"), syscall.SIGKILL)
		p.want(t, 0, "137\n", "wait", "c")
		p.want(t, 0, "c\n", "start", "c")
		if p.c.uid == 0 { // rootless with cgroups v1 podman pauses none
			p.ok(t, "pause", "c")
			p.want(t, 0, "c\n", "rm", "-f", "-t", "0", "c")
		} else {
			p.want(t, 0, "c\n", "rm", "-f", "-t", "0", "c")
		}
		p.want(t, 0, "still\n", "exec", "other", "echo", "still")
		// All end with the sandbox.
		syscall.Kill(p.pid(t, p.infra(t)), syscall.SIGKILL)
		p.want(t, 0, "137\n", "wait", "other")
	})
}

// Who joins the namespaces of a member's pid comes to the sandbox's.
func TestPodmanPodNamespaces(t *testing.T) {
	eachPlainPodman(t, func(t *testing.T, p *plainPodman) {
		p.newPod(t)
		p.ok(t, "run", "-d", "--name", "c", "--pod", "pod", image, "sleep", "1000")
		for _, ns := range []string{"net", "mnt", "ipc", "uts"} {
			links, err := exec.Command("readlink", fmt.Sprintf("/proc/%d/ns/%s", p.pid(t, "c"), ns),
				fmt.Sprintf("/proc/%d/ns/%s", p.pid(t, p.infra(t)), ns)).Output()
			pair := strings.Fields(string(links))
			if err != nil || len(pair) != 2 || pair[0] != pair[1] {
				t.Errorf("%s: %q, %v", ns, links, err)
			}
		}
		dir := p.c.dir(t)
		if o := p.do(t, "cp", "c:/etc/hostname", dir+"/out"); o.status == 0 {
			t.Errorf("the host's file was copied: %q", read(t, dir+"/out"))
		}
	})
}

// Published ports are the pod's.
func TestPodmanPodPorts(t *testing.T) {
	eachPlainPodman(t, func(t *testing.T, p *plainPodman) {
		dir := p.c.answerer(t)
		port := freePort(t, "tcp")
		p.newPod(t, "-p", fmt.Sprintf("127.0.0.1:%d:80", port))
		p.ok(t, "run", "-d", "--name", "c", "--pod", "pod", "-v", dir+":/srv:ro", image, "/srv/answer")
		p.awaitLog(t, "c", "ready")
		answers(t, "tcp", port, 1<<20)
	})
}

// Pods of other kinds; where no network is shared, each has a sandbox.
func TestPodmanPodKinds(t *testing.T) {
	eachPlainPodman(t, func(t *testing.T, p *plainPodman) {
		for _, args := range [][]string{{"--infra=false"}, {"--share", "ipc"}, {"--network", "host"}, {"--share", "pid,net,ipc"}} {
			t.Run(strings.Join(args, " "), func(t *testing.T) {
				p.newPod(t, args...)
				p.want(t, 6, "out\n", "run", "--pod", "pod", image, "sh", "-c", "echo out; exit 6")
				p.ok(t, "run", "-d", "--name", "c", "--pod", "pod", image, "sleep", "1000")
				p.want(t, 0, "in\n", "exec", "c", "echo", "in")
				if links := p.ok(t, "exec", "c", "ip", "-o", "link"); strings.Count(links, "\n") < 2 {
					t.Errorf("only a loopback: %s", links)
				}
				p.ok(t, "pod", "rm", "-f", "-t", "0", "pod")
			})
		}
	})
}
