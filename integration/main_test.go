// Package integration tests gvisor-exec against the real runsc, as root and as
// an ordinary user. Start reading at each and run.
package integration

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// testUser is the ordinary user of the tests, made where it is missing. Two test
// runs at once need two of them.
var testUser = cmp.Or(os.Getenv("GVISOR_EXEC_TEST_USER"), "gvisor-exec-test")

var (
	// binDir holds copies of the binaries that every user can execute: the
	// checkout may be below a directory that only root enters.
	binDir string
	// callers are those that every test runs as.
	callers []*caller
)

// caller is somebody who runs gvisor-exec.
type caller struct {
	name     string
	uid, gid int
	home     string
	runtime  string // XDG_RUNTIME_DIR
	state    string // our state directory below it, or /run
	overlay  string
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if err := setUp(); err != nil {
			fmt.Fprintln(os.Stderr, "cannot set up the tests:", err)
			return 1
		}
		defer os.RemoveAll(binDir)
		return m.Run()
	}())
}

func setUp() (err error) {
	// What is open here by chance reaches no command of a test.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	if binDir, err = os.MkdirTemp("/var/tmp", "gvisor-exec-test-"); err != nil {
		return err
	}
	if err := os.Chmod(binDir, 0o755); err != nil {
		return err
	}
	from := os.Getenv("GVISOR_EXEC_BIN")
	if from == "" {
		from = "../bin"
	}
	for _, name := range []string{"gvisor-exec", "runsc"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return fmt.Errorf("%w: run make build first", err)
		}
		if err := os.WriteFile(filepath.Join(binDir, name), data, 0o755); err != nil {
			return err
		}
	}
	if os.Getuid() != 0 {
		home, _ := os.UserHomeDir()
		runtime := os.Getenv("XDG_RUNTIME_DIR")
		callers = []*caller{{name: "user", uid: os.Getuid(), gid: os.Getgid(), home: home, runtime: runtime,
			state: filepath.Join(runtime, "gvisor-exec"), overlay: filepath.Join(home, ".cache/gvisor-exec")}}
		return nil
	}
	ordinary, err := makeUser()
	if err != nil {
		return err
	}
	callers = []*caller{
		{name: "root", home: "/root", state: "/run/gvisor-exec", overlay: "/var/cache/gvisor-exec"},
		ordinary,
	}
	return nil
}

func makeUser() (*caller, error) {
	u, err := user.Lookup(testUser)
	if err != nil {
		if out, err := exec.Command("useradd", "-m", "-s", "/bin/bash", testUser).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("useradd: %w: %s", err, out)
		}
		if u, err = user.Lookup(testUser); err != nil {
			return nil, err
		}
	}
	c := &caller{name: "user", home: u.HomeDir}
	c.uid, _ = strconv.Atoi(u.Uid)
	c.gid, _ = strconv.Atoi(u.Gid)
	c.runtime = "/run/user/" + u.Uid
	c.state = filepath.Join(c.runtime, "gvisor-exec")
	c.overlay = filepath.Join(c.home, ".cache/gvisor-exec")
	if err := os.MkdirAll(c.runtime, 0o700); err != nil {
		return nil, err
	}
	return c, os.Chown(c.runtime, c.uid, c.gid)
}

// each runs test as root and as an ordinary user, and looks afterwards whether
// anything is left.
func each(t *testing.T, test func(t *testing.T, c *caller)) {
	t.Helper()
	for _, c := range callers {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() { c.checkClean(t) }) // after the test's own
			test(t, c)
		})
	}
	if len(callers) == 1 {
		t.Run("root", func(t *testing.T) { probe.Skip(t, probe.Root()) })
	}
}

// env is the environment that a caller's shell would have.
func (c *caller) env(extra ...string) []string {
	env := []string{
		"HOME=" + c.home, "PATH=" + binDir + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"G=" + filepath.Join(binDir, "gvisor-exec"), "LANG=C.UTF-8", "TERM=xterm",
	}
	if c.runtime != "" {
		env = append(env, "XDG_RUNTIME_DIR="+c.runtime)
	}
	return append(env, extra...)
}

// dir makes a directory that belongs to the caller and that a sandbox sees: not
// below /tmp.
func (c *caller) dir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "gvisor-exec-dir-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(os.Chown(dir, c.uid, c.gid), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// file writes a file of the caller's.
func (c *caller) file(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode),
		os.Chown(path, c.uid, c.gid), os.Chown(filepath.Dir(path), c.uid, c.gid)); err != nil {
		t.Fatal(err)
	}
	return path
}

