package main

import (
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/shim"
)

func (inv *invocation) startCommand() *cli.Command {
	return &cli.Command{
		Name: "start", Usage: "start the process of a created container", ArgsUsage: "ID",
		Action: inv.on(func(c *shim.Container) error { return c.Start(warn) }),
	}
}

func (inv *invocation) stateCommand() *cli.Command {
	return &cli.Command{
		Name: "state", Usage: "print the state of a container", ArgsUsage: "ID",
		Action: inv.on(func(c *shim.Container) error { return printJSON(c.State(), "  ") }),
	}
}

func (inv *invocation) pauseCommand() *cli.Command {
	return &cli.Command{
		Name: "pause", Usage: "stop all processes of a container for a while", ArgsUsage: "ID",
		Action: inv.on((*shim.Container).Pause),
	}
}

func (inv *invocation) resumeCommand() *cli.Command {
	return &cli.Command{
		Name: "resume", Usage: "let a paused container go on", ArgsUsage: "ID",
		Action: inv.on((*shim.Container).Resume),
	}
}

func (inv *invocation) killCommand() *cli.Command {
	all := false
	return &cli.Command{
		Name: "kill", Usage: "send a signal, SIGTERM if none is named, to a container's process", ArgsUsage: "ID [SIGNAL]",
		Flags: []cli.Flag{aliased("a", "all", "send it to every process of the container", toggle{func(on bool) { all = on }})},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 2); err != nil {
				return err
			}
			sig := syscall.SIGTERM
			if s := c.Args().Get(1); s != "" {
				var err error
				if sig, err = shim.ParseSignal(s); err != nil {
					return err
				}
			}
			container, err := inv.container(c)
			if err != nil {
				return err
			}
			return container.Kill(sig, all)
		},
	}
}

func (inv *invocation) deleteCommand() *cli.Command {
	force := false
	return &cli.Command{
		Name: "delete", Usage: "remove a container that has stopped, or was never started", ArgsUsage: "ID",
		Flags: []cli.Flag{aliased("f", "force", "kill it if it runs; it need not exist", toggle{func(on bool) { force = on }})},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1); err != nil {
				return err
			}
			container, err := inv.container(c)
			switch {
			case err == nil:
				return container.Delete(force, warn)
			case !force:
				return err
			}
			root, rootErr := inv.containersRoot()
			if rootErr != nil {
				return rootErr
			}
			return shim.DeleteRemains(root, c.Args().First())
		},
	}
}
