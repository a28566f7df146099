package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/shim"
)

// This file is what the verbs of runc's command line share.

// globalFlags are runc's flags before the verb, beyond those that it has in
// common with a fresh sandbox.
type globalFlags struct {
	root          string
	log           string
	logFormat     logFormat
	systemdCgroup bool
	cgroupManager cgroupManager
}

// logFormat is how a line of --log looks.
type logFormat string

func (f *logFormat) String() string {
	if *f == "" {
		return "text"
	}
	return string(*f)
}

// Values are the formats there are.
func (*logFormat) Values() []string     { return []string{"text", "json"} }
func (f *logFormat) Set(s string) error { return setWord(f, s, f.Values()) }

// cgroupManager is who makes cgroups; crun has this flag.
type cgroupManager string

func (m *cgroupManager) String() string {
	if *m == "" {
		return "cgroupfs"
	}
	return string(*m)
}

// Values are the managers there are.
func (*cgroupManager) Values() []string     { return []string{"cgroupfs", "systemd", "disabled"} }
func (m *cgroupManager) Set(s string) error { return setWord(m, s, m.Values()) }

func setWord[T ~string](dst *T, s string, allowed []string) error {
	if !slices.Contains(allowed, s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(allowed, ", "))
	}
	*dst = T(s)
	return nil
}

func (f *globalFlags) list() []cli.Flag {
	return []cli.Flag{
		value("root", "`DIR` of the containers' state", str(&f.root)),
		value("log", "append errors to `FILE`, as well as to stderr", str(&f.log)),
		value("log-format", "format of -log: `text` or json", &f.logFormat),
		boolean("systemd-cgroup", "make a container's cgroup through systemd", &f.systemdCgroup),
		value("cgroup-manager", "who makes cgroups: `cgroupfs`, systemd or disabled", &f.cgroupManager),
		// Callers of runc say with it whether cgroup errors may be ignored. We find
		// out what may be done and need not be told.
		value("rootless", "accepted as runc does: `BOOL` or auto", setter(func(s string) error {
			var word string
			return setWord(&word, s, []string{"true", "false", "auto"})
		})),
	}
}

// runcCommands are the verbs of runc's, but for exec.
func (inv *invocation) runcCommands(onUsageError cli.OnUsageErrorFunc) []*cli.Command {
	commands := []*cli.Command{
		inv.createCommand(), inv.startCommand(), inv.stateCommand(), inv.killCommand(), inv.deleteCommand(),
		inv.runCommand(), inv.psCommand(), inv.listCommand(), inv.pauseCommand(), inv.resumeCommand(),
		inv.updateCommand(), inv.eventsCommand(), inv.featuresCommand(), inv.specCommand(),
		inv.checkpointCommand(), inv.restoreCommand(),
	}
	for _, c := range commands {
		c.OnUsageError, c.HideHelpCommand = onUsageError, true
		c.UsageText = strings.TrimSpace("gvisor-exec " + c.Name + " [flags] " + c.ArgsUsage)
	}
	return commands
}

// aliased is a flag with a short name, whose value may be set twice.
func aliased(short, name, usage string, v cli.Generic) cli.Flag {
	return &cli.GenericFlag{Name: name, Aliases: []string{short}, Usage: usage, Value: v}
}

// wantArgs checks the number of arguments of a verb.
func wantArgs(c *cli.Context, least, most int) error {
	if n := c.NArg(); n < least || n > most {
		return usagef(c.Command.UsageText, "%s: %d arguments given", c.Command.Name, n)
	}
	return nil
}

// refuseFlags fails if one of these flags was given, and says when it makes no
// sense.
func refuseFlags(c *cli.Context, when string, flags []cli.Flag) error {
	for _, f := range flags {
		for _, name := range f.Names() {
			if slices.Contains(c.LocalFlagNames(), name) {
				return usagef("", "cannot use -%s %s", name, when)
			}
		}
	}
	return nil
}

// keepInherited marks what we inherited close-on-exec, as closeInherited does,
// and fails unless the descriptors from 3 to 3+n-1 are among it.
func keepInherited(n uint) error {
	inherited, err := closeInherited(int(n))
	if err != nil {
		return err
	}
	for fd := 3; fd < 3+int(n); fd++ {
		if !slices.Contains(inherited, fd) {
			return fmt.Errorf("cannot pass on descriptor %d: %w", fd, unix.EBADF)
		}
	}
	return nil
}

// containersRoot is the directory of the containers.
func (inv *invocation) containersRoot() (string, error) {
	if inv.global.root != "" {
		return filepath.Abs(inv.global.root)
	}
	return shim.ContainersRoot(callingHost())
}

// container loads the one that the first argument names.
func (inv *invocation) container(c *cli.Context) (*shim.Container, error) {
	root, err := inv.containersRoot()
	if err != nil {
		return nil, err
	}
	return shim.Load(root, c.Args().First())
}

// on is the action of a verb that takes an id and does one thing to it.
func (inv *invocation) on(do func(*shim.Container) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := wantArgs(c, 1, 1); err != nil {
			return err
		}
		container, err := inv.container(c)
		if err != nil {
			return err
		}
		return do(container)
	}
}

// The statuses of runc's verbs.
const (
	exitFailed     = 1
	exitExecFailed = 255
)

// reportOCI tells the caller of a verb of runc's about err: in the log, where
// engines look for one object, and on stderr.
func (inv *invocation) reportOCI(err error) int {
	if logErr := inv.logLine("error", printable(err.Error())); logErr != nil {
		warn("%v", logErr)
	}
	report(err)
	if inv.verb == "exec" {
		return exitExecFailed
	}
	return exitFailed
}

func (inv *invocation) logLine(level, msg string) (err error) {
	if inv.global.log == "" {
		return nil
	}
	f, err := os.OpenFile(inv.global.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("cannot log: %w", err)
	}
	now := time.Now().Format(time.RFC3339)
	line := []byte(fmt.Sprintf("time=%q level=%s msg=%q", now, level, msg))
	if inv.global.logFormat == "json" {
		line, err = json.Marshal(map[string]string{"level": level, "msg": msg, "time": now})
	}
	if err == nil {
		_, err = f.Write(append(line, '\n'))
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// debug takes what -debug shows. Without it the log must hold one object.
func (inv *invocation) debug(format string, args ...any) {
	switch {
	case !inv.flags.debug:
	case inv.global.log != "":
		inv.logLine("debug", printable(fmt.Sprintf(format, args...)))
	default:
		verbose(format, args...)
	}
}

// printJSON prints v on standard output; indent is for people.
func printJSON(v any, indent string) error {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", indent)
	return out.Encode(v)
}

// printVersion prints what --version asks for. go-runc reads the rest only if the
// first line begins like runc's, docker takes the first line with a version, and
// podman shows all of it.
func printVersion(*cli.Context) {
	fmt.Printf("runc version gvisor-exec-%s\n", version)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				fmt.Printf("commit: %s\n", s.Value)
			}
		}
	}
	fmt.Printf("spec: %s\ngvisor-exec %s\n", specs.Version, fullVersion())
}
