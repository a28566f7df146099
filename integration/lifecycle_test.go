package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// oci is a runtime with a root directory and bundles of its own, called by c
// directly, without an engine.
type oci struct {
	t   *testing.T
	c   *caller
	bin string
	dir string
}

// newOCI makes a runtime whose containers are gone at the end of the test. The
// rootfs is shared by its bundles.
func newOCI(t *testing.T, c *caller, bin string) *oci {
	t.Helper()
	o := &oci{t: t, c: c, bin: bin, dir: c.dir(t)}
	t.Cleanup(func() {
		killAll(o.dir) // what a failed test leaves
		parents, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(o.dir))
		for _, dir := range parents {
			if err := os.Remove(dir); err != nil {
				t.Errorf("a cgroup is left: %v", err)
			}
		}
		// runsc's, of a root whose containers are gone: nobody unmounts it but we.
		unix.Unmount(o.dir+"/state/@shared/null-netns", unix.MNT_DETACH)
	})
	tree, err := busyboxTar()
	if err != nil {
		t.Fatal(err)
	}
	o.do("", "mkdir", "rootfs").want(t, 0, "", "")
	o.do("", "tar", "-C", "rootfs", "--no-same-owner", "-xf", tree).want(t, 0, "", "")
	return o
}

// do runs a command in the runtime's directory.
func (o *oci) do(stdin string, argv ...string) outcome {
	o.t.Helper()
	return o.c.do(o.t, spawn{dir: o.dir, stdin: stdin, argv: argv})
}

// verb calls the runtime.
func (o *oci) verb(args ...string) outcome {
	o.t.Helper()
	return o.do("", append([]string{o.bin, "--root", o.dir + "/state"}, args...)...)
}

// bundle makes the bundle of id: what `runc spec` writes (rootless for an
// ordinary user), with a command, and changed.
func (o *oci) bundle(id string, args []string, change func(spec map[string]any)) string {
	o.t.Helper()
	dir := filepath.Join(o.dir, id)
	if err := os.Mkdir(dir, 0o755); err != nil {
		o.t.Fatal(err)
	}
	os.Chown(dir, o.c.uid, o.c.gid)
	flags := []string{}
	if o.c.uid != 0 {
		flags = []string{"--rootless"}
	}
	o.do("", append([]string{o.bin, "spec", "--bundle", dir}, flags...)...).want(o.t, 0, "", "")
	var spec map[string]any
	if err := json.Unmarshal([]byte(read(o.t, dir+"/config.json")), &spec); err != nil {
		o.t.Fatal(err)
	}
	process := spec["process"].(map[string]any)
	process["terminal"], process["args"] = false, args
	delete(process, "rlimits") // raising one needs CAP_SYS_RESOURCE
	spec["root"].(map[string]any)["path"] = o.dir + "/rootfs"
	if o.c.uid == 0 {
		// By default it is /ID, and runc's pause would freeze our sandbox too.
		spec["linux"].(map[string]any)["cgroupsPath"] = "/" + filepath.Base(o.dir) + "/" + id
	}
	if change != nil {
		change(spec)
	}
	data, _ := json.Marshal(spec)
	o.c.file(o.t, dir+"/config.json", string(data), 0o644)
	return dir
}

// create makes the container.
func (o *oci) create(id string, flags ...string) outcome {
	o.t.Helper()
	return o.detached(id, append([]string{"create"}, flags...)...)
}

