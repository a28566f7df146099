package integration

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A regular file is written at the caller's offset, and the next writer goes on
// behind what the command wrote.
func TestFileOutput(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.shell(t, dir, `{ $G -- echo aaaaaaaa; echo b; } > f; cat f`).want(t, 0, "aaaaaaaa\nb\n", "")
		c.shell(t, dir, `{ echo first; $G -- echo second; echo third; } > f; cat f`).want(t, 0, "first\nsecond\nthird\n", "")
		c.shell(t, dir, `echo old > f; $G -- echo new >> f; cat f`).want(t, 0, "old\nnew\n", "")
		c.shell(t, dir, `$G -- sh -c 'for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done' > f 2>&1; cat f`).
			want(t, 0, "out1\nerr1\nout2\nerr2\nout3\nerr3\nout4\nerr4\nout5\nerr5\n", "")
		c.shell(t, dir, `$G -- sh -c 'echo out; echo err >&2' > o 2> e; cat o; cat e`).want(t, 0, "out\nerr\n", "")
		c.shell(t, dir, `printf 0123456789 > f; { dd bs=1 count=3 status=none of=/dev/null; $G -- printf XX; } 3<>f <f 1<>f; cat f`).want(t, 0, "XX23456789", "")
	})
}

func TestFileInput(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.file(t, dir+"/list", "l1\nl2\nl3\n", 0o644)
		c.shell(t, dir, `while read x; do $G -- true; echo $x; done < list`).want(t, 0, "l1\nl2\nl3\n", "")
		c.shell(t, dir, `{ read x; $G -- sh -c 'read y; echo got $y'; cat; } < list`).want(t, 0, "got l2\nl3\n", "")
		c.shell(t, dir, `{ read x; $G -- cat; } < list`).want(t, 0, "l2\nl3\n", "")
		c.shell(t, dir, `$G -- cat < /dev/null`).want(t, 0, "", "")
		// More than a pipe holds, of which the command takes a part.
		c.shell(t, dir, `head -c 1000000 /dev/zero > big; { $G -- head -c 100 >/dev/null; wc -c; } < big`).want(t, 0, "999900\n", "")
	})
}

func TestPipes(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.shell(t, dir, `echo 'print(1+1)' | $G -- python3`).want(t, 0, "2\n", "")
		// Nothing is read ahead for a command that reads nothing.
		c.shell(t, dir, `printf 'a\nb\nc\n' | while read x; do $G -- true; echo $x; done`).want(t, 0, "a\nb\nc\n", "")
		c.shell(t, dir, `printf 'a\nb\n' | { $G -- sh -c 'read x; echo 1:$x'; cat; }`).want(t, 0, "1:a\nb\n", "")
		c.shell(t, dir, `$G -- yes 2>/dev/null | head -n 2`).want(t, 0, "y\ny\n", "")
		c.shell(t, dir, `$G -- sh -c 'printf "\000\001\377"' | od -An -tx1`).want(t, 0, " 00 01 ff\n", "")
		// The pipe that we share with others stays blocking.
		c.shell(t, dir, `{ $G -- true; python3 -c 'import fcntl; print(fcntl.fcntl(1, fcntl.F_GETFL) & 0o4000)'; } | cat`).want(t, 0, "0\n", "")
		// A reader that never reads blocks nothing else.
		c.shell(t, dir, `mkfifo p; sleep 1000 < p & exec 9>p; $G -- sh -c 'yes >&2 & echo works; kill $!' 2>&9; kill %1`).want(t, 0, "works\n", "*")
	})
}

func TestClosedDescriptors(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.shell(t, "", `$G -- sh -c 'cat; echo out' <&-`).want(t, 0, "out\n", "")
		c.shell(t, "", `$G -- sh -c 'echo err >&2' >&-`).want(t, 0, "", "err\n")
		c.shell(t, "", `$G -- sh -c 'echo out' 2>&-`).want(t, 0, "out\n", "")
		c.shell(t, "", `$G -- sh -c 'exit 3' <&- >&- 2>&-`).want(t, 3, "", "")
	})
}

func TestFullDisk(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		o := c.shell(t, "", `$G -- sh -c 'echo x' > /dev/full`)
		if o.status == 0 {
			t.Errorf("status 0 though nothing was written: %+v", o)
		}
	})
}

func TestSocketStdio(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.do(t, spawn{argv: []string{"/usr/bin/python3", "-c", `
import os, socket, subprocess
a, b = socket.socketpair()
p = subprocess.Popen([os.environ["G"], "--", "sh", "-c", "read x; echo got $x"], stdin=b, stdout=b)
b.close()
a.sendall(b"hello\n")
print(a.makefile().readline(), end="")
print(p.wait())
`}}).want(t, 0, "got hello\n0\n", "")
	})
}

// bulk is what goes through a pipe each way; soak sends a gibibyte.
func bulk() int64 {
	if os.Getenv("GVISOR_EXEC_SOAK") != "" {
		return 1 << 30
	}
	return 64 << 20
}

func TestBulkSoak(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		n := bulk()
		script := fmt.Sprintf(`head -c %d /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null`, n)
		want := sumOf(t, script)
		if want == fmt.Sprintf("%x", sha256.Sum256(nil)) {
			t.Fatal("the test's data is empty")
		}
		c.shell(t, "", script+` | $G -- sha256sum`).want(t, 0, want+"  -\n", "")
		c.shell(t, "", script+` | $G -- cat | sha256sum`).want(t, 0, want+"  -\n", "")
		dir := c.dir(t)
		c.shell(t, dir, script+` > in; $G -- cat < in > out; sha256sum < out; rm in out`).want(t, 0, want+"  -\n", "")
	})
}

func sumOf(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, out); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestHereDocument(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		text := strings.Repeat("line\n", 50000)
		c.do(t, spawn{stdin: text, argv: []string{"gvisor-exec", "--", "cat"}}).want(t, 0, text, "")
		c.shell(t, "", "$G -- cat <<E\nhere\nE").want(t, 0, "here\n", "")
	})
}
