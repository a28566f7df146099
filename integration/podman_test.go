package integration

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// image is the one that every podman of the tests has.
const image = "localhost/busybox"

// podman with storage, state and network of its own, so that the host's is
// never touched.
type podman struct {
	t       *testing.T
	m       *machine
	c       *caller // whose podman it is; its runtime directory is ours
	dir     string
	program string // a script: podman with all its flags
}

// eachPodman runs test with a podman of root's and one of an ordinary user's,
// and looks afterwards whether anything is left.
func eachPodman(t *testing.T, test func(t *testing.T, p *podman)) {
	t.Helper()
	probe.Skip(t, ociProbe("podman"))
	if len(callers) == 1 {
		t.Run("root", func(t *testing.T) { probe.Skip(t, probe.Root()) })
	}
	for _, c := range callers {
		t.Run(c.name, func(t *testing.T) {
			p := newPodman(t, c)
			defer p.close(t)
			test(t, p)
		})
	}
}

func newPodman(t *testing.T, c *caller) *podman {
	t.Helper()
	own := *c
	// A short path: those of podman's sockets below it end at 107 bytes.
	dir, err := os.MkdirTemp("/var/tmp", "gvp-")
	if err != nil {
		t.Fatal(err)
	}
	p := &podman{t: t, m: newMachine(t), c: &own, dir: dir}
	p.c.runtime = filepath.Join(p.dir, "run")
	if p.c.state = filepath.Join(p.c.runtime, "gvisor-exec"); p.rootful() {
		p.c.state = p.m.rootState()
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, c.uid, c.gid), os.Mkdir(p.c.runtime, 0o700), os.Chown(p.c.runtime, c.uid, c.gid)); err != nil {
		t.Fatal(err)
	}
	// default_ulimits: raising a limit needs CAP_SYS_RESOURCE, which containers
	// such as CI's lack.
	conf := c.file(t, p.dir+"/containers.conf", strings.ReplaceAll(`[containers]
default_ulimits = []
log_driver = "k8s-file"
[network]
network_backend = "netavark"
network_config_dir = "DIR/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "DIR/tmp"
static_dir = "DIR/root/libpod"
volume_path = "DIR/root/volumes"
`, "DIR", p.dir), 0o644)
	p.program = p.m.script(t, p.c, p.dir+"/podman", []string{"CONTAINERS_CONF=" + conf, "TMPDIR=" + p.dir},
		[]string{"podman", "--root", p.dir + "/root", "--runroot", p.dir + "/runroot", "--storage-driver", "vfs", "--runtime", ociRuntime()})
	tree, err := busyboxTar()
	if err != nil {
		t.Fatal(err)
	}
	p.ok("import", "-q", "--change", `CMD=["sh"]`, tree, image)
	return p
}

func (p *podman) rootful() bool { return p.c.uid == 0 }

// close removes everything and checks that nothing is left.
func (p *podman) close(t *testing.T) {
	t.Helper()
	p.t = t
	o := p.run("rm", "-fa", "-t", "0")
	o.want(t, 0, o.stdout, "")
	p.run("pod", "rm", "-fa", "-t", "0")
	if !p.rootful() {
		p.run("unshare", "rm", "-rf", p.dir+"/root")
		p.run("system", "migrate") // ends the process that holds the user namespace
	}
	eventually(t, "none of podman's processes", func() bool { return len(running(p.dir)) == 0 })
	if left := append(p.m.mounts(t, p.dir), p.m.mounts(t, "/run/gvisor-exec/")...); len(left) > 0 {
		// Not removed, then: the directory may hold anything.
		t.Fatalf("mounts are left: %q", left)
	}
	p.c.checkClean(t)
	if err := os.RemoveAll(p.dir); err != nil {
		t.Error(err)
	}
}

// run runs podman with args.
func (p *podman) run(args ...string) outcome {
	p.t.Helper()
	return p.input("", args...)
}

func (p *podman) input(stdin string, args ...string) outcome {
	p.t.Helper()
	return p.outside().do(p.t, spawn{dir: "/", stdin: stdin, argv: append([]string{p.program}, args...)})
}

// forget calls the runtime itself to delete a container, which podman does not
// do if conmon was killed; with runc as little as with us.
func (p *podman) forget(id string) {
	p.t.Helper()
	script := p.m.script(p.t, p.c, p.dir+"/forget", nil, []string{ociRuntime(), "delete", "--force"})
	o := p.outside().do(p.t, spawn{dir: "/", argv: []string{script, id}})
	if o.status != 0 {
		p.t.Errorf("delete --force: %+v", o)
	}
}

// outside is who runs the script: it needs root to enter the machine.
func (p *podman) outside() *caller {
	if p.m.pid != 0 {
		return callers[0]
	}
	return p.c
}

// ok runs podman, which must succeed, and returns what it says.
func (p *podman) ok(args ...string) string {
	p.t.Helper()
	o := p.run(args...)
	if o.status != 0 {
		p.t.Fatalf("podman %q: status %d, stdout %q, stderr %s", args, o.status, o.stdout, o.stderr)
	}
	return strings.TrimSuffix(o.stdout, "\n")
}

// want runs podman and checks status and standard output.
func (p *podman) want(status int, stdout string, args ...string) {
	p.t.Helper()
	o := p.run(args...)
	if o.status != status || o.stdout != stdout {
		p.t.Errorf("podman %q: got status %d, stdout %.500q, stderr %.500q\nwant status %d, stdout %.500q", args, o.status, o.stdout, o.stderr, status, stdout)
	}
}

// sh checks what a shell in a fresh container prints.
func (p *podman) sh(script, stdout string, flags ...string) {
	p.t.Helper()
	args := append([]string{"run", "--rm"}, flags...)
	p.want(0, stdout, append(args, image, "sh", "-c", script)...)
}

// inspect a container with a template.
func (p *podman) inspect(name, format string) string {
	p.t.Helper()
	return p.ok("inspect", "--type", "container", "--format", format, name)
}

// is waits until the container has a status.
func (p *podman) is(name, status string) {
	p.t.Helper()
	eventually(p.t, name+" is "+status, func() bool { return p.inspect(name, "{{.State.Status}}") == status })
}

// says waits until the container has logged text.
func (p *podman) says(name, text string) {
	p.t.Helper()
	eventually(p.t, name+" says "+text, func() bool { return strings.Contains(p.ok("logs", name), text) })
}

// start runs podman in the background.
func (p *podman) start(args ...string) (cmd *exec.Cmd, out *bytes.Buffer) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	p.t.Cleanup(cancel)
	cmd = p.outside().command(ctx, spawn{dir: "/", argv: append([]string{p.program}, args...)})
	out = new(bytes.Buffer)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, out, out
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return cmd, out
}
