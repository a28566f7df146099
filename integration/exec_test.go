package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestExitStatus(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, status := range []int{0, 1, 2, 7, 124, 125, 126, 127, 128, 200, 255} {
			c.run(t, "--", "sh", "-c", fmt.Sprint("exit ", status)).want(t, status, "", "")
		}
		for _, sig := range []int{1, 2, 6, 9, 11, 15} {
			c.run(t, "--", "sh", "-c", fmt.Sprintf("kill -%d $$", sig)).want(t, 128+sig, "", "")
		}
	})
}

func TestCommandThatCannotRun(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.file(t, dir+"/noexec", "x", 0o644)
		c.file(t, dir+"/garbage", "\x01\x02", 0o755)
		c.file(t, dir+"/interp", "#!/no/such/interpreter\n", 0o755)
		c.run(t, "--", "no-such-command").wantError(t, 127, "no-such-command", "")
		c.run(t, "--", "/no/such").wantError(t, 127, "/no/such", "interpreter")
		c.run(t, "--", "/tmp/x").wantError(t, 127, "/tmp/x", "-bind")
		c.run(t, "--", dir+"/interp").wantError(t, 127, "interp", "interpreter")
		c.run(t, "--", dir+"/noexec").wantError(t, 126, "permission denied", "")
		c.run(t, "--", dir+"/garbage").wantError(t, 126, "exec format error", "")
		c.run(t, "--", "/etc").wantError(t, 126, "/etc", "")
	})
}

func TestUsageErrors(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.run(t, "-no-such-flag", "--", "true").wantError(t, 2, "no-such-flag", "")
		c.run(t, "-platform", "xen", "--", "true").wantError(t, 2, "systrap, ptrace, kvm", "")
		c.run(t, "-network", "bridge", "--", "true").wantError(t, 2, "none, host", "")
		c.run(t, "-network", "sandbox", "--", "true").wantError(t, 2, "not available", "")
		c.run(t, "-overlay", "disk", "--", "true").wantError(t, 2, "self, memory, none", "")
		c.run(t, "-uid", "-1", "--", "true").wantError(t, 2, "-1", "")
		c.run(t, "-timeout", "soon", "--", "true").wantError(t, 2, "duration", "")
		c.run(t, "-env", "=x", "--", "true").wantError(t, 2, "KEY=VALUE", "")
		c.run(t, "-cap-add", "FLY", "--", "true").wantError(t, 2, "FLY", "")
		c.run(t, "-bind", "a:b:c", "--", "true").wantError(t, 2, "colon", "")
		c.run(t, "-bind", "/etc:relative", "--", "true").wantError(t, 2, "absolute", "")
		c.run(t, "-tmpfs", "/proc/x", "--", "true").wantError(t, 2, "/proc", "")
		c.run(t, "-terminal", "maybe", "--", "true").wantError(t, 2, "auto, always, never", "")
		c.run(t, "exec", "--").wantError(t, 2, "no command", "--")
		c.run(t, "exec").wantError(t, 2, "no command", "--")
		c.run(t, "exec", "true").wantError(t, 255, `container "true" does not exist`, "exec -- CMD")
		c.run(t, "frobnicate").wantError(t, 2, "frobnicate", "-h")
		c.run(t, "--", "").wantError(t, 2, "empty", "")
	})
}

func TestHostErrors(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.run(t, "-bind", "/no/such", "--", "true").wantError(t, 125, "/no/such", "host")
		c.run(t, "-cwd", "/no/such", "--", "true").wantError(t, 125, "/no/such", "-bind")
		c.run(t, "-rootfs", "/no/such", "--", "true").wantError(t, 2, "/no/such", "")
		c.run(t, "-runsc", "/no/such", "--", "true").wantError(t, 125, "/no/such", "make")
		c.run(t, "-runsc", "/bin/true", "--", "true").wantError(t, 125, "not runsc", "make")
		c.run(t, "-runsc", filepath.Join(binDir, "gvisor-exec"), "--", "true").wantError(t, 125, "not runsc", "make")
		old := c.file(t, dir+"/old-runsc", "#!/bin/sh\necho runsc version release-20190101.0\n", 0o755)
		c.run(t, "-runsc", old, "--", "true").wantError(t, 125, "too old", "make")
		lonely := c.file(t, dir+"/lonely/gvisor-exec", read(t, filepath.Join(binDir, "gvisor-exec")), 0o755)
		c.do(t, spawn{argv: []string{lonely, "--", "true"}, env: []string{"PATH=/bin"}}).wantError(t, 125, "libexec/gvisor-exec/runsc, $PATH", "make")
		if c.name != "root" {
			c.run(t, "-runsc", "/root/secret", "--", "true").wantError(t, 125, "/root/secret", "make")
			shared := dir + "/shared"
			if err := os.Mkdir(shared, 0o777); err != nil {
				t.Fatal(err)
			}
			c.do(t, spawn{argv: []string{"gvisor-exec", "--", "true"}, env: []string{"XDG_RUNTIME_DIR=" + dir + "/gone"}}).wantError(t, 125, "gone", "XDG_RUNTIME_DIR")
			os.Mkdir(shared+"/gvisor-exec", 0o777)
			os.Chmod(shared+"/gvisor-exec", 0o777)
			c.do(t, spawn{argv: []string{"gvisor-exec", "--", "true"}, env: []string{"XDG_RUNTIME_DIR=" + shared}}).wantError(t, 125, "belongs to", "XDG_RUNTIME_DIR")
			os.Chown(shared+"/gvisor-exec", c.uid, c.gid)
			c.do(t, spawn{argv: []string{"gvisor-exec", "--", "true"}, env: []string{"XDG_RUNTIME_DIR=" + shared}}).wantError(t, 125, "0777", "XDG_RUNTIME_DIR")
		}
	})
}

