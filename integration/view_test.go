package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// tree describes what is in dir, to be compared before and after.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		line := fmt.Sprint(p, " ", info.Mode())
		if info.Mode().IsRegular() {
			line += " " + read(t, p)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// ephemeral makes a small tree, and checks at the end that it is as it was.
func (c *caller) ephemeral(t *testing.T) string {
	t.Helper()
	dir := c.dir(t)
	c.file(t, dir+"/file", "host\n", 0o644)
	c.file(t, dir+"/sub/inner", "inner\n", 0o644)
	before := tree(t, dir)
	t.Cleanup(func() {
		if after := tree(t, dir); after != before {
			t.Errorf("the host's tree changed:\n%s\nbefore:\n%s", after, before)
		}
	})
	return dir
}

func TestWritesAreThrownAway(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.ephemeral(t)
		for _, overlay := range []string{"self", "memory"} {
			c.run(t, "-overlay", overlay, "-cwd", dir, "--", "sh", "-c",
				"echo new > file; rm sub/inner; mkdir d; echo x > d/y; mv file moved; cat moved d/y; ls sub").want(t, 0, "new\nx\n", "")
			c.run(t, "-overlay", overlay, "-bind", dir+":/b", "--", "sh", "-c",
				"cd /b; echo new > file; rm -r sub; cat file; ls").want(t, 0, "new\nfile\n", "")
		}
		c.run(t, "--", "sh", "-c", "mkdir /new && echo x > /new/f && cat /new/f").want(t, 0, "x\n", "")
	})
}

func TestOverlayNone(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir, rw := c.ephemeral(t), c.dir(t)
		c.run(t, "-overlay", "none", "-bind", dir+":/b", "-rw-bind", rw+":/rw", "-tmpfs", "/var/tmp", "--", "sh", "-c",
			"for d in / /b /rw /tmp /var/tmp; do (: > $d/x) 2>/dev/null && echo $d; done; cat /b/file").want(t, 0, "/rw\n/tmp\n/var/tmp\nhost\n", "")
		if !fileExists(rw + "/x") {
			t.Error("what -rw-bind wrote is lost")
		}
	})
}

func TestBinds(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir, rw := c.ephemeral(t), c.dir(t)
		c.run(t, "-ro-bind", dir+":/ro", "--", "sh", "-c", "cat /ro/file; echo x > /ro/file").want(t, 2, "host\n", "sh: 1: cannot create /ro/file: Read-only file system\n")
		c.run(t, "-rw-bind", rw+":/rw", "--", "sh", "-c", "echo kept > /rw/f").want(t, 0, "", "")
		if got := read(t, rw+"/f"); got != "kept\n" {
			t.Errorf("-rw-bind: %q", got)
		}
		// Files, too; over files and where nothing is.
		c.run(t, "-bind", dir+"/file:/etc/hostname", "--", "cat", "/etc/hostname").want(t, 0, "host\n", "")
		c.run(t, "-ro-bind", dir+"/file:/new/deep/f", "--", "sh", "-c", "cat /new/deep/f; ls /new").want(t, 0, "host\ndeep\n", "")
		c.run(t, "-rw-bind", rw+"/f:/x", "--", "sh", "-c", "echo more >> /x").want(t, 0, "", "")
		if got := read(t, rw+"/f"); got != "kept\nmore\n" {
			t.Errorf("-rw-bind of a file: %q", got)
		}
		// Relative sources; what is missing is made inside only.
		c.shell(t, dir, `$G -bind sub:/opt/a/b/c -- ls /opt/a/b/c`).want(t, 0, "inner\n", "")
		c.shell(t, dir+"/sub", `$G -ro-bind .. -cwd .. -- ls; $G -bind . -- pwd`).want(t, 0, "file\nsub\n"+dir+"/sub\n", "")
		if fileExists("/opt/a") {
			t.Error("/opt/a was made on the host")
		}
		// Below /tmp, below a host directory that holds a mount, over a link.
		c.run(t, "-bind", dir+":/tmp/a/b", "--", "sh", "-c", "ls /tmp/a/b; touch /tmp/x").want(t, 0, "file\nsub\n", "")
		c.run(t, "-bind", dir+":/mnt/a/b", "--", "sh", "-c", "ls /mnt/a/b").want(t, 0, "file\nsub\n", "")
		c.run(t, "-bind", dir+":/var/run/a", "--", "sh", "-c", "ls /run/a").want(t, 0, "file\nsub\n", "")
		// The later of two for one destination wins.
		c.run(t, "-bind", dir+":/d", "-bind", dir+"/sub:/d", "--", "ls", "/d").want(t, 0, "inner\n", "")
		c.run(t, "-bind", dir+"/file:/etc", "--", "true").wantError(t, 125, "/etc: is a directory", "")
	})
}

