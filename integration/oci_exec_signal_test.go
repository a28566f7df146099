package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// engine is the beginning of a Python script that stands for conmon: a subreaper,
// which waits for the pid in the pid file, and for all that it inherits.
const engine = `
import ctypes, os, signal, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
G = os.environ["G"]
def run(*command, **more):
    args = [G, "exec", "-d", "--pid-file", "p", *more.pop("flags", []), "x", *command]
    subprocess.run(args, check=True, stdin=subprocess.DEVNULL, **{"stdout": subprocess.DEVNULL, **more})
    return int(open("p").read())
def script(words):
    r, w = os.pipe()
    pid = run("sh", "-c", words, stdout=w)
    os.close(w)
    return pid, os.fdopen(r)
def status(pid, options=0):
    return os.waitstatus_to_exitcode(os.waitpid(pid, options)[1])
def inside():
    return subprocess.run([G, "exec", "x", "ps"], check=True, capture_output=True, text=True).stdout
def reap():
    try:
        while os.waitpid(-1, 0): pass
    except ChildProcessError: pass
`

// engine runs a script in the name of an engine.
func (c *caller) engine(t *testing.T, dir, script string) {
	t.Helper()
	c.do(t, spawn{dir: dir, argv: []string{"/usr/bin/python3", "-c", engine + script}}).want(t, 0, "", "")
}

// A signal to the pid of a detached process is one to the process inside.
func TestOCIExecDetachedSignals(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", "exec sleep 1000", nil)
		c.engine(t, dir, `
for s, want in (signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGQUIT, 131), (signal.SIGALRM, 142), (37, 130), (signal.SIGKILL, -9):
    pid = run("sleep", "78")
    os.kill(pid, s)
    assert (got := status(pid)) == want, (s, got)
    reap() # the guard, which has done it when it ends
    assert "sleep 78" not in (ps := inside()), (s, ps)
`)
	})
}

func TestOCIExecDetachedTrap(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", "exec sleep 1000", nil)
		c.engine(t, dir, `
loop = "echo ready; while :; do sleep 0.05; done"
pid, out = script('trap "echo term; exit 5" TERM; trap "echo usr" USR1; ' + loop)
assert out.readline() == "ready\n"
os.kill(pid, signal.SIGWINCH)
os.kill(pid, 40) # gVisor has no such signals
os.kill(pid, signal.SIGUSR1)
assert out.readline() == "usr\n"
os.kill(pid, signal.SIGTERM)
assert out.read() == "term\n"
assert status(pid) == 5
reap()

pid, out = script('trap "" TERM; ' + loop)
assert out.readline() == "ready\n"
os.kill(pid, signal.SIGTERM)
os.kill(pid, signal.SIGINT)
assert status(pid) == 130 # it came after the one that is ignored
assert out.read() == ""
`)
	})
}

// What has been stopped goes on, and can be killed in between.
func TestOCIExecDetachedStop(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", "exec sleep 1000", nil)
		c.engine(t, dir, `
for last, want in (signal.SIGTERM, 143), (signal.SIGKILL, -9):
    pid = run("sleep", "78")
    os.kill(pid, signal.SIGSTOP)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    assert "sleep 78" in inside()
    if last == signal.SIGTERM:
        os.kill(pid, signal.SIGCONT)
    os.kill(pid, last)
    assert (got := status(pid)) == want, got
    reap()
    assert "sleep 78" not in inside()
`)
	})
}

// A paused container's process gets its signals when that goes on.
func TestOCIExecDetachedPaused(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", "exec sleep 1000", nil)
		c.engine(t, dir, `
def verb(*words): subprocess.run([G, *words, "x"], check=True)
pids = [run("sleep", "78") for _ in range(2)]
verb("pause")
os.kill(pids[0], signal.SIGKILL)
os.kill(pids[1], signal.SIGTERM)
assert status(pids[0]) == -9
verb("resume")
assert status(pids[1]) == 143
reap()
assert "sleep 78" not in inside()

# and nobody is left who waits where it does not go on
pids = [run("sleep", "78") for _ in range(2)]
verb("pause")
os.kill(pids[0], signal.SIGKILL)
os.kill(pids[1], signal.SIGTERM)
subprocess.run([G, "kill", "x", "KILL"], check=True)
assert status(pids[1]) == 137
reap()
`)
	})
}

// Whatever ends, the rest ends with it.
func TestOCIExecDetachedEnds(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", "exec sleep 1000", nil)
		c.engine(t, dir, `
def children(pid):
    return [int(p) for p in open(f"/proc/{pid}/task/{pid}/children").read().split()]
def named(pid, word):
    return word in open(f"/proc/{pid}/cmdline").read()

pid = run("true")
assert status(pid) == 0

# runsc itself is killed
pid = run("sleep", "78")
[runsc] = [p for p in children(pid) if named(p, "internal-pid-file")]
os.kill(runsc, signal.SIGKILL)
assert status(pid) == 137
assert "sleep 78" not in inside()

# the guard is killed
pid = run("sleep", "78")
[guard] = [p for p in children(pid) if named(p, "guard")]
os.kill(guard, signal.SIGKILL)
os.kill(pid, signal.SIGTERM)
assert status(pid) == 143

# the process is killed inside
pid = run("sh", "-c", "kill -9 $$")
assert status(pid) == 137
`)
		for _, p := range processes() {
			if strings.Contains(p, "internal-pid-file") || strings.Contains(p, "gvisor-exec-") && !strings.Contains(p, "runsc-") {
				t.Errorf("%s is left", p)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(c.state, "oci/x/exec-*")); len(left) > 0 {
			t.Errorf("%q is left", left)
		}
		c.engine(t, dir, `
pids = [run("sleep", "78") for _ in range(3)]
os.kill(pids[0], signal.SIGSTOP)
subprocess.run([G, "delete", "-f", "x"], check=True)
for pid in pids:
    assert (got := status(pid)) == 137, got
reap()
`)
	})
}

