package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// in runs gvisor-exec with args in a user namespace of the caller's, as its uid
// 0, after setup. The namespace's root may do as he likes to mounts and sysctls
// of his own; gvisor-exec lacks CAP_SYS_ADMIN, as in most containers.
func (c *caller) in(t *testing.T, setup string, args ...string) outcome {
	t.Helper()
	const script = `eval "$0" && exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin gvisor-exec "$@"`
	return c.do(t, spawn{argv: append([]string{"/usr/bin/unshare", "-Urmp", "--fork", "--mount-proc", "/bin/sh", "-c", script, setup}, args...)})
}

func TestNoUserNamespaces(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.in(t, "echo 0 > /proc/sys/user/max_user_namespaces", "--", "true").
			wantError(t, 125, "cannot create a user namespace", "sysctl -w user.max_user_namespaces=15000")
	})
}

// uid 0 of a user namespace is not root: its state is where the caller's is.
func TestRootOfUserNamespace(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		runtime := c.dir(t)
		for _, setpriv := range []string{"", "setpriv --bounding-set -sys_admin --inh-caps -sys_admin "} {
			o := c.do(t, spawn{
				env:  []string{"XDG_RUNTIME_DIR=" + runtime, "XDG_CACHE_HOME=" + runtime},
				argv: []string{"/usr/bin/unshare", "-Ur", "/bin/sh", "-c", setpriv + `gvisor-exec -verbose -- id -u`},
			})
			if o.status != 0 || o.stdout != "0\n" || !strings.Contains(o.stderr, "bundle: "+runtime+"/gvisor-exec/run-") {
				t.Errorf("%q: %+v", setpriv, o)
			}
			if ours := setpriv != ""; strings.Contains(o.stderr, "own namespaces: user") != ours {
				t.Errorf("a user namespace of ours: %v expected: %s", ours, o.stderr)
			}
		}
	})
}

// Where something covers a part of /proc, as in containers, no fresh one may be
// mounted, and a run has no PID namespace; it leaves nothing all the same.
func TestCoveredProc(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		const cover = "mount --bind /dev/null /proc/version"
		o := c.in(t, cover, "-verbose", "--", "sh", "-c", "echo works; exit 3")
		if o.status != 3 || o.stdout != "works\n" || !strings.Contains(o.stderr, "no PID namespace") || strings.Contains(o.stderr, "PID and mount") {
			t.Errorf("%+v", o)
		}
		c.in(t, cover, "-timeout", "500ms", "-kill-after", "100ms", "--", "sh", "-c", "trap '' TERM; while :; do sleep 1; done").want(t, 124, "", "*")
		// Killed, the front takes all with it; the shell is PID 1 and would keep
		// what is left alive, and sees it.
		kill := cover + `; exec 3>&1; setpriv --bounding-set -sys_admin --inh-caps -sys_admin gvisor-exec -- sh -c 'echo up; sleep 1000' > $HOME/up & pid=$!
			until grep -q up $HOME/up; do :; done; rm $HOME/up; kill -9 $pid
			while pgrep runsc >/dev/null; do :; done; echo gone; set -- -- true`
		c.in(t, kill, "x").want(t, 0, "gone\n", "*")
	})
}

func TestNoProc(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.in(t, "mount -t tmpfs none /proc", "--", "true").wantError(t, 125, "/proc/self/exe", "mount -t proc")
	})
}

