package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file is what the tests of the OCI runtime share. Start reading at bundle
// and create.

// busybox is the static binary that every image of ours is made of.
const busybox = "/bin/busybox"

// applets are the commands in an image.
var applets = []string{"sh", "cat", "cp", "cut", "echo", "env", "false", "grep", "head", "hostname", "id", "ip", "kill", "ls", "mkdir",
	"mount", "mv", "nc", "ping", "ps", "pwd", "rm", "sleep", "stty", "test", "touch", "tr", "true", "tty", "uname", "wc", "wget"}

// rootfs makes a small root directory at dir.
func (c *caller) rootfs(t *testing.T, dir string) {
	t.Helper()
	for _, sub := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "bin/busybox"), data, 0o755),
		os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "etc/group"), []byte("root:x:0:\nweb:x:1000:\n"), 0o644),
	)
	for _, a := range applets {
		err = errors.Join(err, os.Symlink("busybox", filepath.Join(dir, "bin", a)))
	}
	if err != nil {
		t.Fatal(err)
	}
	c.own(t, dir)
}

// own gives everything below dir to the caller.
func (c *caller) own(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, c.uid, c.gid))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// bundle makes a bundle whose spec is the one that the verb spec writes, with
// the command sh -c script and without a terminal, as edit left it.
func (c *caller) bundle(t *testing.T, script string, edit func(*specs.Spec), specArgs ...string) string {
	t.Helper()
	dir := c.dir(t)
	c.rootfs(t, filepath.Join(dir, "rootfs"))
	c.do(t, spawn{dir: dir, argv: append([]string{"gvisor-exec", "spec"}, specArgs...)}).want(t, 0, "", "")
	c.editSpec(t, dir, func(spec *specs.Spec) {
		spec.Process.Terminal = false
		spec.Process.Args = []string{"sh", "-c", script}
		spec.Root.Readonly = false
		if edit != nil {
			edit(spec)
		}
	})
	return dir
}

// editSpec changes the config.json in dir.
func (c *caller) editSpec(t *testing.T, dir string, edit func(*specs.Spec)) {
	t.Helper()
	config := filepath.Join(dir, "config.json")
	var spec specs.Spec
	if err := json.Unmarshal([]byte(read(t, config)), &spec); err != nil {
		t.Fatal(err)
	}
	edit(&spec)
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	c.file(t, config, string(data), 0o644)
}

// create runs create, or run -d, as an engine would: what the container writes
// goes to the file out in the bundle, after its end.
func (c *caller) create(t *testing.T, dir string, args ...string) outcome {
	t.Helper()
	out, err := os.OpenFile(filepath.Join(dir, "out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	errors.Join(out.Chown(c.uid, c.gid))
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	cmd := c.command(ctx, spawn{dir: dir, argv: append([]string{"gvisor-exec"}, args...)})
	messages := filepath.Join(dir, "messages")
	os.Remove(messages)
	stderr, err := os.Create(messages)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, out, stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v, %s", args, err, read(t, messages))
	}
	return outcome{"", read(t, messages), cmd.ProcessState.ExitCode()}
}

// containerState is what the verb state prints.
type containerState struct {
	specs.State
	Rootfs  string
	Created time.Time
	Owner   string
}

func (c *caller) stateOf(t *testing.T, id string) containerState {
	t.Helper()
	o := c.run(t, "state", id)
	var s containerState
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil || o.status != 0 {
		t.Fatalf("state %s: status %d, %s%s, %v", id, o.status, o.stdout, o.stderr, err)
	}
	return s
}

// await waits until the container id has a status.
func (c *caller) await(t *testing.T, id string, status specs.ContainerState) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s %s", id, status), func() bool { return c.stateOf(t, id).Status == status })
}

// awaitOutput waits until the container of the bundle dir has written words.
func awaitOutput(t *testing.T, dir, words string) {
	t.Helper()
	eventually(t, fmt.Sprintf("output %q", words), func() bool { return strings.Contains(read(t, filepath.Join(dir, "out")), words) })
}

// started creates and starts a container, which goes when the test ends.
func (c *caller) started(t *testing.T, id, script string, edit func(*specs.Spec)) (dir string) {
	t.Helper()
	dir = c.bundle(t, script, edit)
	t.Cleanup(func() { c.deleteAll(t, id) })
	c.create(t, dir, "create", id).want(t, 0, "", "")
	c.run(t, "start", id).want(t, 0, "", "")
	return dir
}

// deleteAll deletes a container, and waits for those on the host who have stood for
// its processes: they see its end, and delete does not wait for theirs.
func (c *caller) deleteAll(t *testing.T, id string) {
	t.Helper()
	var standing []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		name, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if strings.HasPrefix(exe, binDir) && strings.HasPrefix(string(name), "gvisor-exec-") {
			standing = append(standing, dir)
		}
	}
	c.run(t, "delete", "-f", id)
	for _, dir := range standing {
		eventually(t, "the end of "+dir, func() bool {
			stat, err := os.ReadFile(filepath.Join(dir, "stat"))
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
}

// gone checks that there is no such container.
func (c *caller) gone(t *testing.T, id string) {
	t.Helper()
	c.run(t, "state", id).wantError(t, 1, fmt.Sprintf("container %q does not exist", id), "")
}