// Any kind of mount in any other.
func TestNestedMounts(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.ephemeral(t)
		outer := map[string]string{"bind": "-bind=" + dir + ":/o", "ro-bind": "-ro-bind=" + dir + ":/o", "rw-bind": "-rw-bind=" + dir + ":/o", "tmpfs": "-tmpfs=/o"}
		for outerKind, outerFlag := range outer {
			for _, innerKind := range []string{"bind", "ro-bind", "rw-bind", "tmpfs"} {
				for _, at := range []string{"sub", "new/deep"} {
					persistent := outerKind == "rw-bind" && at != "sub"
					in := c.dir(t)
					c.file(t, in+"/f", "in\n", 0o644)
					inner := fmt.Sprintf("-%s=%s:/o/%s", innerKind, in, at)
					if innerKind == "tmpfs" {
						inner = "-tmpfs=/o/" + at
					}
					o := c.run(t, inner, outerFlag, "--", "sh", "-c", "cd /o/"+at+" && cat f 2>/dev/null; touch w 2>/dev/null && echo writable; test -e /o/file && echo outer; true")
					if persistent {
						o.wantError(t, 125, "/o/new/deep does not exist", "on the host first")
						continue
					}
					want := ""
					if innerKind != "tmpfs" {
						want = "in\n"
					}
					if innerKind != "ro-bind" {
						want += "writable\n"
					}
					if outerKind != "tmpfs" {
						want += "outer\n"
					}
					if o.status != 0 || o.stdout != want {
						t.Errorf("%s in %s at %s: %+v, want %q", innerKind, outerKind, at, o, want)
					}
					if written := fileExists(in + "/w"); written != (innerKind == "rw-bind") {
						t.Errorf("%s in %s at %s: written to the host: %v", innerKind, outerKind, at, written)
					}
				}
			}
		}
	})
}

func TestKernelDirectories(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.run(t, "--", "sh", "-c", `
			echo x > /dev/null && head -c 4 /dev/zero | wc -c && echo a > /dev/shm/f && cat /dev/shm/f && echo via-fd > /dev/fd/1 &&
			ls -A /tmp | wc -l && stat -c %a /tmp && ls /dev/pts && echo $$ && ls -d /proc/[0-9]* | head -1 && test -d /sys/kernel`).
			want(t, 0, "4\na\nvia-fd\n0\n1777\nptmx\n1\n/proc/1\n", "")
		c.run(t, "--", "python3", "-c", "import pty, os; m, s = pty.openpty(); print(os.ttyname(s))").want(t, 0, "/dev/pts/0\n", "")
	})
}

func TestRootfs(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.file(t, dir+"/bin/busybox", read(t, "/bin/busybox"), 0o755)
		if err := os.Symlink("busybox", dir+"/bin/sh"); err != nil {
			t.Fatal(err)
		}
		before := tree(t, dir)
		c.run(t, "-rootfs", dir, "-cwd", "/", "--", "sh", "-c", "echo /*; echo x > /bin/y; busybox cat /bin/y").want(t, 0, "/bin /dev /proc /sys /tmp\nx\n", "")
		c.run(t, "-rootfs", dir, "-cwd", "/", "-ro-bind", "/etc:/host/etc", "--", "sh", "-c", "test -f /host/etc/passwd && echo seen").want(t, 0, "seen\n", "")
		if after := tree(t, dir); after != before {
			t.Errorf("the root changed: %s", after)
		}
	})
}

