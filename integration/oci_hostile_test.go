package integration

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// An image's annotations reach config.json. They steer nothing, and are told all
// the same.
func TestOCIAnnotationsDoNotSteer(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "echo kept > /f; echo done; exec sleep 1000", func(s *specs.Spec) {
			s.Annotations = map[string]string{
				"dev.gvisor.flag.overlay2": "all:memory", "dev.gvisor.spec.rootfs.overlay": "memory",
				"dev.gvisor.spec.mount.x.type": "tmpfs", "org.example": "x",
			}
		})
		c.create(t, dir, "run", "-d", "x").want(t, 0, "", "")
		awaitOutput(t, dir, "done")
		if got := read(t, dir+"/rootfs/f"); got != "kept\n" {
			t.Errorf("the rootfs has %q", got)
		}
		if s := c.stateOf(t, "x"); len(s.Annotations) != 4 {
			t.Errorf("%v", s.Annotations)
		}
		c.run(t, "delete", "-f", "x").want(t, 0, "", "")
	})
}

// With / as the root runsc loses mounts, what masks something among them.
func TestOCIHostRootIsRefused(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "true", func(s *specs.Spec) { s.Root.Path = "/" })
		c.create(t, dir, "create", "x").wantError(t, 1, "cannot use / as the root directory", "")
		c.gone(t, "x")
	})
}

// What is in somebody else's root, or in one that others write, names programs
// that would be run.
func TestOCIForeignRootIsRefused(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		root := c.dir(t)
		if err := os.Chmod(root, 0o777); err != nil {
			t.Fatal(err)
		}
		dir := c.bundle(t, "true", nil)
		for _, args := range [][]string{{"state", "x"}, {"delete", "-f", "x"}, {"create", "-b", dir, "x"}} {
			c.run(t, append([]string{"--root", root}, args...)...).wantError(t, 1, "others may write", "")
		}
		if c.uid != 0 {
			return
		}
		if err := os.Chown(root, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		c.run(t, "--root", root, "state", "x").wantError(t, 1, "belongs to user 65534", "")
	})
}

// While a hook of create takes its time, its container can be seen, killed and
// deleted; killed itself, create leaves what delete removes.
func TestOCICreateAtItsHook(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "exec sleep 1000", func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "exec sleep 5"}}}}
		})
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		for _, end := range [][]string{{"delete", "-f", "x"}, {"kill", "x", "KILL"}, nil} {
			cmd := c.command(ctx, spawn{dir: dir, argv: []string{"gvisor-exec", "create", "x"}})
			cmd.Stdin = nil
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a container at its hook", func() bool {
				o := c.run(t, "state", "x")
				return strings.Contains(o.stdout, `"status": "creating"`) && !strings.Contains(o.stdout, `"pid": 0`)
			})
			if end == nil {
				cmd.Process.Kill()
				cmd.Wait()
				c.run(t, "delete", "x").want(t, 0, "", "*")
				c.gone(t, "x")
				continue
			}
			began := time.Now()
			c.run(t, end...).want(t, 0, "", "*")
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("%q waited for the hook: %v", end, took)
			}
			cmd.Wait()
			if cmd.ProcessState.Success() {
				t.Errorf("create succeeds after %q", end)
			}
			c.gone(t, "x")
		}
	})
}

// A create that fails late runs the poststop hooks, which undo what others did.
func TestOCIPoststopAfterFailedCreate(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "true", nil)
		note := func(word, end string) []specs.Hook {
			return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", fmt.Sprintf("echo %s >> %s/hooks; %s", word, dir, end)}}}
		}
		c.editSpec(t, dir, func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: note("createRuntime", "exit 1"), Poststop: note("poststop", "exit 0")}
		})
		if o := c.create(t, dir, "create", "x"); o.status != 1 {
			t.Errorf("%+v", o)
		}
		if got := read(t, dir+"/hooks"); got != "createRuntime\npoststop\n" {
			t.Errorf("hooks: %q", got)
		}
		c.gone(t, "x")
	})
}

// A terminal and a console socket come together, in runc's words.
func TestOCIConsoleMismatch(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "true", nil)
		c.create(t, dir, "create", "--console-socket", dir+"/s", "x").wantError(t, 1, "cannot use console socket if runc will not detach or allocate tty", "")
		dir = c.bundle(t, "true", func(s *specs.Spec) { s.Process.Terminal = true })
		c.create(t, dir, "create", "x").wantError(t, 1, "cannot allocate tty if runc will detach without setting console socket", "")
		c.gone(t, "x")
	})
}

// The name of a process is its own to choose, and no more than that.
func TestOCIHostileProcessNames(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, `f=$(printf '/a\n\033b'); printf '#!/bin/sh\necho up; while :; do :; done\n' > "$f"; busybox chmod 755 "$f"; exec "$f"`, nil)
		c.create(t, dir, "run", "-d", "x").want(t, 0, "", "")
		awaitOutput(t, dir, "up")
		if o := c.run(t, "ps", "x"); o.status != 0 || strings.Contains(o.stdout, "\x1b") || strings.Count(o.stdout, "\n") != 2 {
			t.Errorf("ps: %+v", o)
		}
		c.run(t, "ps", "-f", "json", "x").want(t, 0, "[1]\n", "")
		c.run(t, "delete", "-f", "x").want(t, 0, "", "")
	})
}

// delete --force removes a container whose state is broken, its sandbox too.
func TestOCIBrokenState(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "echo up; exec sleep 1000", nil)
		c.create(t, dir, "run", "-d", "x").want(t, 0, "", "")
		awaitOutput(t, dir, "up")
		if err := os.Truncate(c.state+"/oci/x/state.json", 0); err != nil {
			t.Fatal(err)
		}
		c.run(t, "delete", "x").wantError(t, 1, `cannot load container "x"`, "")
		c.run(t, "delete", "-f", "x").want(t, 0, "", "")
		eventually(t, "no process", func() bool { return len(processes()) == 0 })
		c.gone(t, "x")
	})
}