// Without XDG_RUNTIME_DIR the state is in /tmp, in a directory that is checked.
func TestStateWithoutRuntimeDir(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := fmt.Sprintf("/tmp/gvisor-exec-%d", c.uid)
		defer os.RemoveAll(dir)
		c.do(t, spawn{argv: []string{"gvisor-exec", "--", "echo", "a"}, env: []string{"XDG_RUNTIME_DIR="}}).want(t, 0, "a\n", "")
		if c.name == "root" {
			return
		}
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Fatalf("%v, %v: want a directory of mode 0700", info, err)
		}
		// Somebody else sits on the name.
		os.RemoveAll(dir)
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		c.do(t, spawn{argv: []string{"gvisor-exec", "--", "echo", "b"}, env: []string{"XDG_RUNTIME_DIR="}}).want(t, 0, "b\n", "")
		left, _ := filepath.Glob(dir + "-*")
		if len(left) > 0 {
			t.Errorf("%q are left", left)
		}
	})
}

func TestArgumentsAreVerbatim(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		args := []string{"a b", "new\nline", `quo"te'`, "-leading", "--", "", "ü,:\\", strings.Repeat("x", 4096), "exec", "$HOME"}
		o := c.run(t, append([]string{"exec", "--", "printf", "%s\\0"}, args...)...)
		o.want(t, 0, strings.Join(args, "\x00")+"\x00", "")
		// A command that has the name of a verb of ours, in both forms.
		c.run(t, "--", "exec").wantError(t, 127, "exec", "")
		c.run(t, "--", "echo", "--", "x").want(t, 0, "-- x\n", "")
	})
}

func TestEnvironment(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		env := []string{"SECRET=1", "LC_TIME=C", "TZ=UTC", "PASS=me", "EMPTY="}
		o := c.do(t, spawn{env: env, argv: []string{"gvisor-exec", "-env", "A=1", "-env", "A=2=3", "-env-inherit", "PASS", "-env-inherit", "UNSET", "-env-inherit", "EMPTY", "--", "/usr/bin/env", "-0"}})
		lines := strings.SplitAfter(o.stdout, "\x00") // in no order
		slices.Sort(lines)
		o.stdout = strings.Join(lines, "")
		want := strings.Join([]string{"A=2=3", "EMPTY=", "HOME=/tmp", "LANG=C.UTF-8", "LC_TIME=C", "PASS=me",
			"PATH=" + binDir + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "TZ=UTC"}, "\x00") + "\x00"
		o.want(t, 0, want, "")
		big := strings.Repeat("x", 100<<10)
		c.run(t, "-env", "BIG="+big, "--", "sh", "-c", "echo ${#BIG}").want(t, 0, fmt.Sprintln(len(big)), "")
	})
}

// Flags before the verb and behind it reach the same place; the later wins.
func TestFlagsBeforeTheVerb(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.run(t, "-hostname", "outer", "exec", "--", "hostname").want(t, 0, "outer\n", "")
		c.run(t, "-hostname", "outer", "exec", "--hostname=inner", "--", "hostname").want(t, 0, "inner\n", "")
		c.run(t, "-hostname", "short", "--", "hostname").want(t, 0, "short\n", "")
		c.run(t, "--", "hostname").want(t, 0, "gvisor-exec\n", "")
	})
}

func TestUser(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.run(t, "--", "sh", "-c", "id -u; id -g; grep CapEff /proc/self/status").want(t, 0, "0\n0\nCapEff:\t0000000000000000\n", "")
		c.run(t, "-uid", "1234", "-gid", "77", "--", "sh", "-c", "touch /tmp/f; stat -c %u:%g /tmp/f").want(t, 0, "1234:77\n", "")
		c.run(t, "-cap-add", "chown", "--", "sh", "-c", "touch /tmp/f; chown 5:6 /tmp/f; stat -c %u:%g /tmp/f").want(t, 0, "5:6\n", "")
	})
}

