package integration

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

func TestPodmanCopyDiffCommit(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		in := p.c.file(t, p.dir+"/files/in", "from the host\n", 0o640)
		p.ok("run", "-d", "--name", "x", image, "sh", "-c", "echo from inside > /made; rm /bin/wget; mkdir -p /d/e; echo deep > /d/e/f; echo ready; exec sleep 1000")
		p.says("x", "ready")
		// podman copies through the mounts of the container's pid, where a sandbox
		// that runs has none (docs/podman.md); from one that has stopped it works.
		p.ok("stop", "-t", "0", "x")
		p.ok("cp", in, "x:/tmp/in")
		p.ok("start", "x")
		p.want(0, "from the host\n640\n", "exec", "x", "sh", "-c", "cat /tmp/in; stat -c %a /tmp/in")
		p.ok("stop", "-t", "0", "x")
		p.ok("cp", "x:/made", p.dir+"/files/made")
		if got := read(t, p.dir+"/files/made"); got != "from inside\n" {
			t.Errorf("cp out: %q", got)
		}
		p.ok("cp", "x:/d", p.dir+"/files/d")
		if got := read(t, p.dir+"/files/d/e/f"); got != "deep\n" {
			t.Errorf("cp of a directory: %q", got)
		}
		diff := "\n" + p.ok("diff", "x") + "\n"
		for _, line := range []string{"\nA /made\n", "\nD /bin/wget\n", "\nA /d/e/f\n"} {
			if !strings.Contains(diff, line) {
				t.Errorf("diff lacks %q: %q", line, diff)
			}
		}
		p.ok("commit", "-q", "x", "localhost/committed")
		p.ok("cp", in, "x:/tmp/stopped")
		p.ok("cp", "x:/made", p.dir+"/files/again")
		p.ok("start", "x")
		p.want(0, "from the host\n", "exec", "x", "cat", "/tmp/stopped")
		p.want(0, "from inside\ndeep\n", "run", "--rm", "localhost/committed", "sh", "-c", "cat /made /d/e/f; test -e /bin/wget && echo wget; true")
		p.ok("export", "-o", p.dir+"/files/x.tar", "x")
	})
}

const containerfile = `FROM localhost/busybox
ARG WORD=none
ENV A=built
RUN echo "$WORD $A" > /built && uname -r > /kernel
RUN ["/bin/sh", "-c", "echo exec form > /tmp/form"]
COPY data /data
WORKDIR /data
USER alice
RUN id -un > /tmp/alice
CMD ["cat", "/built", "file", "/tmp/form", "/tmp/alice"]
`

// buildNetwork is what a build may use: rootless, buildah 1.28 calls netavark
// where it has no right to, whatever the runtime.
func (p *podman) buildNetwork() string {
	if p.rootful() {
		return "private"
	}
	return "none"
}

func TestPodmanBuild(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.c.file(t, p.dir+"/context/Containerfile", containerfile, 0o644)
		p.c.file(t, p.dir+"/context/data/file", "copied\n", 0o644)
		p.ok("build", "-q", "--isolation", "oci", "--network", p.buildNetwork(), "--build-arg", "WORD=word", "-t", "localhost/built", p.dir+"/context")
		p.want(0, "word built\ncopied\nexec form\nalice\n", "run", "--rm", "localhost/built")
		if got := p.ok("run", "--rm", "localhost/built", "cat", "/kernel"); strings.Contains(got, "gvisor") != sandboxed() {
			t.Errorf("RUN ran on %q", got)
		}
		p.c.file(t, p.dir+"/context/Containerfile", "FROM localhost/busybox\nRUN exit 7\n", 0o644)
		if o := p.run("build", "-q", "--isolation", "oci", "--network", p.buildNetwork(), p.dir+"/context"); o.status != 7 {
			t.Errorf("a build that fails: %+v", o)
		}
	})
}