// detached calls a verb that leaves the container id running, with its output
// in the file out of its bundle.
func (o *oci) detached(id string, verb ...string) outcome {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	out, err := os.OpenFile(filepath.Join(o.dir, id, "out"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		o.t.Fatal(err)
	}
	defer out.Close()
	argv := append([]string{o.bin, "--root", o.dir + "/state"}, verb...)
	cmd := o.c.command(ctx, spawn{dir: o.dir, argv: append(argv, "--bundle", filepath.Join(o.dir, id), id)})
	// The container keeps what it gets as standard streams: a pipe would not end.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, out, out
	err = cmd.Run()
	if ctx.Err() != nil {
		o.t.Fatalf("%q hangs: %s", verb, o.said(id))
	}
	if err != nil {
		return outcome{"", o.said(id), cmd.ProcessState.ExitCode()}
	}
	return outcome{}
}

// said is what the container has printed.
func (o *oci) said(id string) string {
	data, _ := os.ReadFile(filepath.Join(o.dir, id, "out"))
	return string(data)
}

// says waits until the container has printed text.
func (o *oci) says(id, text string) {
	o.t.Helper()
	eventually(o.t, id+" says "+text, func() bool { return strings.Contains(o.said(id), text) })
}

// state of a container, as `state` prints it.
type state struct {
	OCIVersion  string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Owner       string            `json:"owner"`
	Annotations map[string]string `json:"annotations"`
}

// state asks for a container's state; Status is empty where there is none.
func (o *oci) state(id string) state {
	o.t.Helper()
	out := o.verb("state", id)
	var s state
	if out.status == 0 {
		if err := json.Unmarshal([]byte(out.stdout), &s); err != nil {
			o.t.Fatalf("state: %v: %s", err, out.stdout)
		}
	}
	return s
}

// is waits until a container has a status.
func (o *oci) is(id, status string) {
	o.t.Helper()
	eventually(o.t, id+" is "+status, func() bool { return o.state(id).Status == status })
}

// TestLifecycle goes through a container's life, as the README does, as root
// and as an ordinary user.
func TestLifecycle(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		o := newOCI(t, c, ociRuntime())
		defer o.verb("delete", "--force", "x")
		dir := o.bundle("x", []string{"sh", "-c", forever}, func(spec map[string]any) {
			spec["annotations"] = map[string]string{"org.example": "kept"}
		})
		before := time.Now()
		o.create("x", "--pid-file", dir+"/pid").want(t, 0, "", "")
		s := o.state("x")
		if s.ID != "x" || s.Status != "created" || s.Bundle != dir || s.Rootfs != o.dir+"/rootfs" || s.OCIVersion == "" || s.Annotations["org.example"] != "kept" ||
			s.Created.Before(before.Add(-time.Second)) || s.Created.After(time.Now()) || read(t, dir+"/pid") != fmt.Sprint(s.Pid) || s.Pid == 0 {
			t.Errorf("created: %+v", s)
		}
		if out := o.verb("create", "--bundle", dir, "x"); out.status != 1 {
			t.Errorf("create again: %+v", out)
		}
		o.verb("start", "x").want(t, 0, "", "")
		o.says("x", "ready")
		if got := o.state("x"); got.Status != "running" || got.Pid != s.Pid {
			t.Errorf("running: %+v", got)
		}
		o.verb("exec", "x", "echo", "hi").want(t, 0, "hi\n", "")
		o.verb("exec", "x", "sh", "-c", "exit 7").want(t, 7, "", "")
		if out := o.verb("delete", "x"); out.status != 1 {
			t.Errorf("delete of a running container: %+v", out)
		}
		if out := o.verb("list", "-q"); out.stdout != "x\n" {
			t.Errorf("list: %+v", out)
		}
		o.verb("kill", "x", "TERM").want(t, 0, "", "")
		o.is("x", "stopped")
		if got := o.state("x"); got.Pid != 0 {
			t.Errorf("stopped: %+v", got)
		}
		if got := o.said("x"); got != "ready\nterm\n" {
			t.Errorf("it said %q", got)
		}
		o.verb("delete", "x").want(t, 0, "", "")
		if out := o.verb("state", "x"); out.status != 1 || !strings.Contains(out.stderr, "does not exist") {
			t.Errorf("state of a deleted container: %+v", out)
		}
		o.checkEmpty()
	})
}

// checkEmpty checks that the runtime's root directory holds no container.
func (o *oci) checkEmpty() {
	o.t.Helper()
	entries, _ := os.ReadDir(o.dir + "/state")
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && e.Name() != "lock" && e.Name() != "@shared" {
			o.t.Errorf("%s is left", e.Name())
		}
	}
}

// TestOCIRun is run in the foreground: streams, status, nothing left.
func TestRunVerb(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		o := newOCI(t, c, ociRuntime())
		o.bundle("x", []string{"sh", "-c", "cat; echo err >&2; exit 9"}, nil)
		o.do("in\n", o.bin, "--root", o.dir+"/state", "run", "--bundle", o.dir+"/x", "x").want(t, 9, "in\n", "err\n")
		o.bundle("y", []string{"no-such"}, nil)
		out := o.verb("run", "--bundle", o.dir+"/y", "y")
		if out.status == 0 || !strings.Contains(out.stderr, "executable file not found in $PATH") {
			t.Errorf("no such command: %+v", out)
		}
		o.bundle("z", []string{"sleep", "1000"}, nil)
		o.detached("z", "run", "-d").want(t, 0, "", "")
		o.is("z", "running")
		o.verb("kill", "z", "9").want(t, 0, "", "")
		o.is("z", "stopped")
		o.verb("delete", "z").want(t, 0, "", "")
		o.checkEmpty()
	})
}

// Hooks run in their order and get the state.
func TestHooks(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		o := newOCI(t, c, ociRuntime())
		log := c.file(t, o.dir+"/log", "", 0o666)
		hook := func(name string) []any {
			script := fmt.Sprintf(`s=$(cat); echo %s $(echo "$s" | tr -d ' \n' | grep -o '"id":"x"') >> %s`, name, log)
			return []any{map[string]any{"path": "/bin/sh", "args": []string{"sh", "-c", script}}}
		}
		o.bundle("x", []string{"true"}, func(spec map[string]any) {
			spec["hooks"] = map[string]any{"prestart": hook("prestart"), "createRuntime": hook("createRuntime"), "poststart": hook("poststart"), "poststop": hook("poststop")}
		})
		defer o.verb("delete", "--force", "x")
		o.create("x").want(t, 0, "", "")
		o.verb("start", "x").want(t, 0, "", "")
		o.is("x", "stopped")
		o.verb("delete", "x").want(t, 0, "", "")
		var want bytes.Buffer
		for _, name := range []string{"prestart", "createRuntime", "poststart", "poststop"} {
			fmt.Fprintf(&want, "%s \"id\":\"x\"\n", name)
		}
		if got := read(t, log); got != want.String() {
			t.Errorf("the hooks wrote %q, want %q", got, want.String())
		}
	})
}

// lookPath finds a program for root, whose PATH has sbin.
func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