// Descriptors reach a detached process, and nobody else keeps them.
func TestOCIExecDetachedDescriptors(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", "exec sleep 1000", nil)
		c.engine(t, dir, `
r, w = os.pipe()
hold = [os.dup(r), os.dup(w), os.open("/etc/hostname", os.O_RDONLY)]
os.dup2(hold[1], 3) # which r and w may be
os.dup2(hold[2], 4)
pid = run("sh", "-c", "cat <&4 >&3", flags=["--preserve-fds", "2"], pass_fds=[3, 4])
for fd in {3, 4, w, hold[1]}: os.close(fd)
assert os.fdopen(hold[0]).read() == open("/etc/hostname").read() != ""
assert status(pid) == 0

pid, out = script("echo ready; exec sleep 78")
os.kill(pid, signal.SIGKILL)
assert out.read() == "ready\n" # and it ends
reap()
for command, words in ("nosuch", "executable file not found"), ("/etc/passwd", "permission denied"):
    o = subprocess.run([G, "exec", "-d", "--pid-file", "none", "x", command], capture_output=True, text=True)
    assert o.returncode == 255 and words in o.stderr, o
assert not os.path.exists("none")
reap()
`)
	})
}

// Nobody is left who writes the pid file where that cannot be.
func TestOCIExecPidFileFails(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", "exec sleep 1000", nil)
		for _, flags := range []string{"-d", "--cwd=/"} {
			o := c.do(t, spawn{dir: dir, argv: []string{"gvisor-exec", "exec", flags, "--pid-file", "no/such", "x", "sleep", "78"}})
			o.wantError(t, 255, "cannot write the pid file", "")
		}
		if o := c.run(t, "exec", "x", "ps"); strings.Contains(o.stdout, "sleep 78") {
			t.Errorf("%+v", o)
		}
	})
}

// In the foreground, too, the pid file names who brings the signals.
func TestOCIExecForegroundPid(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", "exec sleep 1000", nil)
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			file := filepath.Join(dir, s.String())
			cmd := c.command(ctx, spawn{dir: dir, argv: []string{"gvisor-exec", "exec", "--pid-file", file, "x", "sleep", "78"}})
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a pid file", func() bool { return fileExists(file) })
			pid, _ := strconv.Atoi(read(t, file))
			syscall.Kill(pid, s)
			cmd.Wait()
			if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.ExitStatus() != 143 && ws.Signal() != s {
				t.Errorf("%v: %v", s, cmd.ProcessState)
			}
			eventually(t, "its end inside", func() bool { return !strings.Contains(c.run(t, "exec", "x", "ps").stdout, "sleep 78") })
		}
	})
}

// execPid returns the pid of a detached process of podman's.
func (p *plainPodman) execPid(t *testing.T, session string) int {
	t.Helper()
	root := p.global[slices.Index(p.global, "--root")+1]
	var pid int
	eventually(t, "podman's pid file", func() bool {
		files, _ := filepath.Glob(filepath.Join(root, "*-containers/*/userdata", session, "exec_pid"))
		if len(files) != 1 {
			return false
		}
		data, _ := os.ReadFile(files[0])
		pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
		return pid > 0
	})
	return pid
}

func TestPodmanExecSignals(t *testing.T) {
	eachPlainPodman(t, func(t *testing.T, p *plainPodman) {
		p.ok(t, "run", "-d", "--name", "c", image, "sleep", "1000")
		for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			pid := p.execPid(t, strings.TrimSpace(p.ok(t, "exec", "-d", "c", "sleep", "78")))
			if err := syscall.Kill(pid, s); err != nil {
				t.Errorf("%v: %v", s, err)
			}
			eventually(t, fmt.Sprint("the end by ", s), func() bool { return !strings.Contains(p.ok(t, "exec", "c", "ps"), "sleep 78") })
		}
		pid := p.execPid(t, strings.TrimSpace(p.ok(t, "exec", "-d", "c", "sh", "-c", `trap "echo term > /tmp/f; exit 5" TERM; touch /tmp/ready; while :; do sleep 0.05; done`)))
		eventually(t, "a trap", func() bool { return p.do(t, "exec", "c", "ls", "/tmp/ready").status == 0 })
		syscall.Kill(pid, syscall.SIGTERM)
		eventually(t, "a trap's end", func() bool { return p.do(t, "exec", "c", "cat", "/tmp/f").stdout == "term\n" })

		p.want(t, 137, "", "exec", "c", "sh", "-c", "kill -9 $$")
		p.want(t, 143, "", "exec", "c", "sh", "-c", "kill -TERM $$")
		p.ok(t, "exec", "-d", "c", "sleep", "79")
		p.ok(t, "rm", "-f", "-t", "0", "c")
	})
}

// What podman prints of a process that was signalled is what it prints with runc.
func TestPodmanExecStatus(t *testing.T) {
	eachPlainPodman(t, func(t *testing.T, p *plainPodman) {
		p.ok(t, "run", "-d", "--name", "c", image, "sleep", "1000")
		root := p.global[slices.Index(p.global, "--root")+1]
		for s, status := range map[string]int{"TERM": 143, "KILL": 137} {
			script := fmt.Sprintf(`podman %s exec c sleep 78 & until pid=$(cat %s/*-containers/*/userdata/*/exec_pid) && test "$pid"; do :; done 2> /dev/null; kill -%s $pid; wait $!`,
				strings.Join(p.global, " "), root, s)
			p.c.shell(t, "", script).want(t, status, "", "*")
		}
	})
}
