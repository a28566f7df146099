package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// plainPodman is podman on the host itself, with a storage of its own and one
// image: what install writes is read by no other.
type plainPodman struct {
	c      *caller
	global []string
}

// newPlainPodman makes the storage and the image; what is in it goes when the test
// ends. The driver that copies leaves no mounts.
func newPlainPodman(t *testing.T, c *caller) *plainPodman {
	t.Helper()
	dir := c.dir(t)
	p := &plainPodman{c: c, global: []string{
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

func (p *plainPodman) do(t *testing.T, args ...string) outcome {
	t.Helper()
	argv := append(append([]string{"podman"}, p.global...), args...)
	return p.c.do(t, spawn{argv: argv})
}

// want runs podman and checks its status and standard output.
func (p *plainPodman) want(t *testing.T, status int, stdout string, args ...string) {
	t.Helper()
	if o := p.do(t, args...); o.status != status || o.stdout != stdout {
		t.Errorf("podman %q: status %d, stdout %q, stderr %q\nwant status %d, stdout %q", args, o.status, o.stdout, o.stderr, status, stdout)
	}
}

// ok runs podman and returns its standard output; the status must be 0.
func (p *plainPodman) ok(t *testing.T, args ...string) string {
	t.Helper()
	o := p.do(t, args...)
	if o.status != 0 {
		t.Errorf("podman %q: %+v", args, o)
	}
	return o.stdout
}

// awaitLog waits until a container has written words.
func (p *plainPodman) awaitLog(t *testing.T, name, words string) {
	t.Helper()
	eventually(t, fmt.Sprintf("log %q", words), func() bool { return strings.Contains(p.ok(t, "logs", name), words) })
}

// eachPlainPodman runs test as root and as an ordinary user, where podman works.
func eachPlainPodman(t *testing.T, test func(t *testing.T, p *plainPodman)) {
	t.Helper()
	each(t, func(t *testing.T, c *caller) {
		probe.Skip(t, probe.Command("podman", "apt-get install podman"))
		if c.uid != 0 {
			probe.Skip(t, probe.Command("slirp4netns", "apt-get install slirp4netns"))
			probe.Skip(t, probe.TunDevice())
		}
		test(t, newPlainPodman(t, c))
	})
}
