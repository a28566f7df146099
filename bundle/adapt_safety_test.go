package bundle

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestDropAnnotations(t *testing.T) {
	spec := valid()
	spec.Annotations = map[string]string{"dev.gvisor.flag.host-uds": "all", "dev.gvisor.spec.mount.v.type": "tmpfs", "org.example": "kept"}
	a := adapt(t, spec, Host{})
	if len(a.Spec.Annotations) != 1 || a.Spec.Annotations["org.example"] != "kept" || !a.noted("host-uds") {
		t.Errorf("%v, %q", a.Spec.Annotations, a.Notes)
	}
	if len(spec.Annotations) != 3 {
		t.Error("the spec itself was changed")
	}
}

func TestClampAmbient(t *testing.T) {
	spec := valid()
	spec.Process.Capabilities = &specs.LinuxCapabilities{
		Permitted: []string{"CAP_CHOWN", "CAP_KILL"}, Inheritable: []string{"CAP_KILL", "CAP_FOWNER"},
		Ambient: []string{"CAP_CHOWN", "CAP_KILL", "CAP_FOWNER"},
	}
	if got := adapt(t, spec, Host{}).Spec.Process.Capabilities.Ambient; !slices.Equal(got, []string{"CAP_KILL"}) {
		t.Errorf("ambient: %q", got)
	}
}

func TestCheckSeccomp(t *testing.T) {
	spec := valid()
	spec.Linux = &specs.Linux{Seccomp: &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActLog}},
	}}
	a := adapt(t, spec, Host{})
	if got := a.Spec.Linux.Seccomp.Syscalls[0].Action; got != specs.ActAllow || !a.noted("SCMP_ACT_LOG") {
		t.Errorf("%s, %q", got, a.Notes)
	}
	spec.Linux.Seccomp.DefaultAction = specs.ActNotify
	refused(t, spec, Host{}, "SCMP_ACT_NOTIFY")
}

func TestNoteKernel(t *testing.T) {
	spec := valid()
	spec.Linux = &specs.Linux{
		Sysctl:     map[string]string{"net.ipv4.ip_forward": "1"},
		Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace, Path: "/proc/1/ns/pid"}, {Type: specs.IPCNamespace}},
	}
	a := adapt(t, spec, Host{})
	if !a.noted("ip_forward") || !a.noted("a pid namespace of its own") || !a.noted("a uts namespace") || a.noted("an ipc") || a.noted("a ipc") {
		t.Errorf("%q", a.Notes)
	}
}
