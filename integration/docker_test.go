package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// docker is a dockerd of the test's own, on a machine, a socket and with a data
// directory of its own. dockerd is root's only.
type docker struct {
	t       *testing.T
	m       *machine
	dir     string
	program string // a script: docker with all its flags
}

func newDocker(t *testing.T) *docker {
	t.Helper()
	probe.Skip(t, probe.Root())
	probe.Skip(t, ociProbe("dockerd"))
	root := callers[0]
	d := &docker{t: t, m: newMachine(t), dir: root.dir(t)}
	runtimes := map[string]any{"gvisor-exec": map[string]string{"path": ociRuntime()}}
	conf, _ := json.Marshal(map[string]any{"runtimes": runtimes, "default-runtime": "gvisor-exec"})
	root.file(t, d.dir+"/daemon.json", string(conf), 0o644)
	socket := "unix://" + d.dir + "/sock"
	daemon := d.m.script(t, root, d.dir+"/dockerd", nil, []string{"dockerd", "--config-file", d.dir + "/daemon.json",
		"--host", socket, "--data-root", d.dir + "/data", "--exec-root", d.dir + "/exec", "--pidfile", d.dir + "/pid",
		"--storage-driver", "vfs", "--bip", "10.127.9.1/24", "--default-ulimit", "nofile=1024:1024"})
	d.program = d.m.script(t, root, d.dir+"/docker", []string{"DOCKER_CONFIG=" + d.dir}, []string{"docker", "--host", socket})
	log, err := os.Create(d.dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := root.command(t.Context(), spawn{dir: "/", argv: []string{daemon}})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = deadline
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		d.stop(func() { cmd.Process.Signal(syscall.SIGTERM); <-ended })
	})
	eventually(t, "dockerd", func() bool {
		select {
		case <-ended:
			t.Fatalf("dockerd ended: %s", read(t, d.dir+"/log"))
		default:
		}
		return d.run("version").status == 0
	})
	tree, err := busyboxTar()
	if err != nil {
		t.Fatal(err)
	}
	d.ok("import", "--change", `CMD ["sh"]`, tree, image)
	return d
}

// stop ends the daemon and checks that nothing is left.
func (d *docker) stop(daemon func()) {
	if ids := strings.Fields(d.run("ps", "-aq").stdout); len(ids) > 0 {
		d.ok(append([]string{"rm", "-f"}, ids...)...)
	}
	daemon()
	eventually(d.t, "none of docker's processes", func() bool { return len(running(d.dir)) == 0 })
	left := append(d.m.mounts(d.t, d.dir+"/data/vfs"), d.m.mounts(d.t, "/run/gvisor-exec/")...)
	if len(left) > 0 {
		d.t.Errorf("mounts are left: %q", left)
	}
	entries, _ := filepath.Glob(d.m.rootState() + "/*/*")
	for _, e := range entries {
		if base := filepath.Base(e); base != "lock" && base != "@shared" {
			d.t.Errorf("%s is left", e)
		}
	}
}

func (d *docker) run(args ...string) outcome {
	d.t.Helper()
	return d.input("", args...)
}

func (d *docker) input(stdin string, args ...string) outcome {
	d.t.Helper()
	return callers[0].do(d.t, spawn{dir: "/", stdin: stdin, argv: append([]string{d.program}, args...)})
}

func (d *docker) ok(args ...string) string {
	d.t.Helper()
	o := d.run(args...)
	if o.status != 0 {
		d.t.Fatalf("docker %q: %+v", args, o)
	}
	return strings.TrimSuffix(o.stdout, "\n")
}

func (d *docker) want(status int, stdout string, args ...string) {
	d.t.Helper()
	o := d.run(args...)
	if o.status != status || o.stdout != stdout {
		d.t.Errorf("docker %q: got %+v\nwant status %d, stdout %q", args, o, status, stdout)
	}
}

// TestDocker goes through one daemon's containers: starting a daemon takes
// longer than all of them.
func TestDocker(t *testing.T) {
	d := newDocker(t)
	t.Run("run", func(t *testing.T) {
		d.t = t
		d.want(0, "hi\n", "run", "--rm", image, "echo", "hi")
		d.want(7, "", "run", "--rm", image, "sh", "-c", "exit 7")
		if kernel := d.ok("run", "--rm", image, "uname", "-r"); strings.Contains(kernel, "gvisor") != sandboxed() {
			t.Errorf("the kernel is %s", kernel)
		}
		d.input("through\n", "run", "--rm", "-i", image, "cat").want(t, 0, "through\n", "")
		d.want(0, "alice\n/tmp\n1 2\n", "run", "--rm", "-u", "alice", "-w", "/tmp", "-e", "A=1 2", image, "sh", "-c", "id -un; pwd; echo $A")
		d.want(127, "", "run", "--rm", image, "no-such")
		d.want(126, "", "run", "--rm", image, "/etc/passwd")
		d.want(137, "", "run", "--rm", "--init", image, "sh", "-c", "kill -9 $$")
		host := callers[0].dir(t)
		d.want(0, "", "run", "--rm", "-v", host+":/mnt", image, "sh", "-c", "echo out > /mnt/f")
		if got := read(t, host+"/f"); got != "out\n" {
			t.Errorf("the volume has %q", got)
		}
	})
	t.Run("exec logs kill restart", func(t *testing.T) {
		d.t = t
		d.ok("run", "-d", "--name", "box", image, "sh", "-c", "echo run >> /runs; "+forever)
		eventually(t, "ready", func() bool { return d.run("logs", "box").stdout == "ready\n" })
		d.want(0, "hi\n", "exec", "box", "echo", "hi")
		d.want(3, "", "exec", "box", "sh", "-c", "exit 3")
		d.input("in\n", "exec", "-i", "box", "cat").want(t, 0, "in\n", "")
		if top := d.run("top", "box"); top.status != 0 {
			t.Errorf("top: %+v", top)
		}
		d.ok("pause", "box")
		d.ok("unpause", "box")
		d.ok("restart", "-t", "10", "box")
		eventually(t, "two runs", func() bool { return d.run("exec", "box", "cat", "/runs").stdout == "run\nrun\n" })
		d.ok("kill", "-s", "TERM", "box")
		d.want(0, "3\n", "wait", "box")
		d.ok("start", "box")
		d.ok("kill", "box")
		d.want(0, "137\n", "wait", "box")
		d.want(0, "A /runs\n", "diff", "box")
		d.ok("rm", "box")
	})
	t.Run("network", func(t *testing.T) {
		d.t = t
		port := d.m.serve(t, "0.0.0.0:0", "hello\n")
		d.want(0, "hello\n", "run", "--rm", image, "sh", "-c", fetch("10.127.9.1", port))
		d.want(0, "hello\n", "run", "--rm", "--network", "host", image, "sh", "-c", fetch("127.0.0.1", port))
		public := d.m.freePort(t)
		d.ok(append([]string{"run", "-d", "--name", "web", "-p", public + ":80"}, server...)...)
		eventually(t, "the page", func() bool {
			page, err := d.m.get("127.0.0.1:" + public)
			return err == nil && strings.HasSuffix(page, "\r\n\r\npage\n")
		})
	})
}
