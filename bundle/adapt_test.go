//lint:file-ignore SA1019 docker still uses prestart hooks

package bundle

import (
	"encoding/json"
	"path"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// valid is a spec to which every rule has something to say but nothing against.
func valid() *specs.Spec {
	return &specs.Spec{
		Version: "1.0.2", Root: &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: []string{"sh"}, Cwd: "/"},
		Linux:   &specs.Linux{},
	}
}

// tree is a host on which these paths exist.
func tree(paths map[string]FileKind) Host {
	return Host{Empty: "/empty", Lookup: func(root, p string) (string, FileKind) {
		at := path.Join(root, p)
		return at, paths[at]
	}}
}

// adapt fails the test if the spec is refused.
func adapt(t *testing.T, spec *specs.Spec, host Host) *Adapted {
	t.Helper()
	a, err := Adapt(spec, "/bundle", host)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refused fails the test unless the spec is, with these words.
func refused(t *testing.T, spec *specs.Spec, host Host, words string) {
	t.Helper()
	if _, err := Adapt(spec, "/bundle", host); err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want an error with %q", err, words)
	}
}

// noted reports whether a debug line has these words.
func (a *Adapted) noted(words string) bool {
	return strings.Contains(strings.Join(a.Notes, "\n"), words)
}

func TestAdaptLeavesTheSpecAlone(t *testing.T) {
	spec := valid()
	spec.Linux.MaskedPaths = []string{"/x"}
	before, _ := json.Marshal(spec)
	adapt(t, spec, tree(map[string]FileKind{"/bundle/rootfs/x": File}))
	if after, _ := json.Marshal(spec); string(before) != string(after) {
		t.Errorf("%s", after)
	}
}

func TestRequireRoot(t *testing.T) {
	spec := valid()
	spec.Root = nil
	refused(t, spec, Host{}, "no root")
}

func TestMakeAbsolute(t *testing.T) {
	spec := valid()
	spec.Mounts = []specs.Mount{
		{Destination: "/a", Type: "bind", Source: "data"}, {Destination: "b", Source: "/x/../y", Options: []string{"rbind"}},
		{Destination: "/t", Type: "tmpfs", Source: "tmpfs"},
	}
	a := adapt(t, spec, Host{})
	m := a.Spec.Mounts
	if a.Spec.Root.Path != "/bundle/rootfs" || m[0].Source != "/bundle/data" || m[1].Source != "/y" || m[1].Destination != "/b" || m[2].Source != "tmpfs" {
		t.Errorf("%+v, %+v", a.Spec.Root, m)
	}
}

func TestFillProcess(t *testing.T) {
	spec := valid()
	spec.Process = nil
	if a := adapt(t, spec, Host{}); !a.NoProcess || a.Spec.Process == nil {
		t.Errorf("%+v", a)
	}
	spec = valid()
	spec.Process.Args = nil
	refused(t, spec, Host{}, "process.args")
	spec = valid()
	spec.Process.Cwd = "x"
	refused(t, spec, Host{}, "absolute")
}

func TestDropSELinux(t *testing.T) {
	spec := valid()
	spec.Process.SelinuxLabel, spec.Linux.MountLabel = "a:b", "c:d"
	if a := adapt(t, spec, Host{}); a.Spec.Process.SelinuxLabel != "" || a.Spec.Linux.MountLabel != "" || !a.noted("a:b is dropped") {
		t.Errorf("%+v", a)
	}
	refused(t, spec, Host{SELinux: true}, "SELinux label a:b")
}

func TestDropAppArmor(t *testing.T) {
	spec := valid()
	spec.Process.ApparmorProfile = "containers-default-0.50.1"
	if a := adapt(t, spec, Host{AppArmor: true}); a.Spec.Process.ApparmorProfile != "" || !a.noted("is dropped") {
		t.Errorf("%+v", a)
	}
	spec.Process.ApparmorProfile = "mine"
	adapt(t, spec, Host{})
	refused(t, spec, Host{AppArmor: true}, "AppArmor profile mine")
}

