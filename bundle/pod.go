package bundle

import specs "github.com/opencontainers/runtime-spec/specs-go"

// podAnnotations are those by which engines tell that a container belongs into
// the sandbox of another, and which other. runsc obeys both.
var podAnnotations = []struct{ kind, sandbox string }{
	{"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"},
	{"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"},
}

// podMember is the value of the first of them for a member of a pod.
const podMember = "container"

// PodSandbox returns the id of the container whose sandbox the spec asks for;
// empty: it gets one of its own.
func PodSandbox(spec *specs.Spec) string {
	for _, a := range podAnnotations {
		// The first that is there decides, as in runsc.
		if kind, ok := spec.Annotations[a.kind]; ok {
			if kind != podMember {
				return ""
			}
			return spec.Annotations[a.sandbox]
		}
	}
	return ""
}

// LeavePod makes the spec one of a container with a sandbox of its own.
func LeavePod(spec *specs.Spec) {
	for _, a := range podAnnotations {
		delete(spec.Annotations, a.kind)
		delete(spec.Annotations, a.sandbox)
	}
}
