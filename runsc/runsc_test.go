package runsc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestGlobalFlags(t *testing.T) {
	all := GlobalFlags{
		Root: "/r", Platform: KVM, Network: NetworkHost, Overlay2: "root:memory", Log: "/l", DebugLog: "/d",
		Strace: true, IgnoreCgroups: true, IgnoreHostSettings: true, SharedRoot: "/s", NetRaw: true, OCISeccomp: true,
		SystemdCgroup: true,
	}
	want := []string{"--root=/r", "--platform=kvm", "--network=host", "--overlay2=root:memory", "--ignore-cgroups",
		"--host-settings=ignore", "--log=/l", "--log-format=json", "--debug", "--debug-log=/d", "--strace",
		"--shared-root=/s", "--net-raw", "--oci-seccomp", "--systemd-cgroup"}
	if got := all.args(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (GlobalFlags{}).args(); len(got) != 0 {
		t.Errorf("the zero value: %q", got)
	}
}

func TestEnums(t *testing.T) {
	var p Platform
	if p.String() != "systrap" || p.Set("ptrace") != nil || p != Ptrace {
		t.Error(p)
	}
	if err := p.Set("xen"); err == nil || !strings.Contains(err.Error(), "systrap, ptrace, kvm") {
		t.Error(err)
	}
	var n Network
	if n.String() != "none" || n.Set("host") != nil || n.Set("") == nil {
		t.Error(n)
	}
}

// fake installs a shell script as runsc.
func fake(t *testing.T, script string) Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "runsc")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return Client{Path: path}
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		status       int
		err          string
	}{
		{"the command's status", "exit 7", 7, ""},
		{"128 of the command's own", "exit 128", 128, ""},
		{"128 of runsc's", `echo '{"msg":"one","level":"error"}{"msg":"two","level":"error"}' > $LOG; exit 128`, 0, "runsc run: two"},
		{"a warning is no failure", `echo '{"msg":"one","level":"warning"}' > $LOG; exit 128`, 128, ""},
		{"2 of the command's own", "exit 2", 2, ""},
		{"2 of runsc's", "echo 'panic: no /proc'; echo 'goroutine 1 [running]:' >&2; echo 'panic: no /proc' >&2; exit 2", 0, "runsc run: panic: no /proc"},
		{"wrong flags", "echo 'invalid value \"x\" for flag -overlay2: no' >&2; exit 2", 0, "for flag -overlay2"},
		{"killed", "kill -9 $$", 0, "killed"},
	} {
		log := filepath.Join(t.TempDir(), "log")
		c := fake(t, "LOG="+log+"\n: > $LOG\n"+tt.script)
		r, err := c.Run("id", log, RunOpts{Bundle: "/b"})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Release(); err != nil {
			t.Fatal(err)
		}
		status, err := r.Wait()
		if status != tt.status || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d, %v", tt.name, status, err)
		}
	}
}

// runsc does nothing before it is released.
func TestRunWaitsForRelease(t *testing.T) {
	log, mark := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "mark")
	c := fake(t, "exec 9> "+log+"\ntouch "+mark)
	r, err := c.Run("id", log, RunOpts{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("runsc went on before it was released")
	}
	if err := r.Release(); err != nil {
		t.Fatal(err)
	}
	if status, err := r.Wait(); status != 0 || err != nil {
		t.Error(status, err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
	if r, err = c.Run("id", log+"2", RunOpts{}); err != nil {
		t.Fatal(err)
	}
	r.Abandon()
}

func TestVerbs(t *testing.T) {
	t.Setenv("GVISOR_SIDECAR_BINARIES_DIR", "/evil")
	ctx := context.Background()
	c := fake(t, `echo "$*" "$GVISOR_SIDECAR_BINARIES_DIR" >> ${0%/*}/argv; case "$*" in *state*) echo '{"status":"running"}';; *fail*) echo sorry >&2; exit 1;; esac`)
	c.Global.Root = "/r"
	if err := errors.Join(c.Kill(ctx, "id", syscall.SIGTERM, false), c.Kill(ctx, "id", syscall.SIGCONT, true)); err != nil {
		t.Error(err)
	}
	if status, err := c.Status(ctx, "id"); status != StatusRunning || err != nil {
		t.Error(status, err)
	}
	_, err := c.Exec(ctx, "id", "fail")
	var failed *Error
	if !errors.As(err, &failed) || failed.Status != 1 || failed.Error() != "runsc exec: sorry" {
		t.Errorf("%v", err)
	}
	argv, _ := os.ReadFile(filepath.Join(filepath.Dir(c.Path), "argv"))
	want := "--root=/r kill id 15 \n--root=/r kill --all id 18 \n--root=/r state id \n--root=/r exec id fail \n"
	if string(argv) != want {
		t.Errorf("argv %q, want %q", argv, want)
	}
}

func TestCommandLine(t *testing.T) {
	c := Client{Path: "/x", Global: GlobalFlags{Root: "/r"}}
	got := c.CommandLine("id", RunOpts{Bundle: "/b", PassFDs: map[int]*os.File{2: nil, 0: nil, 7: nil}})
	want := []string{"runsc", "--root=/r", "run", "--bundle=/b", "--pass-fd=3:0", "--pass-fd=4:2", "--pass-fd=5:7", "id"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestErrorCommand(t *testing.T) {
	for msg, want := range map[string]CommandFault{
		`starting sandbox: creating process: failed to load /x: no such file or directory`:          CommandNotFound,
		`starting sandbox: error finding executable "x" in PATH [/a /b]: no such file or directory`: CommandNotFound,
		`starting sandbox: creating process: failed to load /etc: permission denied`:                CommandNotExecutable,
		`starting sandbox: creating process: failed to load /x: exec format error`:                  CommandNotExecutable,
		`cannot create sandbox: opening /dev/kvm: permission denied`:                                NoCommandFault,
	} {
		if got, _ := (&Error{Msg: msg}).Command(); got != want {
			t.Errorf("%s: %v", msg, got)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	self := filepath.Join(dir, "bin/gvisor-exec")
	install := func(rel string) string {
		p := filepath.Join(dir, rel)
		os.MkdirAll(filepath.Dir(p), 0o755)
		if err := os.WriteFile(p, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		return p
	}
	check := func(explicit, want string) {
		t.Helper()
		got, err := Find(explicit, self)
		if got != want || (want == "") != (err != nil) {
			t.Errorf("Find(%q) = %q, %v; want %q", explicit, got, err, want)
		}
	}
	t.Setenv("PATH", filepath.Join(dir, "path"))
	t.Setenv(EnvPath, "")
	check("", "")
	want := install("path/runsc")
	check("", want)
	want = install(LibexecDir + "/runsc")
	check("", want)
	want = install("bin/runsc")
	check("", want)
	want = install("env")
	t.Setenv(EnvPath, want)
	check("", want)
	want = install("flag")
	check(want, want)
	check(filepath.Join(dir, "none"), "")
	t.Setenv(EnvPath, filepath.Join(dir, "none"))
	check("", "")
}

func TestCheck(t *testing.T) {
	for version, ok := range map[string]bool{
		"runsc version release-20261001.0": true, "runsc version release-20200101.0": false,
		"runsc version v0.0.0-20260905035102-160fafc42237": true, "runsc version mine": false, "busybox 1": false,
	} {
		if err := fake(t, "echo "+version).Check(context.Background()); (err == nil) != ok {
			t.Errorf("%s: %v", version, err)
		}
	}
	if err := (Client{Path: "/proc/self/exe"}).Check(context.Background()); err == nil {
		t.Error("this test is runsc")
	}
}
