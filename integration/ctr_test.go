package integration

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// TestContainerd runs containers with ctr on a containerd of the test's own,
// whose shim for runc is told to call our binary.
func TestContainerd(t *testing.T) {
	probe.Skip(t, probe.Root())
	probe.Skip(t, ociProbe("ctr"))
	root := callers[0]
	m, dir := newMachine(t), root.dir(t)
	conf := root.file(t, dir+"/config.toml", strings.ReplaceAll(`version = 2
root = "DIR/root"
state = "DIR/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "DIR/sock"
`, "DIR", dir), 0o644)
	daemon := m.script(t, root, dir+"/containerd", nil, []string{"containerd", "--config", conf})
	ctr := m.script(t, root, dir+"/ctr", nil, []string{"ctr", "--address", dir + "/sock"})
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := root.command(t.Context(), spawn{dir: "/", argv: []string{daemon}})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) outcome {
		t.Helper()
		return root.do(t, spawn{dir: "/", argv: append([]string{ctr}, args...)})
	}
	defer func() {
		do("tasks", "rm", "-f", "x")
		do("containers", "rm", "x")
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		eventually(t, "none of containerd's processes", func() bool { return len(running(dir)) == 0 })
		if left := append(m.mounts(t, dir), m.mounts(t, "/run/gvisor-exec/")...); len(left) > 0 {
			t.Errorf("mounts are left: %q", left)
		}
	}()
	eventually(t, "containerd", func() bool { return do("version").status == 0 })

	o := newOCI(t, root, ociRuntime())
	run := func(name string, flags []string, command ...string) outcome {
		args := append([]string{"run", "--runc-binary", ociRuntime(), "--runc-root", dir + "/runc", "--rootfs"}, flags...)
		return do(append(append(args, o.dir+"/rootfs", name), command...)...)
	}
	run("a", []string{"--rm"}, "/bin/echo", "hi").want(t, 0, "hi\n", "")
	run("b", []string{"--rm"}, "/bin/sh", "-c", "exit 7").want(t, 7, "", "*")
	if got := run("c", []string{"--rm"}, "/bin/uname", "-r"); strings.Contains(got.stdout, "gvisor") != sandboxed() {
		t.Errorf("the kernel: %+v", got)
	}
	run("x", []string{"-d"}, "/bin/sh", "-c", "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.05; done").want(t, 0, "", "")
	eventually(t, "ready", func() bool { return fileExists(o.dir + "/rootfs/ready") })
	do("tasks", "exec", "--exec-id", "e", "x", "/bin/echo", "inside").want(t, 0, "inside\n", "")
	if got := do("tasks", "ls"); !strings.Contains(got.stdout, "RUNNING") {
		t.Errorf("tasks ls: %+v", got)
	}
	do("tasks", "pause", "x").want(t, 0, "", "")
	if got := do("tasks", "ls"); !strings.Contains(got.stdout, "PAUSED") {
		t.Errorf("tasks ls: %+v", got)
	}
	do("tasks", "resume", "x").want(t, 0, "", "")
	do("tasks", "kill", "-s", "SIGTERM", "x").want(t, 0, "", "")
	eventually(t, "stopped", func() bool { return strings.Contains(do("tasks", "ls").stdout, "STOPPED") })
	if got := do("tasks", "rm", "x"); got.status != 0 || !strings.Contains(got.stderr, "non-zero exit code 3") {
		t.Errorf("tasks rm: %+v", got)
	}
	do("containers", "rm", "x").want(t, 0, "", "")
}
