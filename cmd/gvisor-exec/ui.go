package main

import (
	"fmt"
	"os"
	"strings"
	"unicode"
)

// say writes one line of ours to stderr. Nothing of ours goes to stdout of a
// run. What comes from elsewhere may hold escape sequences and newlines; they
// are shown, not sent.
func say(prefix, format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", prefix, printable(fmt.Sprintf(format, args...)))
}

func warn(format string, args ...any)    { say("gvisor-exec: warning", format, args...) }
func verbose(format string, args ...any) { say("gvisor-exec", format, args...) }

// traced prints a system call of the command.
func traced(call string) { fmt.Fprintln(os.Stderr, printable(call)) }

// report tells the user of err and returns the exit status that it means.
func report(err error) int {
	say("gvisor-exec", "%s", err)
	if hint := hintOf(err); hint != "" {
		say("hint", "%s", hint)
	}
	return exitStatus(err)
}

func printable(s string) string {
	var b strings.Builder
	for _, r := range strings.TrimRight(s, "\n") {
		switch {
		case r == '\n':
			b.WriteString("; ")
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(fmt.Sprintf("%+q", r), "'"))
		}
	}
	return b.String()
}