func TestTakeHooks(t *testing.T) {
	spec := valid()
	hook := func(name string) []specs.Hook { return []specs.Hook{{Path: "/" + name}} }
	spec.Hooks = &specs.Hooks{Prestart: hook("a"), CreateRuntime: hook("b"), CreateContainer: hook("c"), Poststart: hook("d"), Poststop: hook("e")}
	spec.Hooks.CreateContainer[0].Args = []string{"c", "x"}
	a := adapt(t, spec, Host{Relay: [2]string{"/self", "relay"}})
	relayed := []specs.Hook{{Path: "/self", Args: []string{"relay", "/bundle", "/c", "c", "x"}}}
	want := specs.Hooks{Prestart: hook("a"), CreateRuntime: hook("b"), Poststart: hook("d"), Poststop: hook("e")}
	if !reflect.DeepEqual(a.Hooks, want) || !reflect.DeepEqual(a.Spec.Hooks, &specs.Hooks{CreateContainer: relayed}) {
		t.Errorf("ours %+v, runsc's %+v", a.Hooks, a.Spec.Hooks)
	}
	spec.Hooks = &specs.Hooks{StartContainer: hook("f")}
	refused(t, spec, Host{}, "startContainer")
}

func TestTakeUserNamespace(t *testing.T) {
	spec := valid()
	spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.UserNamespace}}
	spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}}
	spec.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1001, Size: 1}}
	if a := adapt(t, spec, Host{UserNS: true}); len(a.UIDs) != 0 || len(a.Spec.Linux.Namespaces) != 2 {
		t.Errorf("podman's namespace is around us: %+v", a)
	}
	a := adapt(t, spec, Host{UserNS: true, OwnUserNS: true})
	if len(a.Spec.Linux.Namespaces) != 1 || len(a.Spec.Linux.UIDMappings) != 0 || a.UIDs[0].HostID != 1000 || a.GIDs[0].HostID != 1001 {
		t.Errorf("%+v", a)
	}
	spec.Linux.Namespaces[1].Path = "/proc/1/ns/user"
	refused(t, spec, Host{OwnUserNS: true}, "cannot join")
}

func TestUnshareMounts(t *testing.T) {
	spec := valid()
	spec.Mounts = []specs.Mount{{Destination: "/v", Type: "bind", Source: "/v", Options: []string{"rbind", "rshared", "rro"}}}
	a := adapt(t, spec, Host{})
	if got := strings.Join(a.Spec.Mounts[0].Options, ","); got != "rbind,rslave,rro,ro" || !a.noted("does not reach the host") {
		t.Errorf("%s, %q", got, a.Notes)
	}
}

func TestUnsharePropagation(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "shared": "slave", "rshared": "rslave", "unbindable": "private", "runbindable": "rprivate", "rslave": "rslave", "private": "private",
	} {
		spec := valid()
		spec.Linux.RootfsPropagation = in
		if got := adapt(t, spec, Host{}).Spec.Linux.RootfsPropagation; got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	spec := valid()
	spec.Linux.RootfsPropagation = "x"
	refused(t, spec, Host{}, "rootfsPropagation")
}

func TestNoHostKernelMounts(t *testing.T) {
	spec := valid()
	spec.Mounts = []specs.Mount{
		{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "ro"}},
		{Destination: "/data", Type: "bind", Source: "/sys"},
	}
	m := adapt(t, spec, Host{}).Spec.Mounts
	if m[0].Type != "sysfs" || strings.Join(m[0].Options, ",") != "ro" || m[1].Type != "bind" {
		t.Errorf("%+v", m)
	}
}

