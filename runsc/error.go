package runsc

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Error is a failure of runsc itself, never of the command in the sandbox.
type Error struct {
	// Verb that was called.
	Verb string
	// Status is runsc's exit status, 128+N when signal N ended it.
	Status int
	// Msg is what it logged, Stderr what it wrote; either may be empty.
	Msg, Stderr string
}

func (e *Error) Error() string {
	msg := e.Msg
	if msg == "" {
		msg = strings.TrimSpace(e.Stderr)
	}
	if msg == "" {
		msg = fmt.Sprintf("exit status %d", e.Status)
	}
	return fmt.Sprintf("runsc %s: %s", e.Verb, msg)
}

// sortedKeys fixes the order in which a map reaches a command line.
func sortedKeys[V any](m map[int]V) []int { return slices.Sorted(maps.Keys(m)) }

// CommandFault is what was wrong with a command that runsc could not start.
type CommandFault int

// The faults of a command.
const (
	// NoCommandFault: the command was not to blame.
	NoCommandFault CommandFault = iota
	// CommandNotFound: there is no such file.
	CommandNotFound
	// CommandNotExecutable: it is a directory, or not executable, or of no
	// format that the sandbox knows.
	CommandNotExecutable
)

// starting are the words behind which the sentry says what is wrong with a
// command, and faults the phrases for it (gVisor v0.0.0-20260905035102).
var (
	starting = []string{"creating process: failed to load ", "error finding executable "}
	faults   = []struct {
		phrase string
		fault  CommandFault
	}{
		{"no such file or directory", CommandNotFound},
		{"permission denied", CommandNotExecutable},
		{"exec format error", CommandNotExecutable},
		{"not a directory", CommandNotExecutable},
		{"too many symbolic links encountered", CommandNotExecutable},
		{"file name too long", CommandNotExecutable},
		{"argument list too long", CommandNotExecutable},
	}
)

// Command reports whether and how the command was to blame, and in whose words.
func (e *Error) Command() (CommandFault, string) {
	for _, words := range starting {
		_, what, found := strings.Cut(e.Msg, words)
		for _, f := range faults {
			if found && strings.HasSuffix(what, f.phrase) {
				return f.fault, f.phrase
			}
		}
	}
	return NoCommandFault, ""
}
