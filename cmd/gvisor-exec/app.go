package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// version is stamped by make.
var version = "devel"

// run does what argv asks for and returns the exit status.
func run(argv []string) int {
	inv := invocation{}
	app := newApp(&inv)
	argv = inv.arrange(app, argv)
	err := app.Run(argv)
	switch {
	case err == nil:
		return inv.status
	case inv.oci:
		return inv.reportOCI(err)
	}
	// A command that ran and failed has the last word, whatever failed after it.
	if status := report(err); inv.status == 0 {
		return status
	}
	return inv.status
}

// invocation is what the verbs share: the command behind the first --, and
// the flags that both forms of a fresh sandbox take.
type invocation struct {
	command []string
	// fresh says that there was a --.
	fresh  bool
	flags  execFlags
	status int

	// oci says that the verb is one of runc's, verb which.
	oci    bool
	verb   string
	global globalFlags
	inside insideFlags
}

// splitArgv splits argv at the first --. What follows is the command, verbatim:
// no parser sees it, and it is never a verb.
func splitArgv(argv []string) (ours, command []string, found bool) {
	i := slices.Index(argv, "--")
	if i < 0 {
		return argv, nil, false
	}
	return argv[:i:i], argv[i+1:], true
}

// newApp builds the command line. A flag given before a verb and one given
// behind it set the same variable, so the later wins.
func newApp(inv *invocation) *cli.App {
	inv.flags.setDefaults()
	cli.FlagStringer = describeFlag
	cli.VersionPrinter = printVersion
	onUsageError := func(_ *cli.Context, err error, _ bool) error { return &usageError{err: err} }
	app := &cli.App{
		Name:            "gvisor-exec",
		Usage:           "run what you did not write in a fresh gVisor sandbox",
		UsageText:       "gvisor-exec exec [flags] -- CMD [ARG…]\ngvisor-exec [flags] -- CMD [ARG…]\ngvisor-exec [flags] VERB [flags] [ID] …",
		Description:     description,
		Version:         fullVersion(),
		HideHelpCommand: true,
		Flags:           append(inv.flags.list(), inv.global.list()...),
		Action:          inv.exec,
		Commands: append([]*cli.Command{{
			Name:            "exec",
			Usage:           "run a host command in a fresh sandbox, or a process in a container",
			UsageText:       "gvisor-exec exec [flags] -- CMD [ARG…]\ngvisor-exec exec [flags] ID CMD [ARG…]",
			Flags:           append(inv.flags.list(), inv.insideList()...),
			Action:          inv.exec,
			HideHelpCommand: true,
			OnUsageError:    onUsageError,
		}, generateCommand()}, inv.runcCommands(onUsageError)...),
		OnUsageError:              onUsageError,
		ExitErrHandler:            func(*cli.Context, error) {},
		DisableSliceFlagSeparator: true,
	}
	return app
}

// describeFlag is a line of the help. The library takes every value for one that
// must be given; a toggle's need not.
func describeFlag(f cli.Flag) string {
	line := stringFlag(f)
	if g, ok := f.(*cli.GenericFlag); ok {
		if _, ok := g.Value.(toggle); ok {
			names, usage, _ := strings.Cut(line, "\t")
			return strings.ReplaceAll(names, " value", "") + "\t" + usage
		}
	}
	return line
}

var stringFlag = cli.FlagStringer

func fullVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "devel" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return version + " " + s.Value
			}
		}
	}
	return version
}

// usageError is a command line that makes no sense; its exit status is 2.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }

func usagef(hint, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), hint: hint}
}

// closeInherited marks every descriptor above stdio close-on-exec: what our
// caller forgot to close reaches nobody. It returns those of the first preserve
// ones that are our caller's, to be passed on one by one: all that survived our
// exec are, and those that the Go runtime has opened since would not survive one.
func closeInherited(preserve int) (inherited []int, err error) {
	for fd := 3; fd < 3+preserve; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			inherited = append(inherited, fd)
		}
	}
	err = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("cannot mark inherited descriptors: %w", err)
	}
	return inherited, nil
}
