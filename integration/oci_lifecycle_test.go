package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A container by hand: of the spec that `spec` writes, of a rootless one, and
// without any namespace of users.
func TestOCILifecycle(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, specArgs := range [][]string{nil, {"--rootless"}} {
			dir := c.bundle(t, "echo started; uname -r; id -u; exec sleep 1000", func(s *specs.Spec) { s.Annotations = map[string]string{"a": "b"} }, specArgs...)
			c.create(t, dir, "create", "one", "--pid-file", "pid").want(t, 0, "", "")
			s := c.stateOf(t, "one")
			if s.Status != "created" || s.ID != "one" || s.Bundle != dir || s.Rootfs != dir+"/rootfs" || s.Version != "1.2.1" ||
				s.Annotations["a"] != "b" || s.Owner == "" || time.Since(s.Created) > deadline || read(t, dir+"/pid") != strconv.Itoa(s.Pid) {
				t.Errorf("created: %+v", s)
			}
			c.create(t, dir, "create", "one").wantError(t, 1, "container with given ID already exists", "")
			c.run(t, "start", "one").want(t, 0, "", "")
			awaitOutput(t, dir, "started\n4.19.0-gvisor\n0\n")
			if s := c.stateOf(t, "one"); s.Status != "running" || syscall.Kill(s.Pid, 0) != nil {
				t.Errorf("running: %+v", s)
			}
			c.run(t, "start", "one").wantError(t, 1, "cannot start a container in the running state", "")
			c.run(t, "delete", "one").wantError(t, 1, "that is not stopped", "")
			c.run(t, "exec", "one", "sh", "-c", "echo inside; exit 7").want(t, 7, "inside\n", "")
			if o := c.run(t, "list", "-q"); o.stdout != "one\n" {
				t.Errorf("list: %+v", o)
			}
			c.run(t, "kill", "one", "KILL").want(t, 0, "", "")
			c.await(t, "one", "stopped")
			if s := c.stateOf(t, "one"); s.Pid != 0 {
				t.Errorf("stopped: %+v", s)
			}
			c.run(t, "kill", "one", "9").wantError(t, 1, "container not running", "")
			c.run(t, "start", "one").wantError(t, 1, "cannot start a container that has stopped", "")
			c.run(t, "exec", "one", "true").wantError(t, 255, "cannot exec in a stopped container", "")
			c.run(t, "delete", "one").want(t, 0, "", "")
			c.gone(t, "one")
		}
	})
}

func TestOCIErrors(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, verb := range []string{"start", "state", "kill", "delete", "ps", "pause", "resume", "update", "events", "checkpoint"} {
			c.run(t, verb, "nosuch").wantError(t, 1, `container "nosuch" does not exist`, "")
		}
		c.run(t, "exec", "nosuch", "true").wantError(t, 255, `container "nosuch" does not exist`, "--")
		c.run(t, "delete", "--force", "nosuch").want(t, 0, "", "")
		c.run(t, "state", "a/b").wantError(t, 1, "invalid container ID format", "")
		c.run(t, "state").wantError(t, 1, "0 arguments", "gvisor-exec state")
		c.run(t, "state", "--nope", "x").wantError(t, 1, "nope", "")
		c.run(t, "kill", "x", "NOPE").wantError(t, 1, "unknown signal", "")
		empty := c.dir(t)
		c.create(t, empty, "create", "x").wantError(t, 1, "JSON specification file config.json not found", "")
		// The words by which podman tells 127 and 126.
		for command, words := range map[string]string{
			"nosuch":      `exec: "nosuch": executable file not found in $PATH`,
			"/nosuch":     `exec: "/nosuch": stat /nosuch: no such file or directory`,
			"/etc/passwd": `exec: "/etc/passwd": permission denied`,
			"/etc":        `exec: "/etc": permission denied`,
		} {
			dir := c.bundle(t, "", func(s *specs.Spec) { s.Process.Args = []string{command} })
			c.create(t, dir, "--log", "log", "--log-format", "json", "create", "x").wantError(t, 1, words, "")
			var line struct{ Level, Msg, Time string }
			if err := json.Unmarshal([]byte(read(t, dir+"/log")), &line); err != nil || line.Level != "error" || !strings.Contains(line.Msg, words) || line.Time == "" {
				t.Errorf("%s: log %+v, %v", command, line, err)
			}
			c.gone(t, "x")
		}
		dir := c.bundle(t, "", func(s *specs.Spec) { s.Process = nil })
		c.create(t, dir, "create", "x").want(t, 0, "", "")
		c.run(t, "start", "x").wantError(t, 1, "without a process", "")
		c.run(t, "delete", "x").want(t, 0, "", "")
	})
}