// A full file system under our state, wherever it strikes, is one line, and
// nothing but the lock is left.
func TestFullState(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		failures := map[string]bool{}
		for inodes := 3; ; inodes++ {
			if inodes > 60 {
				t.Fatal("60 inodes are not enough for a run")
			}
			o := c.in(t, fmt.Sprintf(`export HOME=%s XDG_CACHE_HOME= XDG_RUNTIME_DIR=%[1]s/s
				mount -t tmpfs -o nr_inodes=%d none %[1]s && mkdir -m 700 $XDG_RUNTIME_DIR && exec 3>&1 &&
				{ setpriv --bounding-set -sys_admin --inh-caps -sys_admin gvisor-exec -overlay memory -- true; status=$?
				find $XDG_RUNTIME_DIR ! -type d ! -name lock -o -name 'run-*'; exit $status; }`, dir, inodes))
			if o.status == 0 {
				break
			}
			o.wantError(t, 125, "no space left on device", "make room")
			failures[strings.SplitN(o.stderr, ":", 3)[1]] = true
		}
		if len(failures) < 3 {
			t.Errorf("the full file system struck at %v only", failures)
		}
		c.in(t, fmt.Sprintf("export XDG_CACHE_HOME=%s; mount -t tmpfs -o size=64k none %[1]s", dir), "--",
			"sh", "-c", "head -c 1000000 /dev/zero > /var/tmp/f; echo went on").
			want(t, 0, "went on\n", "head: error writing 'standard output': No space left on device\n")
	})
}

// kvm hangs under nested virtualisation; where it works, it works.
func TestKVM(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		began := time.Now()
		o := c.run(t, "-platform", "kvm", "--", "echo", "kvm")
		if o.status == 0 {
			o.want(t, 0, "kvm\n", "")
			return
		}
		o.wantError(t, 125, "kvm", "-platform systrap")
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the error came after %v", took)
		}
	})
}

func TestNotUTF8(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.run(t, "--", "echo", "f\xfcr").wantError(t, 2, `f\xfcr`, "config.json")
		c.run(t, "-env", "A=\xff", "--", "true").wantError(t, 2, `A=\xff`, "config.json")
		dir := c.dir(t)
		c.file(t, dir+"/f\xfcr", "found\n", 0o644)
		c.run(t, "-cwd", dir, "--", "sh", "-c", "cat f*").want(t, 0, "found\n", "")
	})
}

// `make install` puts everything where it is found.
func TestInstall(t *testing.T) {
	dir := callers[0].dir(t)
	cmd := exec.Command("make", "-C", "..", "install", "PREFIX="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v: %s", err, out)
	}
	each(t, func(t *testing.T, c *caller) {
		o := c.do(t, spawn{argv: []string{dir + "/bin/gvisor-exec", "-print-spec", "--", "true"}, env: []string{"PATH=/usr/bin:/bin"}})
		if o.status != 0 {
			t.Errorf("%+v", o)
		}
		c.do(t, spawn{argv: []string{dir + "/bin/gvisor-exec", "--", "echo", "installed"}, env: []string{"PATH=/usr/bin:/bin"}}).want(t, 0, "installed\n", "")
	})
	if left := processes(); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	share := dir + "/share/"
	for _, check := range [][]string{
		{"man", "--warnings", "-l", share + "man/man1/gvisor-exec.1"},
		{"bash", "-n", share + "bash-completion/completions/gvisor-exec"},
		{"zsh", "-n", share + "zsh/site-functions/_gvisor-exec"},
		{"fish", "-n", share + "fish/vendor_completions.d/gvisor-exec.fish"},
	} {
		cmd := exec.Command(check[0], check[1:]...)
		cmd.Env = append(os.Environ(), "MANPAGER=cat", "MANWIDTH=80")
		var complaints strings.Builder
		cmd.Stderr = &complaints
		if out, err := cmd.Output(); err != nil || complaints.Len() > 0 || check[0] == "man" && !strings.Contains(string(out), "EXIT STATUS") {
			t.Errorf("%q: %v, %s", check, err, complaints.String())
		}
	}
	out, err := exec.Command("bash", "-c", `source "$0"; COMP_WORDS=(gvisor-exec -platform ''); COMP_CWORD=2; _gvisor_exec; echo "${COMPREPLY[*]}"`,
		filepath.Join(share, "bash-completion/completions/gvisor-exec")).CombinedOutput()
	if string(out) != "systrap ptrace kvm\n" {
		t.Errorf("completion: %q, %v", out, err)
	}
}
