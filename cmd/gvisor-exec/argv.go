package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange prepares argv for the library, which knows neither a -- in our sense
// nor flags behind an argument. What follows the first -- is the command of a
// fresh sandbox, unless a verb of runc's stands before it.
func (inv *invocation) arrange(app *cli.App, argv []string) []string {
	ours, command, found := splitArgv(argv)
	verbAt := firstArgument(app.Flags, ours, 1)
	var cmd *cli.Command
	if verbAt < len(ours) {
		cmd = app.Command(ours[verbAt])
	}
	switch {
	case cmd == nil || cmd.Name == "generate":
	case isRegisterVerb(cmd.Name):
		return append(ours[:verbAt+1:verbAt+1], flagsFirst(cmd.Flags, ours[verbAt+1:], command)...)
	case cmd.Name == "exec":
		id := firstArgument(cmd.Flags, ours, verbAt+1)
		if id == len(ours) && found {
			break // a fresh sandbox
		}
		inv.oci, inv.verb = id < len(ours), cmd.Name
		if found && id == len(ours)-1 {
			return append(ours, command...) // exec ID -- CMD
		}
		return argv
	default:
		inv.oci, inv.verb = true, cmd.Name
		args := append(ours[verbAt+1:len(ours):len(ours)], command...)
		if cmd.Name != "ps" { // the later arguments of which are for ps
			args = flagsFirst(cmd.Flags, ours[verbAt+1:], command)
		}
		return append(ours[:verbAt+1:verbAt+1], args...)
	}
	inv.command, inv.fresh = command, found
	return ours
}

// firstArgument returns the index, from start on, of the first word of argv that
// is neither a flag nor a flag's value; len(argv): there is none.
func firstArgument(flags []cli.Flag, argv []string, start int) int {
	for i := start; i < len(argv); i++ {
		if !isFlag(argv[i]) {
			return i
		}
		if takesNext(flags, argv[i]) {
			i++
		}
	}
	return len(argv)
}

// flagsFirst puts the flags in args before the arguments. rest are arguments.
func flagsFirst(flags []cli.Flag, args, rest []string) []string {
	var front, back []string
	for i := 0; i < len(args); i++ {
		if !isFlag(args[i]) {
			back = append(back, args[i])
			continue
		}
		front = append(front, args[i])
		if takesNext(flags, args[i]) && i+1 < len(args) {
			i++
			front = append(front, args[i])
		}
	}
	// An argument that looks like a flag came behind a --.
	return append(append(append(front, "--"), back...), rest...)
}

func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' }

// takesNext reports whether the next word is the value of this flag.
func takesNext(flags []cli.Flag, word string) bool {
	name, _, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if hasValue {
		return false
	}
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			g, ok := f.(*cli.GenericFlag)
			if !ok {
				return false
			}
			b, ok := g.Value.(interface{ IsBoolFlag() bool })
			return !ok || !b.IsBoolFlag()
		}
	}
	return false
}
