package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/shim"
)

// insideFlags are the flags of `exec ID` that a fresh sandbox has not.
type insideFlags struct {
	detach, ignorePaused   bool
	process                string
	pidFile, consoleSocket string
	user                   *bundle.User
	groups                 []uint32
	caps                   bundle.Capabilities
	noNewPrivs             *bool
	ignored                string
}

// shared are the flags of a fresh sandbox that `exec ID` has too.
var sharedFlags = []string{"cwd", "env", "tty", "t", "preserve-fds"}

// insideList describes those that are `exec ID`'s alone.
func (inv *invocation) insideList() []cli.Flag {
	f := &inv.inside
	addGroup := setter(func(s string) error {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not the number of a group", s)
		}
		f.groups = append(f.groups, uint32(n))
		return nil
	})
	addEnv := setter(func(s string) error {
		inv.flags.env = append(inv.flags.env, envArg{value: s})
		return bundle.Env{}.Set(s)
	})
	// A list that has two names is two flags: the library sets an alias twice.
	return []cli.Flag{
		aliased("d", "detach", "in a container: return once the process runs", toggle{func(on bool) { f.detach = on }}),
		aliased("p", "process", "in a container: run the process that `FILE` describes", str(&f.process)),
		value("pid-file", "in a container: write the pid of the process's keeper to `FILE`", str(&f.pidFile)),
		value("console-socket", "in a container: send the terminal to the Unix socket `PATH`", str(&f.consoleSocket)),
		aliased("u", "user", "in a container: run as `UID[:GID]`", setter(f.setUser)),
		value("additional-gids", "in a container: add the group `GID`", addGroup),
		value("g", "the same as -additional-gids `GID`", addGroup),
		value("e", "the same as -env `KEY=VALUE`", addEnv),
		value("cap", "in a container: add the capability `CAP`", &f.caps),
		value("c", "the same as -cap `CAP`", &f.caps),
		switched("no-new-privs", "in a container: forbid to gain privileges", func(on bool) { f.noNewPrivs = &on }),
		switched("ignore-paused", "in a container: try it even if it is paused", func(on bool) { f.ignorePaused = on }),
		// Labels and profiles are for the host's kernel, to which the process does
		// not talk; those of the container were judged by create.
		value("process-label", "accepted as runc does: `LABEL`", str(&f.ignored)),
		value("apparmor", "accepted as runc does: `PROFILE`", str(&f.ignored)),
	}
}

func switched(name, usage string, set func(bool)) cli.Flag {
	return value(name, usage, toggle{set})
}

func (f *insideFlags) setUser(s string) error {
	uid, gid, hasGID := strings.Cut(s, ":")
	n, err := strconv.ParseUint(uid, 10, 32)
	if err != nil {
		return fmt.Errorf("%q is not UID[:GID]", s)
	}
	f.user = &bundle.User{UID: uint32(n)}
	if hasGID {
		n, err := strconv.ParseUint(gid, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not UID[:GID]", s)
		}
		g := uint32(n)
		f.user.GID = &g
	}
	return nil
}

// execInside is `exec ID`: another process in a container.
func (inv *invocation) execInside(c *cli.Context) error {
	var fresh []cli.Flag
	for _, f := range (&execFlags{}).list() {
		if !slices.Contains(sharedFlags, f.Names()[0]) {
			fresh = append(fresh, f)
		}
	}
	if err := refuseFlags(c, "in a container that runs", fresh); err != nil {
		return err
	}
	if err := keepInherited(inv.flags.preserve); err != nil {
		return err
	}
	container, err := inv.container(c)
	var missing *shim.NotExistError
	if errors.As(err, &missing) {
		return &hintedError{err, "the host command to run in a fresh sandbox follows a --: gvisor-exec exec -- CMD"}
	}
	if err != nil {
		return err
	}
	process, err := inv.insideProcess(container, c.Args().Tail())
	if err != nil {
		return err
	}
	inv.status, err = container.Exec(shim.ExecOptions{
		Process: process, Detach: inv.inside.detach, PIDFile: inv.inside.pidFile,
		ConsoleSocket: inv.inside.consoleSocket, PreserveFDs: int(inv.flags.preserve), IgnorePaused: inv.inside.ignorePaused,
	})
	return err
}

// insideProcess is what the flags and arguments describe.
func (inv *invocation) insideProcess(container *shim.Container, args []string) (*specs.Process, error) {
	f := &inv.inside
	if f.process != "" {
		return bundle.LoadProcess(f.process)
	}
	config := bundle.ExecConfig{
		Args: args, Cwd: inv.flags.cwd, User: f.user, AdditionalGIDs: f.groups, Capabilities: f.caps,
		Terminal: inv.flags.terminal == terminalAlways, NoNewPrivileges: f.noNewPrivs,
	}
	for _, e := range inv.flags.env {
		config.Env = append(config.Env, e.value)
	}
	return bundle.ExecProcess(container.Process, config), nil
}
