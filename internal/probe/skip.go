package probe

import "os"

// Skipper is what Skip needs of a *testing.T.
type Skipper interface {
	Helper()
	Skipf(format string, args ...any)
}

// Skip skips a test that cannot run where c is not OK, and says why. It is the
// only way in which a test of ours is skipped.
func Skip(t Skipper, c Check) {
	t.Helper()
	if !c.OK {
		t.Skipf("%s: %s (%s)", c.Name, c.Reason, c.Fix)
	}
}

// Root reports whether we are root.
func Root() Check {
	if os.Getuid() == 0 {
		return Check{Name: "root", OK: true}
	}
	return Check{Name: "root", Reason: "we are an ordinary user", Fix: "run as root"}
}