// Ids match exactly, not by their beginnings.
func TestOCIExactIDs(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.started(t, "abc", "exec sleep 1000", nil)
		c.started(t, "abcd", "exec sleep 1000", nil)
		c.gone(t, "ab")
		c.run(t, "kill", "abc", "KILL").want(t, 0, "", "")
		c.await(t, "abc", "stopped")
		if s := c.stateOf(t, "abcd"); s.Status != "running" {
			t.Errorf("%+v", s)
		}
	})
}

func TestOCIKill(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "exec sleep 1000", nil)
		for _, sig := range []string{"KILL", "SIGTERM", "2"} {
			c.create(t, dir, "create", "x").want(t, 0, "", "")
			c.run(t, "kill", "x", "0").want(t, 0, "", "")
			c.run(t, "kill", "x", "WINCH").want(t, 0, "", "")
			if s := c.stateOf(t, "x"); s.Status != "created" {
				t.Errorf("after WINCH: %+v", s)
			}
			c.run(t, "kill", "x", sig).want(t, 0, "", "")
			c.await(t, "x", "stopped")
			c.run(t, "delete", "x").want(t, 0, "", "")
		}
		dir = c.started(t, "y", `trap "echo hup" HUP; trap "echo int" INT; echo ready; while :; do sleep 0.05; done`, nil)
		awaitOutput(t, dir, "ready")
		for sig, word := range map[string]string{"HUP": "hup", "SIGRTMIN+3": "int"} {
			c.run(t, "kill", "y", sig).want(t, 0, "", "")
			awaitOutput(t, dir, word)
		}
		c.run(t, "kill", "y", "40").wantError(t, 1, "real-time", "")
		c.run(t, "kill", "y", "0").want(t, 0, "", "")
		c.run(t, "kill", "--all", "y", "KILL").want(t, 0, "", "")
		c.await(t, "y", "stopped")
		c.run(t, "kill", "-a", "y", "9").want(t, 0, "", "")
	})
}

func TestOCIPause(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", `trap "echo hup" HUP; echo ready; while :; do sleep 0.05; done`, nil)
		awaitOutput(t, dir, "ready")
		c.run(t, "resume", "x").wantError(t, 1, "not paused", "")
		c.run(t, "pause", "x").want(t, 0, "", "")
		if s := c.stateOf(t, "x"); s.Status != "paused" || s.Pid == 0 {
			t.Errorf("%+v", s)
		}
		c.run(t, "exec", "x", "true").wantError(t, 255, "paused", "")
		c.run(t, "kill", "x", "HUP").want(t, 0, "", "")
		c.run(t, "resume", "x").want(t, 0, "", "")
		awaitOutput(t, dir, "hup")
		c.run(t, "pause", "x").want(t, 0, "", "")
		c.run(t, "kill", "x", "9").want(t, 0, "", "")
		c.await(t, "x", "stopped")
	})
}

// A sandbox whose parent has not waited for it has stopped all the same.
func TestOCIZombie(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "exec sleep 1000", nil)
		// Who waits for nothing here is Python, as a subreaper.
		c.do(t, spawn{dir: dir, argv: []string{"/usr/bin/python3", "-c", fmt.Sprintf(`
import ctypes, subprocess, sys, time, json
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
g = %q
null = subprocess.DEVNULL
for verb in ["create", "start"]: subprocess.run([g, verb, "z"], check=True, stdin=null, stdout=null)
subprocess.run([g, "kill", "z", "KILL"], check=True)
while True:
    s = json.loads(subprocess.check_output([g, "state", "z"]))
    if s["status"] == "stopped": break
assert s["pid"] == 0
subprocess.run([g, "delete", "z"], check=True)
`, filepath.Join(binDir, "gvisor-exec"))}}).want(t, 0, "", "")
	})
}

