package probe

import (
	"fmt"
	"os"
)

// SkipsEnv names a file that gets a line for each skip: go test says nothing of
// them where all else passes, and CI counts them.
const SkipsEnv = "GVISOR_EXEC_SKIPS"

// Skipper is what Skip needs of a *testing.T.
type Skipper interface {
	Helper()
	Name() string
	Skipf(format string, args ...any)
}

// Skip skips a test that cannot run where c is not OK, and says why. It is the
// only way in which a test of ours is skipped.
func Skip(t Skipper, c Check) {
	t.Helper()
	if c.OK {
		return
	}
	why := fmt.Sprintf("%s: %s (%s)", c.Name, c.Reason, c.Fix)
	if f, err := os.OpenFile(os.Getenv(SkipsEnv), os.O_APPEND|os.O_WRONLY, 0); err == nil {
		fmt.Fprintf(f, "%s: %s\n", t.Name(), why)
		f.Close()
	}
	t.Skipf("%s", why)
}

// Root reports whether we are root.
func Root() Check {
	if os.Getuid() == 0 {
		return Check{Name: "root", OK: true}
	}
	return Check{Name: "root", Reason: "we are an ordinary user", Fix: "run as root"}
}
