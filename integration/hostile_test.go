package integration

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// However many are asked for, only our caller's descriptors are passed on.
func TestPreserveFDsPassesNoneOfOurs(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, n := range []string{"1", "30", "65536"} {
			c.shell(t, "", `exec 3</etc/passwd; $G -preserve-fds `+n+` -- sh -c 'for f in /proc/self/fd/*; do test -e $f && echo ${f##*/}; done' < /dev/null | tr '\n' ' '`).
				want(t, 0, "0 1 2 3 ", "")
		}
		// The write end of a pump inside would keep the end of a file from coming.
		c.shell(t, "", `$G -preserve-fds 40 -- sh -c 'cat | wc -l' < /etc/passwd`).want(t, 0, fmt.Sprintln(strings.Count(read(t, "/etc/passwd"), "\n")), "")
	})
}

// Our state holds the environments of other runs. No bind of whatever parent
// shows it, and none lets it be written.
func TestStateIsHiddenEverywhere(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		other := c.start(t, "-env", "TOKEN=s3cret", "--", "sh", "-c", "echo up; exec sleep 1000")
		other.line(t)
		parent := strings.TrimSuffix(c.state, "/gvisor-exec")
		for _, tt := range []struct{ flag, state string }{
			{"-hostname=x", c.state},
			{"-rootfs=/", c.state},
			{"-ro-bind=/:/host", "/host" + c.state},
			{"-bind=/run:/x/y", "/x/y" + strings.TrimPrefix(c.state, "/run")},
			{"-ro-bind=/run:/tmp/r", "/tmp/r" + strings.TrimPrefix(c.state, "/run")},
			{"-rw-bind=" + parent + ":/r", "/r/gvisor-exec"},
			{"-rw-bind=" + c.state + ":/s", "/s"},
		} {
			c.run(t, tt.flag, "--", "sh", "-c", `cd "$0" && ls -A && { touch x; mkdir d; mv ../gvisor-exec ../other; rmdir ../gvisor-exec; } 2>/dev/null; ls -A "$0"; echo seen`, tt.state).
				want(t, 0, "seen\n", "")
		}
		found := c.shell(t, "", `$G -ro-bind /:/host -- grep -rls --devices=skip s3cret /host/run /run`)
		if found.stdout != "" {
			t.Errorf("another run's environment is seen: %+v", found)
		}
		other.Process.Signal(syscall.SIGTERM)
		if code := other.status(t); code != 128+15 {
			t.Errorf("status %d", code)
		}
	})
}

// A link in a source, which somebody hostile may have put there, leads nothing
// into the directories of the sandbox's kernel, nor out of the view.
func TestHostileLinksInSources(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.ephemeral(t)
		evil, rw := c.dir(t), c.dir(t)
		for name, target := range map[string]string{"dev": "/dev", "root": "/", "up": "../../../../../..", "proc": "/proc/self/root"} {
			if err := os.Symlink(target, evil+"/"+name); err != nil {
				t.Fatal(err)
			}
			o := c.run(t, "-bind="+evil+":/src", "-rw-bind="+rw+":/src/"+name, "--", "true")
			if o.status != 125 {
				t.Errorf("%s -> %s: %+v", name, target, o)
			}
		}
		if left, _ := os.ReadDir(rw); len(left) > 0 {
			t.Errorf("%v was made on the host", left)
		}
		if err := os.Symlink(dir, evil+"/link"); err != nil {
			t.Fatal(err)
		}
		c.run(t, "-ro-bind="+evil+":/src", "--", "sh", "-c", "cat /src/link/file && echo x > /src/link/file; cat /src/link/file").want(t, 0, "host\nx\n", "")
	})
}

// A source that waits for its other end when it is opened is not opened.
func TestFIFOSource(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.shell(t, c.dir(t), `mkdir o; mkfifo ff; $G -rw-bind o:/o -bind ff:/o/f -- true; status=$?; ls o; exit $status`).wantError(t, 125, "/o/f", "on the host first")
		c.shell(t, c.dir(t), `mkdir -p o; touch o/f; mkfifo ff; $G -rw-bind o:/o -bind ff:/o/f -- sh -c 'test -p /o/f && echo a FIFO'`).want(t, 0, "a FIFO\n", "")
	})
}