func TestNoDeviceMounts(t *testing.T) {
	spec := valid()
	spec.Mounts = []specs.Mount{
		{Destination: "/dev/vda", Type: "bind", Source: "/dev/vda"}, {Destination: "/dev/log", Type: "bind", Source: "/run/log"},
		{Destination: "/etc/shadow", Type: "bind", Source: "/dev/null"},
	}
	m := adapt(t, spec, tree(map[string]FileKind{"/dev/vda": Device, "/run/log": File, "/dev/null": Device})).Spec.Mounts
	if len(m) != 2 || m[0].Destination != "/dev/log" || m[1].Source != "/empty" || strings.Join(m[1].Options, ",") != "bind,ro" {
		t.Errorf("%+v", m)
	}
}

func TestMaskPaths(t *testing.T) {
	spec := valid()
	spec.Mounts = []specs.Mount{{Destination: "/vol", Type: "bind", Source: "/data"}, {Destination: "/t", Type: "tmpfs"}}
	spec.Linux.MaskedPaths = []string{"/proc/kcore", "/sys/firmware", "/etc/secret", "/opt/", "/vol/f", "/t/x", "/none"}
	a := adapt(t, spec, tree(map[string]FileKind{
		"/bundle/rootfs/etc/secret": File, "/bundle/rootfs/opt": Directory, "/data/f": File, "/bundle/rootfs/t/x": File,
	}))
	got := map[string]string{}
	for _, m := range a.Spec.Mounts[2:] {
		got[m.Destination] = m.Type + " " + m.Source
	}
	want := map[string]string{"/sys/firmware": "tmpfs tmpfs", "/etc/secret": "bind /empty", "/opt": "tmpfs tmpfs", "/vol/f": "bind /empty"}
	if !reflect.DeepEqual(got, want) || !a.noted("/proc/kcore") || a.Spec.Linux.MaskedPaths != nil {
		t.Errorf("%v, %q", got, a.Notes)
	}
}

func TestProtectPaths(t *testing.T) {
	spec := valid()
	spec.Mounts = []specs.Mount{{Destination: "/vol", Type: "bind", Source: "/data"}}
	spec.Linux.ReadonlyPaths = []string{"/proc/sys", "/proc/asound", "/etc", "/vol/d", "/none"}
	a := adapt(t, spec, tree(map[string]FileKind{"/bundle/rootfs/etc": Directory, "/data/d": Directory}))
	m := a.Spec.Mounts
	if len(m) != 3 || m[1].Source != "/bundle/rootfs/etc" || m[2].Source != "/data/d" || strings.Join(m[2].Options, ",") != "rbind,ro" || !a.noted("/proc/sys") {
		t.Errorf("%+v, %q", m, a.Notes)
	}
	for _, m := range m {
		if ofKernel(m.Source) {
			t.Errorf("the host's %s is shown", m.Source)
		}
	}
}

func TestRelaxOOM(t *testing.T) {
	spec := valid()
	score := -500
	spec.Process.OOMScoreAdj = &score
	if a := adapt(t, spec, Host{UserNS: true, OOMScoreAdj: 200}); a.Spec.Process.OOMScoreAdj != nil || !a.noted("-500") {
		t.Errorf("%+v", a)
	}
	if a := adapt(t, spec, Host{}); *a.Spec.Process.OOMScoreAdj != score {
		t.Errorf("%+v", a)
	}
}

func TestFillResources(t *testing.T) {
	spec := valid()
	spec.Linux = nil
	if a := adapt(t, spec, Host{}); a.Spec.Linux.Resources == nil {
		t.Errorf("%+v", a.Spec.Linux)
	}
}

func TestNotePod(t *testing.T) {
	spec := valid()
	spec.Annotations = map[string]string{"io.kubernetes.cri-o.ContainerType": "sandbox", "io.kubernetes.cri-o.SandboxID": "x"}
	if a := adapt(t, spec, Host{}); a.Sandbox != "" {
		t.Errorf("the first: %q", a.Sandbox)
	}
	spec.Annotations["io.kubernetes.cri-o.ContainerType"] = "container"
	if a := adapt(t, spec, Host{}); a.Sandbox != "x" {
		t.Errorf("a member: %q", a.Sandbox)
	}
	delete(spec.Annotations, "io.kubernetes.cri-o.SandboxID")
	refused(t, spec, Host{}, "SandboxID is not set")
}

