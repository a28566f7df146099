package bundle

import "fmt"

// podAnnotations are how engines say that a container is a pod's: its type, and
// the id of the sandbox. podman has taken over CRI-O's.
var podAnnotations = []struct{ kind, sandbox string }{
	{"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"},
	{"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"},
}

// notePod: a member of a pod shares the sandbox of its first container.
func notePod(a *adaptation) error {
	for _, p := range podAnnotations {
		if a.Spec.Annotations[p.kind] == "container" {
			a.Sandbox = a.Spec.Annotations[p.sandbox]
			if a.Sandbox == "" {
				return fmt.Errorf("cannot use the bundle: annotation %s is container, and %s is not set", p.kind, p.sandbox)
			}
		}
	}
	return nil
}

// LeavePod makes the spec one of a container with a sandbox of its own.
func (a *Adapted) LeavePod() {
	a.Sandbox = ""
	for _, p := range podAnnotations {
		delete(a.Spec.Annotations, p.kind)
		delete(a.Spec.Annotations, p.sandbox)
	}
}
