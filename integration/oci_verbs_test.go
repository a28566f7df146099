//lint:file-ignore SA1019 docker still uses prestart hooks

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestOCIRun(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "cat; echo err >&2; exit 3", nil)
		c.do(t, spawn{dir: dir, stdin: "in\n", argv: []string{"gvisor-exec", "run", "x"}}).want(t, 3, "in\n", "err\n")
		c.gone(t, "x")
		c.do(t, spawn{dir: c.home, argv: []string{"gvisor-exec", "run", "--keep", "--bundle", dir, "x"}}).want(t, 3, "", "err\n")
		if s := c.stateOf(t, "x"); s.Status != "stopped" {
			t.Errorf("%+v", s)
		}
		c.run(t, "delete", "x").want(t, 0, "", "")
		c.shell(t, dir, `echo one > f; $G run x < f >> f; cat f`).want(t, 0, "one\none\n", "err\n")
		dir = c.bundle(t, "exec sleep 1000", nil)
		c.create(t, dir, "run", "--no-pivot", "--no-new-keyring", "--no-subreaper", "-d", "--pid-file", "pid", "x").want(t, 0, "", "")
		if s := c.stateOf(t, "x"); s.Status != "running" || read(t, dir+"/pid") != strconv.Itoa(s.Pid) {
			t.Errorf("%+v", s)
		}
		c.run(t, "delete", "-f", "x").want(t, 0, "", "")
	})
}

func TestOCIRunSignals(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, trapTERM, nil)
		s := c.start(t, "run", "-b", dir, "x")
		s.trapsTERM(t)
	})
}

// The network is what the spec asks for, and flags say otherwise.
func TestOCINetwork(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for name, tt := range map[string]struct {
			flags []string
			host  bool
		}{
			"new namespace": {nil, false}, "host": {[]string{"--network", "host"}, true}, "none": {[]string{"--network=none"}, false},
		} {
			dir := c.bundle(t, "echo lo $(ip -o addr show lo | wc -l); ip -o link | grep -v lo: | wc -l; exec sleep 1000", nil)
			if tt.host {
				dir = c.bundle(t, "ip -o link | wc -l; exec sleep 1000", func(s *specs.Spec) {
					s.Linux.Namespaces = s.Linux.Namespaces[:0]
				})
			}
			c.create(t, dir, append(tt.flags, "create", name[:3])...).want(t, 0, "", "")
			c.run(t, "start", name[:3]).want(t, 0, "", "")
			if tt.host {
				links, _ := os.ReadDir("/sys/class/net")
				awaitOutput(t, dir, fmt.Sprintln(len(links)))
			} else {
				awaitOutput(t, dir, "lo 2\n0\n")
			}
			c.run(t, "delete", "-f", name[:3]).want(t, 0, "", "")
		}
	})
}

// Writes belong to the rootfs, unless an overlay is asked for.
func TestOCIOverlay(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for overlay, kept := range map[string]bool{"": true, "none": true, "memory": false, "self": false} {
			dir := c.bundle(t, "echo x > /new", nil)
			argv := []string{"gvisor-exec", "run", "x"}
			if overlay != "" {
				argv = []string{"gvisor-exec", "--overlay", overlay, "run", "x"}
			}
			c.do(t, spawn{dir: dir, argv: argv}).want(t, 0, "", "")
			if fileExists(dir+"/rootfs/new") != kept {
				t.Errorf("%q: kept %v", overlay, !kept)
			}
			if left, _ := filepath.Glob(dir + "/rootfs/.gvisor*"); len(left) > 0 {
				t.Errorf("%q: %q is left", overlay, left)
			}
		}
	})
}

// Masked and read-only paths, and the sandbox's own kernel files.
func TestOCIPaths(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, `cat /etc/group; ls /root /sys/firmware; echo x > /etc/new; echo y > /tmp/ok; echo z > /root/x; true`, func(s *specs.Spec) {
			s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/etc/group", "/root", "/none")
			s.Linux.ReadonlyPaths = append(s.Linux.ReadonlyPaths, "/etc")
		})
		c.file(t, dir+"/rootfs/root/secret", "s", 0o644)
		c.do(t, spawn{dir: dir, argv: []string{"gvisor-exec", "run", "x"}}).want(t, 0, "/root:\n\n/sys/firmware:\n",
			"sh: can't create /etc/new: Read-only file system\nsh: can't create /root/x: Permission denied\n")
	})
}