func TestWorkingDirectory(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.shell(t, dir, `$G -- pwd`).want(t, 0, dir+"\n", "")
		c.shell(t, "/tmp", `$G -- pwd`).want(t, 0, "/tmp\n", "")
		hidden, err := os.MkdirTemp("", "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(hidden)
		if err := os.Chmod(hidden, 0o755); err != nil {
			t.Fatal(err)
		}
		c.shell(t, hidden, `$G -- pwd`).want(t, 0, "/\n", "gvisor-exec: warning: the sandbox does not see "+hidden+": the working directory is /\n")
		c.shell(t, hidden, `$G -cwd . -- pwd`).wantError(t, 125, hidden, "-bind")
		c.shell(t, hidden, `$G -bind . -- pwd`).want(t, 0, hidden+"\n", "")
		c.shell(t, hidden, `$G -tmpfs /w/x -cwd /w/x -- pwd`).want(t, 0, "/w/x\n", "")
	})
}

func TestOddPaths(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		for _, name := range []string{"with space", "com,ma", "new\nline", `quo"te`, "-dash", "ünï", `back\slash`, "a=b"} {
			c.file(t, filepath.Join(dir, name, "f"), "ok\n", 0o644)
			escaped := strings.ReplaceAll(filepath.Join(dir, name), `\`, `\\`)
			c.run(t, "-bind", escaped, "-cwd", filepath.Join(dir, name), "--", "cat", "f").want(t, 0, "ok\n", "")
			c.run(t, "-rw-bind", escaped+":/x"+strings.ReplaceAll(name, `\`, `\\`), "--", "cat", "/x"+name+"/f").want(t, 0, "ok\n", "")
			c.run(t, "-ro-bind", escaped+":/home/new/"+strings.ReplaceAll(name, `\`, `\\`), "--", "cat", "/home/new/"+name+"/f").want(t, 0, "ok\n", "")
		}
		c.file(t, dir+"/co:lon/f", "ok\n", 0o644)
		c.run(t, "-bind", dir+`/co\:lon:/y\:z`, "--", "cat", "/y:z/f").want(t, 0, "ok\n", "")
		o := c.run(t, "-bind", dir+`/new`+"\n"+`gone`, "--", "true")
		if o.status != 125 || strings.Count(o.stderr, "\n") != 2 {
			t.Errorf("a newline in a path: %+v", o)
		}
	})
}

// Our own state is not in the view: bundles of other runs hold their
// environments.
func TestStateIsHidden(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.run(t, "--", "sh", "-c", "ls -A "+c.state+" && touch "+c.state+"/x 2>/dev/null; test ! -e "+c.state+"/x").want(t, 0, "", "")
	})
}

func TestNetworks(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.run(t, "--", "python3", "-c", `
import socket
try:
    socket.create_connection(("127.0.0.1", 1), 2)
except OSError as e:
    print(e.strerror)
try:
    socket.create_connection(("192.0.2.1", 80), 2)
except OSError as e:
    print(e.strerror)
`).want(t, 0, "Connection refused\nNetwork is unreachable\n", "")
		// host: really connected, to a server of the test's on loopback.
		c.do(t, spawn{argv: []string{"/usr/bin/python3", "-c", `
import os, socket, subprocess
s = socket.create_server(("127.0.0.1", 0))
code = "import socket; print(socket.create_connection(('127.0.0.1', %d), 5).recv(99).decode(), end='')" % s.getsockname()[1]
p = subprocess.Popen([os.environ["G"], "-network", "host", "--", "python3", "-c", code])
s.settimeout(30)
conn, _ = s.accept()
conn.sendall(b"from the host\n")
conn.close()
p.wait()
`}}).want(t, 0, "from the host\n", "")
	})
}
