package shim

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gvisor-exec/gvisor-exec/runsc"
)

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]syscall.Signal{
		"TERM": 15, "SIGTERM": 15, "sigkill": 9, "9": 9, "0": 0, "RTMIN": 34, "SIGRTMIN+3": 37, "RTMAX-1": 63, "RTMAX": 64, "37": 37,
	} {
		if got, err := ParseSignal(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "NOPE", "65", "-1", "RTMIN+99", "RTMIN+x", "SIG"} {
		if got, err := ParseSignal(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestDeliverable(t *testing.T) {
	if got, err := deliverable(37); err != nil || got != syscall.SIGINT {
		t.Error(got, err)
	}
	if _, err := deliverable(40); err == nil {
		t.Error("a real-time signal")
	}
	if got, err := deliverable(15); err != nil || got != 15 {
		t.Error(got, err)
	}
}

func TestCheckID(t *testing.T) {
	for _, id := range []string{"a", "A-b_c.d+1", strings.Repeat("x", 64)} {
		if err := checkID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", ".", "..", "a/b", "@shared", "a b", "ü", strings.Repeat("x", 256)} {
		if checkID(id) == nil {
			t.Errorf("%q is taken", id)
		}
	}
}

func TestReadProcess(t *testing.T) {
	p, err := readProcess(os.Getpid())
	if err != nil || p.dead || p.start == 0 {
		t.Errorf("%+v, %v", p, err)
	}
	zombie := mustStart(t)
	if p, err := readProcess(zombie); err != nil || !p.dead {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := readProcess(0); err == nil {
		t.Error("pid 0")
	}
}

// mustStart starts a process that ends at once and that nobody waits for before
// the test is over.
func mustStart(t *testing.T) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{Files: []*os.File{nil, w}})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.Read(make([]byte, 1)) // until it has closed its files
	t.Cleanup(func() { p.Wait() })
	for range 1000 {
		if s, err := readProcess(p.Pid); err == nil && s.dead {
			break
		}
	}
	return p.Pid
}

func TestLoad(t *testing.T) {
	root := t.TempDir()
	_, err := Load(root, "x")
	if err == nil || err.Error() != `container "x" does not exist` {
		t.Errorf("%v", err)
	}
	c := &Container{dir: filepath.Join(root, "abc")}
	c.saved = saved{ID: "abc", Status: Running, Pid: 1 << 30}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(root, "ab"); err == nil {
		t.Error("the beginning of an id found it")
	}
	loaded, err := Load(root, "abc")
	if err != nil {
		t.Fatal(err)
	}
	if s := loaded.State(); s.Status != Stopped || s.Pid != 0 {
		t.Errorf("%+v", s)
	}
	if list, err := List(root); err != nil || len(list) != 1 || list[0].ID != "abc" {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := List(filepath.Join(root, "none")); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestChooseNetwork(t *testing.T) {
	with := func(path string) *specs.Spec {
		return &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.NetworkNamespace, Path: path}}}}
	}
	none := &specs.Spec{Linux: &specs.Linux{}}
	for _, tt := range []struct {
		name  string
		asked runsc.Network
		spec  *specs.Spec
		want  runsc.Network
		auto  bool
	}{
		{"no namespace", "", none, runsc.NetworkHost, false},
		{"a new one", "", with(""), runsc.NetworkSandbox, true},
		{"the host's own", "", with("/proc/self/ns/net"), runsc.NetworkHost, false},
		{"asked for", runsc.NetworkNone, with(""), runsc.NetworkNone, false},
	} {
		if got, auto := chooseNetwork(tt.asked, tt.spec); got != tt.want || auto != tt.auto {
			t.Errorf("%s: %s, %v", tt.name, got, auto)
		}
	}
}

func TestRunHook(t *testing.T) {
	dir := t.TempDir()
	c := &Container{saved: saved{OCIVersion: "1.0.2", ID: "x", Bundle: dir, Pid: 7, Annotations: map[string]string{"a": "b"}}}
	out := filepath.Join(dir, "out")
	hook := func(script string) specs.Hook {
		return specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"OUT=" + out}}
	}
	if err := c.runHooks("prestart", []specs.Hook{hook("cat > $OUT"), hook("env | wc -l >> $OUT")}, Creating); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(out)
	for _, want := range []string{`"id":"x"`, `"status":"creating"`, `"pid":7`, `"bundle":"` + dir, `"a":"b"`, `"ociVersion":"1.0.2"`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s in %s", want, data)
		}
	}
	err := c.runHooks("prestart", []specs.Hook{hook("echo sorry >&2; exit 3"), hook("rm $OUT")}, Creating)
	if err == nil || !strings.Contains(err.Error(), "sorry") || !strings.Contains(err.Error(), "prestart hook 0") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(out); err != nil {
		t.Error("the hook behind the one that failed ran")
	}
	second := 1
	slow := hook("exec sleep 100")
	slow.Timeout = &second
	if err := c.runHook(slow, Creating); err == nil || !strings.Contains(err.Error(), "not done after 1 s") {
		t.Errorf("%v", err)
	}
}