// What cannot be honoured and matters to safety is refused, what does not matter
// is dropped, with a word for -debug.
func TestOCIAdapted(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "echo ok", func(s *specs.Spec) {
			s.Process.SelinuxLabel = "system_u:system_r:container_t:s0"
			s.Linux.RootfsPropagation = "rshared"
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt", Type: "bind", Source: "rootfs/etc", Options: []string{"rbind", "rshared"}})
		})
		c.do(t, spawn{dir: dir, argv: []string{"gvisor-exec", "run", "x"}}).want(t, 0, "ok\n", "")
		o := c.do(t, spawn{dir: dir, argv: []string{"gvisor-exec", "--debug", "run", "x"}})
		for _, words := range []string{"SELinux is not active", "rootfsPropagation rshared", "/mnt is rslave"} {
			if !strings.Contains(o.stderr, words) {
				t.Errorf("no %q in %s", words, o.stderr)
			}
		}
		dir = c.bundle(t, "true", func(s *specs.Spec) { s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/true"}}} })
		c.create(t, dir, "create", "x").wantError(t, 1, "hooks.startContainer", "")
		c.gone(t, "x")
	})
}

// A seccomp filter of the spec's is applied.
func TestOCISeccomp(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "mkdir /tmp/x; echo $?", func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{
				DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64},
				Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActErrno}},
			}
		})
		c.do(t, spawn{dir: dir, argv: []string{"gvisor-exec", "run", "x"}}).want(t, 0, "1\n", "mkdir: can't create directory '/tmp/x': Operation not permitted\n")
	})
}

func TestOCIHooks(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		log := filepath.Join(c.dir(t), "log")
		hook := func(name string) []specs.Hook {
			return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", `echo $NAME $(cat) >> ` + log}, Env: []string{"NAME=" + name, "PATH=/bin"}}}
		}
		dir := c.bundle(t, "exec sleep 1000", func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{Prestart: hook("prestart"), CreateRuntime: hook("createRuntime"), CreateContainer: hook("createContainer"), Poststart: hook("poststart"), Poststop: hook("poststop")}
		})
		c.create(t, dir, "create", "x").want(t, 0, "", "")
		pid := c.stateOf(t, "x").Pid
		c.run(t, "start", "x").want(t, 0, "", "")
		c.run(t, "delete", "-f", "x").want(t, 0, "", "")
		lines := strings.Split(strings.TrimSpace(read(t, log)), "\n")
		// runsc's gofer runs it while the sandbox is being made, before the others,
		// and does not know the pid (gVisor v0.0.0-20260905035102).
		want := []struct {
			name, status string
			pid          int
		}{{"createContainer", "creating", -1}, {"prestart", "creating", pid}, {"createRuntime", "creating", pid}, {"poststart", "running", pid}, {"poststop", "stopped", 0}}
		if len(lines) != len(want) {
			t.Fatalf("%q", lines)
		}
		for i, w := range want {
			name, data, _ := strings.Cut(lines[i], " ")
			var s specs.State
			if err := json.Unmarshal([]byte(data), &s); err != nil || name != w.name || string(s.Status) != w.status || s.Pid != w.pid || s.Bundle != dir || s.ID != "x" {
				t.Errorf("%s, %v, want %+v", lines[i], err, w)
			}
		}
		dir = c.bundle(t, "true", func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo no way >&2; exit 1"}}}}
		})
		c.create(t, dir, "create", "x").wantError(t, 1, "no way", "")
		c.gone(t, "x")
	})
}

func TestOCIPs(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.started(t, "x", "sleep 1000; true", nil)
		var pids []int
		eventually(t, "two processes", func() bool {
			o := c.run(t, "ps", "--format", "json", "x")
			return json.Unmarshal([]byte(o.stdout), &pids) == nil && len(pids) == 2
		})
		if o := c.run(t, "ps", "x", "-ef"); !strings.Contains(o.stdout, "UID") || !strings.Contains(o.stdout, "sleep") {
			t.Errorf("%+v", o)
		}
		if o := c.run(t, "ps", "x", "-o", "pid,comm"); !strings.HasPrefix(o.stdout, "PID") || strings.Contains(o.stdout, "UID") {
			t.Errorf("%+v", o)
		}
		c.run(t, "ps", "x", "--sort", "pid").wantError(t, 1, "cannot use ps option", "-o")
	})
}