func TestNoteNetwork(t *testing.T) {
	for want, list := range map[bool][]specs.LinuxNamespace{
		true:  {{Type: specs.NetworkNamespace}},
		false: {{Type: specs.NetworkNamespace}, {Type: specs.UserNamespace}},
	} {
		spec := valid()
		spec.Linux.Namespaces = list
		if got := adapt(t, spec, Host{}).NewNetwork; got != want {
			t.Errorf("%+v: %v", list, got)
		}
	}
	spec := valid()
	spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.NetworkNamespace, Path: "/x"}}
	if adapt(t, spec, Host{}).NewNetwork {
		t.Error("an engine's namespace")
	}
}

func TestNoteNetRaw(t *testing.T) {
	spec := valid()
	if adapt(t, spec, Host{}).NetRaw {
		t.Error("without capabilities")
	}
	spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_NET_RAW"}}
	if !adapt(t, spec, Host{}).NetRaw {
		t.Error("with CAP_NET_RAW")
	}
}

func TestNoteSeccomp(t *testing.T) {
	spec := valid()
	spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	if a := adapt(t, spec, Host{}); !a.Seccomp {
		t.Errorf("%+v", a)
	}
}

func TestNoteDevices(t *testing.T) {
	spec := valid()
	spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/null"}, {Path: "/dev/sda"}}
	if a := adapt(t, spec, Host{}); len(a.Notes) != 1 || !a.noted("/dev/sda") {
		t.Errorf("%q", a.Notes)
	}
}

func TestTemplate(t *testing.T) {
	for _, rootless := range []bool{false, true} {
		a := adapt(t, Template(rootless, 7, 8), Host{OwnUserNS: true, UserNS: true})
		if rootless != (len(a.UIDs) == 1 && a.UIDs[0].HostID == 7 && a.GIDs[0].HostID == 8) {
			t.Errorf("rootless %v: %+v", rootless, a)
		}
	}
}

func TestExecProcess(t *testing.T) {
	yes, gid := true, uint32(9)
	base := &specs.Process{
		Args: []string{"init"}, Cwd: "/", Env: []string{"A=1"}, Terminal: true,
		User:         specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}},
		Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL"}},
	}
	p := ExecProcess(base, ExecConfig{
		Args: []string{"x"}, Cwd: "/c", Env: []string{"B=2"}, Capabilities: []string{"CAP_CHOWN"},
		User: &User{UID: 5, GID: &gid}, AdditionalGIDs: []uint32{4}, NoNewPrivileges: &yes,
	})
	want := &specs.Process{
		Args: []string{"x"}, Cwd: "/c", Env: []string{"A=1", "B=2"}, NoNewPrivileges: true,
		User: specs.User{UID: 5, GID: 9, AdditionalGids: []uint32{3, 4}},
		Capabilities: &specs.LinuxCapabilities{
			Bounding: []string{"CAP_KILL", "CAP_CHOWN"}, Effective: []string{"CAP_CHOWN"}, Permitted: []string{"CAP_CHOWN"},
		},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("%+v", p)
	}
	if p := ExecProcess(base, ExecConfig{Args: []string{"x"}}); p.User.UID != 1 || p.Terminal || p.Cwd != "/" || len(p.Env) != 1 {
		t.Errorf("%+v", p)
	}
}

func TestLoad(t *testing.T) {
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "config.json not found") {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := Write(dir, valid()); err != nil {
		t.Fatal(err)
	}
	if spec, err := Load(dir); err != nil || spec.Process.Args[0] != "sh" {
		t.Error(spec, err)
	}
}
