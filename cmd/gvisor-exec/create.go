package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/shim"
)

// createFlags are those that create, run and restore share.
type createFlags struct {
	bundle, consoleSocket, pidFile, pidfdSocket string
	preserve                                    uint
	ignored                                     bool
}

func (f *createFlags) list() []cli.Flag {
	return []cli.Flag{
		aliased("b", "bundle", "`DIR` that holds config.json (default: the working directory)", str(&f.bundle)),
		value("console-socket", "send the terminal to the Unix socket `PATH`", str(&f.consoleSocket)),
		value("pid-file", "write the pid of the sandbox to `FILE`", str(&f.pidFile)),
		value("pidfd-socket", "send a pidfd of the sandbox to the Unix socket `PATH`", str(&f.pidfdSocket)),
		value("preserve-fds", "pass on the descriptors 3 to 3+`N`-1 as well", number(&f.preserve, 1<<10)),
		// runsc always pivots, in namespaces of its own, and the sentry has its own
		// session keyring: what both flags ask for is so.
		boolean("no-pivot", "accepted as runc does", &f.ignored),
		boolean("no-new-keyring", "accepted as runc does", &f.ignored),
	}
}

func (inv *invocation) createCommand() *cli.Command {
	f := &createFlags{}
	return &cli.Command{
		Name: "create", Usage: "create a container of a bundle; start starts it", ArgsUsage: "ID",
		Flags: f.list(),
		Action: func(c *cli.Context) error {
			opts, err := inv.createOptions(c, f)
			if err != nil {
				return err
			}
			_, err = shim.Create(opts)
			return err
		},
	}
}

// createOptions turns the flags into what shim.Create takes.
func (inv *invocation) createOptions(c *cli.Context, f *createFlags) (o shim.CreateOptions, err error) {
	if err := wantArgs(c, 1, 1); err != nil {
		return o, err
	}
	if err := keepInherited(f.preserve); err != nil {
		return o, err
	}
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	o = shim.CreateOptions{
		ID: c.Args().First(), Host: callingHost(),
		Platform: inv.flags.platform, Network: inv.flags.network, Overlay: inv.flags.overlay,
		SystemdCgroup: inv.global.systemdCgroup || inv.global.cgroupManager == "systemd",
		NoCgroups:     inv.global.cgroupManager == "disabled",
		ConsoleSocket: f.consoleSocket, PIDFile: f.pidFile, PidfdSocket: f.pidfdSocket,
		PreserveFDs: int(f.preserve), Debug: inv.debug,
	}
	if o.Bundle, err = filepath.Abs(f.bundle); err != nil {
		return o, err
	}
	if o.Root, err = inv.containersRoot(); err != nil {
		return o, err
	}
	o.Runsc, err = findRunsc(inv.flags.runsc, self)
	return o, err
}
