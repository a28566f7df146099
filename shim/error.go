package shim

// FailureKind tells why a command did not run, as far as callers need to know.
type FailureKind int

// The kinds of failures.
const (
	// Broken: the sandbox could not be started.
	Broken FailureKind = iota
	// NotFound: there is no such command in the sandbox.
	NotFound
	// NotExecutable: the command is there and cannot be executed.
	NotExecutable
	// noProc: a PID namespace of ours could have no /proc.
	noProc
)

// Failure is why a command did not run.
type Failure struct {
	Kind FailureKind
	// Hint is what the user can do about it; empty: nothing is known.
	Hint string
	err  error
}

func (f *Failure) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.err }