// The command takes over umask and limits; what it changes is its own.
func TestInherited(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.shell(t, "", `umask 027; $G -- sh -c 'umask; touch /tmp/f; stat -c %a /tmp/f'`).want(t, 0, "0027\n640\n", "")
		c.shell(t, "", `ulimit -Sn 512; ulimit -c 0; ulimit -Sf 4096; $G -- bash -c 'ulimit -Sn; ulimit -c; ulimit -f'`).want(t, 0, "512\n0\n4096\n", "")
		c.shell(t, "", `ulimit -v 20000000; $G -- bash -c 'ulimit -v'`).want(t, 0, "20000000\n", "")
		// No descriptor leaks in without being asked for.
		c.shell(t, "", `exec 5</etc/passwd 7</etc/group; $G -- sh -c 'for f in /dev/fd/*; do test -e $f && echo ${f##*/}; done; true'`).want(t, 0, "0\n1\n2\n", "")
	})
}

func TestPreserveFDs(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.shell(t, dir, `exec 5>out; $G -preserve-fds 3 -- sh -c 'echo one >&5'; echo two >&5; cat out`).want(t, 0, "one\ntwo\n", "")
		c.shell(t, dir, `printf 'l1\nl2\n' > in; exec 3<in; $G -preserve-fds 1 -- sh -c 'read x <&3; echo in:$x'; read y <&3; echo out:$y`).want(t, 0, "in:l1\nout:l2\n", "")
		c.shell(t, dir, `$G -preserve-fds 61 -- diff <(echo a) <(echo b)`).want(t, 1, "1c1\n< a\n---\n> b\n", "")
	})
}

func TestPlatforms(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, p := range []string{"systrap", "ptrace"} {
			c.run(t, "-platform", p, "--", "echo", p).want(t, 0, p+"\n", "")
		}
	})
}

func TestShowing(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		o := c.run(t, "-verbose", "--", "true")
		if o.status != 0 || !strings.Contains(o.stderr, "--bundle=") || !strings.Contains(o.stderr, "PID and mount") {
			t.Errorf("-verbose: %d, %q", o.status, o.stderr)
		}
		o = c.run(t, "-trace", "--", "echo", "traced")
		if o.stdout != "traced\n" || !strings.Contains(o.stderr, "write(0x1") || !strings.Contains(o.stderr, "execve") && !strings.Contains(o.stderr, "exit_group") {
			t.Errorf("-trace: %q, %.2000q", o.stdout, o.stderr)
		}
		o = c.run(t, "-print-spec", "-ro-bind", "/etc:/x", "--", "echo", "a")
		if o.status != 0 || !strings.Contains(o.stdout, `"destination": "/x"`) || !strings.Contains(o.stdout, `"--pass-fd=3:0"`) {
			t.Errorf("-print-spec: %d, %q", o.status, o.stdout)
		}
		for _, flag := range []string{"-keep-bundle", "-debug"} {
			o = c.run(t, flag, "--", "true")
			_, dir, found := strings.Cut(strings.TrimSpace(o.stderr), "kept: ")
			if !found || !fileExists(dir+"/bundle/config.json") {
				t.Errorf("%s: %q", flag, o.stderr)
				continue
			}
			if logs, _ := filepath.Glob(dir + "/log.*"); flag == "-debug" && len(logs) < 2 {
				t.Errorf("-debug: no logs in %s", dir)
			}
			c.run(t, "--", "true").want(t, 0, "", "")
			if !fileExists(dir) {
				t.Errorf("%s was swept", dir)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestCLIExamples runs the table in the README as it stands there.
func TestCLIExamples(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.file(t, dir+"/script.sh", "echo from a script\n", 0o644)
		c.file(t, dir+"/main.c", "#include <stdio.h>\nint main() { puts(\"built\"); }\n", 0o644)
		c.file(t, dir+"/Makefile", "main: main.c\n\tgcc -o $@ $<\n", 0o644)
		if o := c.shell(t, dir, `gvisor-exec exec -- uname -a`); !strings.Contains(o.stdout, "gvisor") {
			t.Errorf("uname: %+v", o)
		}
		c.shell(t, dir, `cat script.sh | gvisor-exec exec -- /bin/sh`).want(t, 0, "from a script\n", "")
		c.shell(t, dir, `gvisor-exec exec -- /bin/sh $PWD/script.sh`).want(t, 0, "from a script\n", "")
		c.shell(t, dir, `echo 'print(1+1)' | gvisor-exec exec -- python3`).want(t, 0, "2\n", "")
		c.shell(t, dir, `gvisor-exec exec -bind "$PWD:/mnt" -cwd /mnt -- make && ls`).want(t, 0, "gcc -o main main.c\nMakefile\nmain.c\nscript.sh\n", "")
		c.shell(t, dir, `gvisor-exec exec -ro-bind "$PWD:/mnt" -cwd /tmp -- sh -c 'cp /mnt/*.c . && gcc *.c -o out && tar c out' | tar x && ./out`).want(t, 0, "built\n", "")
		if o := c.shell(t, dir, `gvisor-exec exec -- sh -c 'uname -r; id; ls /proc | grep -cE "^[0-9]+$"'`); !strings.Contains(o.stdout, "gvisor\nuid=0(root)") {
			t.Errorf("isolation: %+v", o)
		}
	})
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