func TestOCIList(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.run(t, "list", "--format", "json").want(t, 0, "[]\n", "")
		c.started(t, "a", "exec sleep 1000", nil)
		dir := c.bundle(t, "true", nil)
		t.Cleanup(func() { c.run(t, "delete", "-f", "b") })
		c.create(t, dir, "create", "b").want(t, 0, "", "")
		var list []containerState
		if err := json.Unmarshal([]byte(c.run(t, "list", "-f", "json").stdout), &list); err != nil || len(list) != 2 ||
			list[0].ID != "a" || list[0].Status != "running" || list[1].Status != "created" || list[1].Rootfs != dir+"/rootfs" {
			t.Errorf("%+v, %v", list, err)
		}
		c.run(t, "list", "-q").want(t, 0, "a\nb\n", "")
		if o := c.run(t, "list"); !strings.HasPrefix(o.stdout, "ID ") || strings.Count(o.stdout, "\n") != 3 {
			t.Errorf("%+v", o)
		}
	})
}

func TestOCIEventsAndUpdate(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.started(t, "x", "exec sleep 1000", nil)
		var event struct {
			Type, ID string
			Data     struct{ Pids struct{ Current int } }
		}
		if err := json.Unmarshal([]byte(c.run(t, "events", "--stats", "x").stdout), &event); err != nil || event.Type != "stats" || event.ID != "x" || event.Data.Pids.Current != 1 {
			t.Errorf("%+v, %v", event, err)
		}
		s := c.start(t, "events", "x", "--interval=50ms")
		for range 3 {
			if line := s.line(t); !strings.Contains(line, `"type":"stats"`) {
				t.Errorf("%q", line)
			}
		}
		limits := c.file(t, filepath.Join(c.dir(t), "limits"), `{"memory":{"limit":200000000}}`, 0o644)
		for _, args := range [][]string{{"--memory", "100M", "x"}, {"x", "--cpu-quota", "50000"}, {"-r", limits, "x"}, {"-r", "-", "x"}} {
			o := c.do(t, spawn{stdin: "{}", argv: append([]string{"gvisor-exec", "update"}, args...)})
			if c.uid == 0 {
				o.want(t, 0, "", "")
			} else {
				o.wantError(t, 1, "it has no cgroup", "")
			}
		}
		c.run(t, "update", "--memory", "lots", "x").wantError(t, 1, "not a number", "")
		c.run(t, "kill", "x", "KILL").want(t, 0, "", "")
		if code := s.status(t); code != 0 {
			t.Errorf("events after the end: status %d, %s", code, s.err)
		}
	})
}

func TestOCICheckpoint(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		image := filepath.Join(c.dir(t), "image")
		dir := c.started(t, "x", "i=0; while :; do echo at-$i; i=$((i+1)); sleep 0.05; done", nil)
		awaitOutput(t, dir, "at-3\n")
		c.run(t, "checkpoint", "--image-path", image, "--leave-running", "x").want(t, 0, "", "")
		if s := c.stateOf(t, "x"); s.Status != "running" {
			t.Errorf("%+v", s)
		}
		os.RemoveAll(image)
		c.run(t, "checkpoint", "x", "--image-path", image).want(t, 0, "", "")
		c.await(t, "x", "stopped")
		c.run(t, "delete", "x").want(t, 0, "", "")
		os.Truncate(filepath.Join(dir, "out"), 0)
		c.create(t, dir, "restore", "-d", "--image-path", image, "x").want(t, 0, "", "")
		awaitOutput(t, dir, "\nat-")
		if strings.Contains(read(t, filepath.Join(dir, "out")), "at-0\n") {
			t.Error("it began again")
		}
	})
}

func TestOCISpecAndFeatures(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.dir(t)
		c.run(t, "spec", "-b", dir).want(t, 0, "", "")
		c.run(t, "spec", "-b", dir).wantError(t, 1, "file exists", "")
		var features struct {
			OCIVersionMax string
			Hooks         []string
		}
		if err := json.Unmarshal([]byte(c.run(t, "features").stdout), &features); err != nil || features.OCIVersionMax == "" || len(features.Hooks) != 5 {
			t.Errorf("%+v, %v", features, err)
		}
		// go-runc reads the first line, docker and podman the rest.
		if o := c.run(t, "--version"); !strings.HasPrefix(o.stdout, "runc version gvisor-exec-") || !strings.Contains(o.stdout, "\nspec: 1.") || !strings.Contains(o.stdout, "\ngvisor-exec ") {
			t.Errorf("%+v", o)
		}
	})
}