// What create decided is on disk: podman calls later verbs without PATH or HOME.
func TestOCIBareEnvironment(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.started(t, "x", "exec sleep 1000", nil)
		for _, verb := range []string{"pause x", "resume x", "kill x KILL", "delete -f x"} {
			runtimeDir := "XDG_RUNTIME_DIR=" + c.runtime
			argv := append([]string{"/usr/bin/env", "-i", runtimeDir, filepath.Join(binDir, "gvisor-exec")}, strings.Fields(verb)...)
			c.do(t, spawn{argv: argv}).want(t, 0, "", "")
		}
	})
}

func TestOCIRoot(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "exec sleep 1000", nil)
		root := filepath.Join(c.dir(t), strings.Repeat("a-long-name/", 12), "detach")
		c.create(t, dir, "--root", root, "create", "x").want(t, 0, "", "")
		c.gone(t, "x")
		c.run(t, "--root", root, "start", "x").want(t, 0, "", "")
		c.run(t, "--root", root, "exec", "x", "true").want(t, 0, "", "")
		c.run(t, "--root", root, "exec", "-d", "x", "true").want(t, 0, "", "")
		c.run(t, "--root", root, "delete", "--force", "x").want(t, 0, "", "")
		if fileExists(root) {
			t.Errorf("%s is left", root)
		}
	})
}

// Twenty containers at once, each with its own life.
func TestOCITwentyAtOnce(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "exec sleep 1000", nil)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				id := fmt.Sprint("c", i)
				for _, verb := range []string{"run -d -b " + dir + " " + id, "exec " + id + " true", "kill " + id + " KILL", "delete -f " + id} {
					out := c.do(t, spawn{argv: []string{"/bin/sh", "-c", "$G " + verb + " < /dev/null > /dev/null 2> " + dir + "/err-" + id}})
					if out.status != 0 {
						t.Errorf("%s: %s", verb, read(t, dir+"/err-"+id))
					}
				}
			})
		}
		wg.Wait()
	})
}

// Whenever create is killed, delete --force leaves nothing.
func TestOCIKilledCreate(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "exec sleep 1000", nil)
		for range 12 {
			cmd := c.command(t.Context(), spawn{dir: dir, argv: []string{"gvisor-exec", "create", "x"}})
			cmd.Stdin = nil
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(rand.N(120 * time.Millisecond)) // the random moment is the test
			cmd.Process.Kill()
			cmd.Wait()
			c.run(t, "delete", "--force", "x").want(t, 0, "", "*")
			eventually(t, "no process", func() bool {
				// runsc create may have been about to go on.
				c.run(t, "delete", "--force", "x")
				return len(processes()) == 0
			})
			c.gone(t, "x")
		}
	})
}

// A sandbox that is killed from outside has stopped, and can be deleted.
func TestOCIKilledSandbox(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.started(t, "x", "exec sleep 1000", nil)
		syscall.Kill(c.stateOf(t, "x").Pid, syscall.SIGKILL)
		c.await(t, "x", "stopped")
		c.run(t, "delete", "x").want(t, 0, "", "")
		// The sentry's stubs end on their own, a little later.
		eventually(t, "no process", func() bool { return len(processes()) == 0 })
	})
}

func TestOCIMessagesGoToTheLog(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.do(t, spawn{dir: dir, argv: []string{"gvisor-exec", "--log", "text", "state", "nosuch"}}).wantError(t, 1, "does not exist", "")
		if line := read(t, filepath.Join(dir, "text")); !strings.Contains(line, "level=error msg=") || strings.Count(line, "\n") != 1 {
			t.Errorf("%q", line)
		}
		if _, err := os.Stat(filepath.Join(dir, "nolog")); err == nil {
			t.Error("a log that nobody asked for")
		}
	})
}