func TestBuildah(t *testing.T) {
	probe.Skip(t, ociProbe("buildah"))
	eachPodman(t, func(t *testing.T, p *podman) {
		env := []string{"CONTAINERS_CONF=" + p.dir + "/containers.conf", "TMPDIR=" + p.dir, "BUILDAH_ISOLATION=oci", "BUILDAH_RUNTIME=" + ociRuntime()}
		buildah := p.m.script(t, p.c, p.dir+"/buildah", env, []string{"buildah", "--root", p.dir + "/root", "--runroot", p.dir + "/runroot", "--storage-driver", "vfs"})
		do := func(args ...string) outcome {
			return p.outside().do(t, spawn{dir: "/", argv: append([]string{buildah}, args...)})
		}
		do("from", "--network", p.buildNetwork(), "--name", "w", image).want(t, 0, "w\n", "*")
		defer do("rm", "-a")
		do("run", "w", "sh", "-c", "echo ran > /ran; cat /ran").want(t, 0, "ran\n", "")
		do("run", "w", "sh", "-c", "exit 6").want(t, 6, "", "*")
		do("run", "--user", "alice", "w", "id", "-un").want(t, 0, "alice\n", "")
		do("run", "w", "cat", "/ran").want(t, 0, "ran\n", "")
		if o := do("commit", "-q", "w", "localhost/made"); o.status != 0 {
			t.Fatalf("commit: %+v", o)
		}
		p.want(0, "ran\n", "run", "--rm", "localhost/made", "cat", "/ran")
	})
}

func TestPodmanVolumes(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		host := p.dir + "/host"
		p.c.file(t, host+"/in", "from the host\n", 0o644)
		p.sh("cat /mnt/in; echo written > /mnt/out", "from the host\n", "-v", host+":/mnt")
		if got := read(t, host+"/out"); got != "written\n" {
			t.Errorf("the volume has %q", got)
		}
		if info, err := os.Stat(host + "/out"); err != nil || int(ownerOf(info)) != p.c.uid {
			t.Errorf("the file belongs to %v, %v", ownerOf(info), err)
		}
		p.sh("cat /mnt/in; touch /mnt/no 2>&1; true", "from the host\ntouch: /mnt/no: Read-only file system\n", "-v", host+":/mnt:ro")
		p.sh("cat /etc/one; echo more >> /etc/one", "from the host\n", "-v", host+"/in:/etc/one")
		if got := read(t, host+"/in"); got != "from the host\nmore\n" {
			t.Errorf("the file has %q", got)
		}
		p.sh("echo kept > /v/f", "", "-v", "named:/v")
		p.sh("cat /v/f", "kept\n", "-v", "named:/v")
		p.sh("cat /v/f; test -d /v/home || ls /v", "kept\nf\n", "-v", "named:/v:ro")
		p.sh("touch /t/f && ls /t; grep ' /t ' /proc/mounts | cut -d' ' -f3", "f\ntmpfs\n", "--tmpfs", "/t")
		p.sh("ls /a /a/b | tr '\\n' ' '", "/a: b in out  /a/b: ", "-v", host+":/a", "--tmpfs", "/a/b")
		p.ok("volume", "rm", "named")
	})
}

// An executable on a noexec volume does not run.
func TestPodmanNoexec(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		host := p.dir + "/host"
		p.c.file(t, host+"/script", "#!/bin/sh\necho ran\n", 0o755)
		p.want(0, "ran\n", "run", "--rm", "-v", host+":/mnt", image, "/mnt/script")
		if o := p.run("run", "--rm", "-v", host+":/mnt:noexec", image, "sh", "-c", "/mnt/script"); o.status != 126 || o.stdout != "" {
			t.Errorf("noexec: %+v", o)
		}
	})
}

// With keep-id, the caller is itself inside, and what it writes is its own.
func TestPodmanUserNamespaces(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		host := p.dir + "/host"
		if err := errors.Join(os.Mkdir(host, 0o777), os.Chmod(host, 0o777)); err != nil {
			t.Fatal(err)
		}
		if p.rootful() {
			p.sh("id -u; touch /mnt/f", "0\n", "--uidmap", "0:200000:5000", "-v", host+":/mnt")
			if info, err := os.Stat(host + "/f"); err != nil || ownerOf(info) != 200000 {
				t.Errorf("the file: %v, %v", info, err)
			}
			return
		}
		p.sh("id -u; touch /mnt/f", strconv.Itoa(p.c.uid)+"\n", "--userns", "keep-id", "-v", host+":/mnt")
		if info, err := os.Stat(host + "/f"); err != nil || int(ownerOf(info)) != p.c.uid {
			t.Errorf("the file: %v, %v", info, err)
		}
		p.sh("id -u", "0\n", "--userns", "keep-id", "--user", "0")
	})
}
