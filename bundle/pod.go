package bundle

// LeavePod makes the spec one of a container with a sandbox of its own.
func (a *Adapted) LeavePod() {
	a.Sandbox = ""
	for _, p := range podAnnotations {
		delete(a.Spec.Annotations, p.kind)
		delete(a.Spec.Annotations, p.sandbox)
	}
}
