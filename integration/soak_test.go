//go:build soak

package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// debian is the archive of a Debian tree with python3, made by debootstrap from
// the mirrors that this host's apt uses.
func debian(t *testing.T) string {
	t.Helper()
	probe.Skip(t, probe.Root())
	probe.Skip(t, ociProbe("debootstrap"))
	dir := callers[0].dir(t)
	mirror, err := exec.Command("sh", "-c", `apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -1`).Output()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("debootstrap", "--variant=minbase", "--include=python3-minimal,procps", "bookworm", dir+"/tree", strings.TrimSpace(string(mirror))).CombinedOutput()
	if err != nil {
		t.Fatalf("debootstrap: %v: %.2000s", err, out)
	}
	tree := filepath.Join(binDir, "debian.tar")
	if out, err := exec.Command("tar", "-C", dir+"/tree", "-cf", tree, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return tree
}

// TestPodmanDebianSoak runs what people run in a real distribution.
func TestPodmanDebianSoak(t *testing.T) {
	tree := debian(t)
	eachPodman(t, func(t *testing.T, p *podman) {
		const image = "localhost/debian"
		p.slow("import", "-q", "--change", `CMD=["bash"]`, tree, image)
		p.want(0, "12\n", "run", "--rm", image, "sh", "-c", ". /etc/os-release; echo $VERSION_ID")
		p.want(0, "3628800\n", "run", "--rm", image, "python3", "-c", "import math; print(math.factorial(10))")
		p.want(0, "ii  dpkg\n", "run", "--rm", image, "sh", "-c", "dpkg -l dpkg | awk '/^ii/ {print $1 \"  \" $2}'")
		p.want(0, "100\n", "run", "--rm", image, "python3", "-c", `
import subprocess
print(sum(subprocess.run(["true"]).returncode == 0 for _ in range(100)))`)
		p.ok("run", "-d", "--name", "x", image, "python3", "-uc", `
import http.server, socketserver
print("ready")
socketserver.TCPServer(("127.0.0.1", 8000), http.server.SimpleHTTPRequestHandler).serve_forever()`)
		p.says("x", "ready")
		p.want(0, "200\n", "exec", "x", "python3", "-c", `
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8000/").status)`)
		if top := p.ok("top", "x", "-eo", "args"); !strings.Contains(top, "python3") {
			t.Errorf("top: %q", top)
		}
		p.want(0, "", "exec", "x", "sh", "-c", "useradd -m eve && su eve -c 'test $(id -un) = eve'")
		p.slow("commit", "-q", "x", "localhost/changed")
		p.want(0, "eve\n", "run", "--rm", "-u", "eve", "localhost/changed", "id", "-un")
	})
}

// TestPodmanManySoak starts and removes many containers in turn.
func TestPodmanManySoak(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		for i := range 100 {
			word := fmt.Sprint("run-", i)
			p.want(i, word+"\n", "run", "--rm", "--name", "x", image, "sh", "-c", fmt.Sprintf("echo %s; exit %d", word, i))
		}
	})
}

func TestLifecycleFuzzSoak(t *testing.T) { fuzzLifecycle(t, 1000) }

// slow runs podman, which must succeed and may take minutes.
func (p *podman) slow(args ...string) {
	p.t.Helper()
	cmd := p.outside().command(p.t.Context(), spawn{dir: "/", argv: append([]string{p.program}, args...)})
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("podman %q: %v: %s", args, err, out)
	}
}