// With fewer descriptors, odd directories of ours, and none of the rest, a run
// works or says why.
func TestOddSurroundings(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, n := range []int{60, 253, 300} {
			c.shell(t, "", fmt.Sprintf("ulimit -Sn %d; $G -- echo ok", n)).want(t, 0, "ok\n", "")
		}
		c.shell(t, "", "ulimit -n 300; $G -- echo ok").want(t, 0, "ok\n", "")
		c.shell(t, "", "ulimit -n 200; $G -- echo ok").wantError(t, 125, "cannot start the sandbox", "ulimit -Hn")
		if c.name == "root" {
			return // has its places whatever the environment says
		}
		dir := c.dir(t)
		for _, name := range []string{"with,comma", "with:colon", "with space", "new\nline"} {
			c.file(t, dir+"/"+name+"/keep", "", 0o644)
			os.Chmod(dir+"/"+name, 0o700)
			c.do(t, spawn{env: []string{"XDG_CACHE_HOME=" + dir + "/" + name}, argv: []string{"gvisor-exec", "--", "sh", "-c", "echo ok > /var/tmp/f; cat /var/tmp/f"}}).want(t, 0, "ok\n", "")
			c.do(t, spawn{env: []string{"XDG_RUNTIME_DIR=" + dir + "/" + name}, argv: []string{"gvisor-exec", "-tmpfs", "/a/b", "--", "echo", "ok"}}).want(t, 0, "ok\n", "")
		}
		if err := os.Symlink(c.runtime, dir+"/link"); err != nil {
			t.Fatal(err)
		}
		c.do(t, spawn{env: []string{"XDG_RUNTIME_DIR=" + dir + "/link"}, argv: []string{"gvisor-exec", "-tmpfs", "/a/b", "--", "echo", "ok"}}).want(t, 0, "ok\n", "")
		c.do(t, spawn{env: []string{"XDG_CACHE_HOME=relative"}, argv: []string{"gvisor-exec", "--", "echo", "ok"}}).want(t, 0, "ok\n", "")
		c.do(t, spawn{env: []string{"PATH=" + binDir}, argv: []string{"gvisor-exec", "-uid", "5", "--", "true"}}).wantError(t, 125, "newuidmap is not installed", "uidmap")
	})
}

// A command that ran has the last word on the status, whatever failed after it.
func TestStatusAfterFailure(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.shell(t, "", `$G -- sh -c 'echo x; exit 3' > /dev/full`).want(t, 3, "", "*")
		o := c.shell(t, "", `exec 3>&1 1>/var/tmp/gvisor-exec-full; ulimit -f 1; trap '' XFSZ; $G -- sh -c 'head -c 200000 /dev/zero; exit 3'; status=$?; rm /var/tmp/gvisor-exec-full; exit $status`)
		if o.status == 0 {
			t.Errorf("%+v", o)
		}
		c.shell(t, "", `$G -timeout 500ms -kill-after 100ms -- yes | sleep 3; echo ${PIPESTATUS[0]}`).want(t, 0, "124\n", "*")
	})
}

// Nobody who never reads keeps a run that was killed alive.
func TestTimeoutWithoutReader(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, flags := range []string{"", "-t"} {
			began := time.Now()
			c.shell(t, c.dir(t), `mkfifo p; sleep 1000 < p & exec 9>p; $G `+flags+` -timeout 700ms -kill-after 100ms -- yes >&9 2>/dev/null; echo $?; kill %1`).want(t, 0, "124\n", "*")
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%q: it took %v", flags, took)
			}
		}
	})
}

// The trace goes on whatever the command calls itself and however long its
// calls are, and nothing in it reaches the terminal as it is.
func TestHostileTrace(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		o := c.run(t, "-trace", "--", "python3", "-c", `
import os, ctypes
ctypes.CDLL(None).prctl(15, b"a\nb\x1b[31m", 0, 0, 0)
try: os.mkdir("/tmp/hidden-call")
except OSError: pass
os.execv("/bin/true", ["true"] + ["x" * 900] * 1500)
`)
		if o.status != 0 || !strings.Contains(o.stderr, "hidden-call") || !strings.Contains(o.stderr, "exit_group") || strings.Contains(o.stderr, "\x1b") {
			t.Errorf("status %d, %.3000q", o.status, o.stderr)
		}
	})
}

// As root the host's network is not the sandbox's to change.
func TestHostNetworkIsNotAdministered(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, capability := range []string{"net_admin", "ALL"} {
			o := c.run(t, "-network", "host", "-cap-add", capability, "--", "true")
			if c.name == "root" {
				o.wantError(t, 2, "NET_ADMIN", "-network none")
			} else {
				o.want(t, 0, "", "")
			}
		}
	})
}

// A pipe of another user, as under su, cannot be opened again; it is not read
// ahead of the command all the same, and is blocking afterwards.
func TestForeignPipe(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		// In a user namespace even one's own pipe is a stranger's.
		const in = `unshare -Ur setpriv --bounding-set -sys_admin --inh-caps -sys_admin sh -c "$0"`
		c.do(t, spawn{stdin: "a\nb\nc\n", argv: []string{"/bin/sh", "-c", in, `$G -- sh -c 'read x; echo got $x'; cat`}}).want(t, 0, "got a\nb\nc\n", "")
		c.do(t, spawn{stdin: "a\nb\n", argv: []string{"/bin/sh", "-c", in, `while read x; do $G -- true; echo $x; done`}}).want(t, 0, "a\nb\n", "")
	})
}

// A key for the foreground group is for all of the sandbox.
func TestInterruptWithoutTerminal(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		s := c.newScreen(t)
		s.line(`gvisor-exec -- bash -c 'echo r""uns; sleep 1000; echo survived' | cat`)
		s.see("\nruns")
		s.keys("C-c")
		s.see("^C\nhost>")
		if strings.Contains(s.text(), "\nsurvived") {
			t.Errorf("it went on:\n%s", s.text())
		}
		s.clear()
	})
}
