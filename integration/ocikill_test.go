package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// points of a container's life at which something dies.
var points = []string{"created", "running", "paused", "stopped"}

// at brings the container x to a point.
func (o *oci) at(point string) {
	o.t.Helper()
	o.create("x").want(o.t, 0, "", "")
	if point == "created" {
		return
	}
	o.verb("start", "x").want(o.t, 0, "", "")
	o.says("x", "ready")
	switch point {
	case "paused":
		o.verb("pause", "x").want(o.t, 0, "", "")
	case "stopped":
		o.verb("kill", "x", "KILL").want(o.t, 0, "", "")
		o.is("x", "stopped")
	}
}

// belonging are the processes of the container: those of the runtime's binaries
// that were given its directory, and the sandbox.
func (o *oci) belonging() (pids []string) {
	for _, p := range running(o.dir) {
		pids = append(pids, strings.Fields(p)[0])
	}
	if pid := o.state("x").Pid; pid > 0 {
		pids = append(pids, fmt.Sprint(pid))
	}
	return pids
}

// gone checks that delete --force removes whatever is left of x, and that the
// id can be used again.
func (o *oci) gone(what string) {
	o.t.Helper()
	out := o.verb("delete", "--force", "x")
	if out.status != 0 {
		o.t.Errorf("%s: delete --force: %+v", what, out)
	}
	eventually(o.t, what+": no process", func() bool { return len(running(o.dir)) == 0 })
	o.checkEmpty()
	if left := (&machine{}).mounts(o.t, o.dir); len(left) > 1 || len(left) == 1 && !strings.Contains(left[0], "null-netns") {
		o.t.Errorf("%s: mounts are left: %q", what, left)
	}
	if s := o.state("x"); s.Status != "" {
		o.t.Errorf("%s: still there: %+v", what, s)
	}
}

// Each process of a container is killed at each point of its life; delete
// --force cleans up, and a new container of the same name works.
func TestKillAtEachPoint(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		o := newOCI(t, c, ociRuntime())
		o.bundle("x", []string{"sh", "-c", forever}, nil)
		for _, point := range points {
			if point == "paused" && c.uid != 0 && !sandboxed() {
				continue // runc needs a cgroup to pause
			}
			for i := 0; i < 8; i++ {
				o.at(point)
				victims := o.belonging()
				if i < len(victims) {
					t.Logf("%s: killing %d of %d: %s", point, i, len(victims), describe(victims[i]))
					kill(victims[i])
				}
				o.gone(fmt.Sprintf("%s, process %d", point, i))
				if i >= len(victims) {
					break
				}
			}
		}
	})
}

func describe(pid string) string {
	cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline")
	words := strings.Fields(strings.ReplaceAll(string(cmdline), "\x00", " "))
	for i, w := range words {
		words[i] = filepath.Base(w)
	}
	return strings.Join(words[:min(4, len(words))], " ")
}

// The runtime itself is killed at a random moment of create and of start.
func TestKillVerbs(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		o := newOCI(t, c, ociRuntime())
		o.bundle("x", []string{"sh", "-c", forever}, nil)
		n := 10
		if os.Getenv("GVISOR_EXEC_SOAK") != "" {
			n = 150
		}
		for i := range n {
			verb := []string{"create", "--bundle", o.dir + "/x", "x"}
			if i%2 == 1 {
				o.create("x").want(t, 0, "", "")
				verb = []string{"start", "x"}
			}
			o.interrupt(rand.N(120*time.Millisecond), verb...)
			o.gone(fmt.Sprintf("%s killed, %d", verb[0], i))
		}
		o.at("running")
		o.gone("at last")
	})
}

// interrupt runs a verb and kills it after a while.
func (o *oci) interrupt(after time.Duration, verb ...string) {
	o.t.Helper()
	out, err := os.OpenFile(o.dir+"/x/out", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		o.t.Fatal(err)
	}
	defer out.Close()
	cmd := o.c.command(context.Background(), spawn{dir: o.dir, argv: append([]string{o.bin, "--root", o.dir + "/state"}, verb...)})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, out, out
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	time.Sleep(after) // the random moment is the test
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
}

// conmon, the sandbox, the gofer and what else belongs to a container of
// podman's is killed, one of them each time.
func TestPodmanKillEachProcess(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		for i := 0; i < 8; i++ {
			p.ok("run", "-d", "--name", "x", image, "sleep", "1000")
			id, victims := p.inspect("x", "{{.ID}}"), p.belonging("x")
			if i < len(victims) {
				t.Logf("killing %d of %d: %s", i, len(victims), describe(victims[i]))
				kill(victims[i])
			}
			eventually(t, "removed", func() bool { return p.run("rm", "-f", "-t", "0", "x").status == 0 })
			p.forget(id)
			eventually(t, "nothing of the container", func() bool {
				for _, v := range victims {
					if alive(v) {
						return false
					}
				}
				return true
			})
			if i >= len(victims) {
				break
			}
		}
		p.want(0, "", "ps", "-aq")
	})
}

// belonging are a container's processes: those that name its id, and its PID 1.
func (p *podman) belonging(name string) (pids []string) {
	id := p.inspect(name, "{{.ID}}")
	for _, r := range running(id) {
		pids = append(pids, strings.Fields(r)[0])
	}
	return append(pids, p.inspect(name, "{{.State.Pid}}"))
}