// outcome of a command.
type outcome struct {
	stdout, stderr string
	status         int
}

// spawn is a command that a caller is to run.
type spawn struct {
	dir   string
	env   []string
	stdin string
	argv  []string
}

// deadline is for what takes seconds at most; it is there so that a hang fails.
const deadline = 30 * time.Second

func (c *caller) command(ctx context.Context, s spawn) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.argv[0], s.argv[1:]...)
	if !strings.Contains(s.argv[0], "/") {
		if p := filepath.Join(binDir, s.argv[0]); fileExists(p) {
			cmd.Path, cmd.Err = p, nil
		}
	}
	cmd.Dir, cmd.Env = s.dir, c.env(s.env...)
	if cmd.Dir == "" {
		cmd.Dir = c.home
	}
	cmd.Stdin = strings.NewReader(s.stdin)
	cmd.SysProcAttr = c.attr()
	cmd.WaitDelay = time.Second // what a command leaves may hold its pipes
	return cmd
}

func (c *caller) attr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 && c.uid != 0 {
		attr.Credential = &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.gid)}
	}
	return attr
}

func fileExists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}

// do runs s to its end.
func (c *caller) do(t *testing.T, s spawn) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := c.command(ctx, s)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%q hangs\nstdout: %s\nstderr: %s", s.argv, stdout.String(), stderr.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v", s.argv, err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run runs gvisor-exec with args.
func (c *caller) run(t *testing.T, args ...string) outcome {
	t.Helper()
	return c.do(t, spawn{argv: append([]string{"gvisor-exec"}, args...)})
}

// shell runs a script in bash, in which $G is gvisor-exec.
func (c *caller) shell(t *testing.T, dir, script string) outcome {
	t.Helper()
	return c.do(t, spawn{dir: dir, argv: []string{"/bin/bash", "-c", script}})
}

// want checks an outcome; a stderr of "*" is not looked at.
func (o outcome) want(t *testing.T, status int, stdout, stderr string) {
	t.Helper()
	if o.status != status || o.stdout != stdout || stderr != "*" && o.stderr != stderr {
		t.Errorf("got status %d, stdout %.1000q, stderr %.1000q\nwant status %d, stdout %.1000q, stderr %.1000q",
			o.status, o.stdout, o.stderr, status, stdout, stderr)
	}
}

// wantError checks a failure of ours: the status, one line with the words, and
// a hint line if hint is not empty.
func (o outcome) wantError(t *testing.T, status int, words, hint string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
	ok := o.status == status && o.stdout == "" && strings.HasPrefix(lines[0], "gvisor-exec: ") && strings.Contains(lines[0], words)
	if hint == "" {
		ok = ok && len(lines) == 1
	} else {
		ok = ok && len(lines) == 2 && strings.HasPrefix(lines[1], "hint: ") && strings.Contains(lines[1], hint)
	}
	if !ok {
		t.Errorf("got status %d, stdout %q, stderr %q\nwant status %d, an error with %q and a hint with %q",
			o.status, o.stdout, o.stderr, status, words, hint)
	}
}

// checkClean fails the test if anything of ours is left on the host.
func (c *caller) checkClean(t *testing.T) {
	t.Helper()
	// The kernel may need a moment to take down what has been killed.
	end := time.Now().Add(3 * time.Second)
	for left := processes(); len(left) > 0; left = processes() {
		if time.Now().After(end) {
			t.Errorf("processes are left: %q", left)
			break
		}
		time.Sleep(5 * time.Millisecond) // a poll: nothing announces it
	}
	for _, dir := range []string{c.state, c.overlay} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.Name() != "lock" {
				t.Errorf("%s/%s is left", dir, e.Name())
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, c.state+"/") {
			t.Errorf("a mount is left: %s", line)
		}
	}
}

// processes describes all processes of our binaries. One that is dying has lost
// its exe link before it closes its files, and with them its locks; so what
// counts then is its name.
func processes() []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err == nil && !strings.HasPrefix(exe, binDir+"/") {
			continue
		}
		stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
		_, rest, _ := strings.Cut(string(stat), " (")
		name, state, _ := strings.Cut(rest, ") ")
		ours := name == "gvisor-exec" || name == "runsc" || name == "exe" || strings.HasPrefix(name, "runsc-")
		if err != nil && (!ours || strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")) {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		found = append(found, name+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
	}
	return found
}

// eventually waits, for as long as a test may hang, until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(deadline)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, deadline)
		}
		time.Sleep(5 * time.Millisecond) // a poll: nothing announces it
	}
}
