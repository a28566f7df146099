package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/gvisor-exec/gvisor-exec/internal/register"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// This file is install and uninstall but for what podman and docker have of
// their own, which is in a file each.

// installFlags are the flags of both verbs.
type installFlags struct {
	yes, dryRun bool
	// isDefault is -default; nil: it was not given.
	isDefault *bool
	// configFile is docker's, if it is not at its usual place.
	configFile string
}

// edit is a change to one file of somebody else's configuration.
type edit struct {
	path string
	// old and new are the content; nil: no such file.
	old, new []byte
	// empty are directories that go with the file if it was all that they held.
	empty []string
	// done is said when nothing is to do, and warnings and hint, if any, when something was done.
	done     string
	warnings []string
	hint     string
}

// engine is somebody who runs OCI runtimes.
type engine struct {
	name               string
	install, uninstall func(installFlags) (*edit, error)
}

var engines = []engine{
	{"podman", installPodman, uninstallPodman},
	{"docker", installDocker, uninstallDocker},
}

// isRegisterVerb reports whether a verb is none of runc's, but one of these.
func isRegisterVerb(name string) bool { return name == "install" || name == "uninstall" }

// registerCommands are the verbs that change the configuration of others.
func registerCommands(onUsageError cli.OnUsageErrorFunc) []*cli.Command {
	commands := []*cli.Command{installCommand(), uninstallCommand()}
	for _, c := range commands {
		c.OnUsageError, c.HideHelpCommand = onUsageError, true
		c.UsageText = "gvisor-exec " + c.Name + " [flags] " + c.ArgsUsage
	}
	return commands
}

func installCommand() *cli.Command {
	f := installFlags{}
	return &cli.Command{
		Name: "install", Usage: "register the runtime with podman or docker", ArgsUsage: "podman|docker",
		Flags: append(f.list(), value("default", "make it the default runtime; -default=false: no longer",
			toggle{func(on bool) { f.isDefault = &on }})),
		Action: func(c *cli.Context) error {
			return f.run(c, func(e engine) func(installFlags) (*edit, error) { return e.install })
		},
	}
}

func uninstallCommand() *cli.Command {
	f := installFlags{}
	return &cli.Command{
		Name: "uninstall", Usage: "take back what install has written", ArgsUsage: "podman|docker", Flags: f.list(),
		Action: func(c *cli.Context) error {
			return f.run(c, func(e engine) func(installFlags) (*edit, error) { return e.uninstall })
		},
	}
}

func (f *installFlags) list() []cli.Flag {
	return []cli.Flag{
		&cli.GenericFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask", Value: toggle{func(on bool) { f.yes = on }}},
		boolean("dry-run", "show what would be written, and write nothing", &f.dryRun),
		value("config-file", "docker's `FILE`, as dockerd has it (default: /etc/docker/daemon.json, and the user's for rootless docker)", str(&f.configFile)),
	}
}

// runtimeFlag is what has to be said to get our runtime.
func (f *installFlags) runtimeFlag() string {
	if f.isDefault != nil && *f.isDefault {
		return ""
	}
	return "--runtime " + register.Name + " "
}

// run finds out what is to be written, shows it, asks and writes it.
func (f *installFlags) run(c *cli.Context, verb func(engine) func(installFlags) (*edit, error)) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	for _, e := range engines {
		if e.name != c.Args().First() {
			continue
		}
		change, err := verb(e)(*f)
		if err == nil {
			err = f.carryOut(change)
		}
		var usage *usageError
		if err == nil || errors.As(err, &usage) {
			return err
		}
		return &installError{fmt.Errorf("cannot %s %s: %w", c.Command.Name, e.name, err)}
	}
	return usagef(c.Command.UsageText, "cannot %s %q", c.Command.Name, c.Args().First())
}

func (f *installFlags) carryOut(e *edit) error {
	if bytes.Equal(e.old, e.new) && (e.old == nil) == (e.new == nil) {
		e.warn()
		verbose("nothing to do: %s", e.done)
		return nil
	}
	ask := !f.yes && !f.dryRun
	if ask && !(term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))) {
		return usagef("look at it with -dry-run, then say -yes", "cannot ask whether to write %s: there is no terminal", e.path)
	}
	e.warn()
	e.show()
	if f.dryRun {
		return nil
	}
	if ask && !confirmed() {
		return errors.New("nothing was written")
	}
	if err := e.write(); err != nil {
		return err
	}
	if e.hint != "" {
		say("hint", "%s", e.hint)
	}
	return nil
}

func (e *edit) warn() {
	for _, w := range e.warnings {
		warn("%s", w)
	}
}

// show prints the change on stdout, for which it was asked.
func (e *edit) show() {
	what := "to be changed"
	switch {
	case e.old == nil:
		what = "to be written"
	case e.new == nil:
		what = "to be removed"
	}
	fmt.Printf("%s, %s:\n", printable(e.path), what)
	for _, line := range register.Diff(e.old, e.new) {
		fmt.Println(printable(strings.ReplaceAll(strings.TrimSuffix(line, "\r"), "\t", "    ")))
	}
}

func confirmed() bool {
	fmt.Print("Go on? [y/N] ")
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// installError is a failure of install or uninstall, whose status is 1: nothing
// here is about a sandbox.
type installError struct{ err error }

func (e *installError) Error() string { return e.err.Error() }
func (e *installError) Unwrap() error { return e.err }

// ourPath is the path to register, with what speaks against it. It is that of the
// binary itself: what installs us may lay symbolic links and change them.
func ourPath() (path string, warnings []string, err error) {
	if path, err = os.Executable(); err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return "", nil, fmt.Errorf("cannot register this binary: %w", err) // it was replaced since
	}
	places, err := placesOf(path)
	if err != nil {
		return "", nil, err
	}
	if why := register.Distrust(places, uint32(os.Geteuid())); why != "" {
		warnings = append(warnings, fmt.Sprintf("%s is no good place for a runtime: %s", path, why))
	}
	if _, err := runsc.Find("", path); err != nil {
		warnings = append(warnings, err.Error())
	}
	return path, warnings, nil
}

// placesOf describes path and the directories above it.
func placesOf(path string) ([]register.Place, error) {
	var places []register.Place
	for p := path; ; p = filepath.Dir(p) {
		info, err := os.Lstat(p)
		if err != nil {
			return nil, err
		}
		stat := info.Sys().(*syscall.Stat_t)
		places = append([]register.Place{{Path: p, Mode: info.Mode(), UID: stat.Uid, GID: stat.Gid}}, places...)
		if p == "/" {
			return places, nil
		}
	}
}

// orphans is what uninstall warns of; list shows containers.
func orphans(list string) string {
	return "containers made with " + register.Name + " cannot be stopped or removed without it: remove them first (" + list + ")"
}

// configHome is where the user's configuration lies.
func configHome() (string, error) {
	dir, err := os.UserConfigDir() // $XDG_CONFIG_HOME, or ~/.config
	if err != nil {
		return "", fmt.Errorf("cannot find your configuration: %w", err)
	}
	return dir, nil
}
