package main

import (
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/shim"
)

// runFlags are those that run and restore share.
type runFlags struct {
	createFlags
	detach, keep bool
}

func (f *runFlags) list() []cli.Flag {
	return append(f.createFlags.list(),
		aliased("d", "detach", "return once the container has started", toggle{func(on bool) { f.detach = on }}),
		boolean("keep", "leave the container in place when it has ended", &f.keep),
		// A container that is waited for is always a child of ours, which only a
		// subreaper can be sure of.
		boolean("no-subreaper", "accepted as runc does", &f.ignored),
	)
}

func (inv *invocation) runCommand() *cli.Command {
	f := &runFlags{}
	return &cli.Command{
		Name: "run", Usage: "create a container of a bundle, start it and wait for its end", ArgsUsage: "ID",
		Flags:  f.list(),
		Action: func(c *cli.Context) error { return inv.runContainer(c, f, "") },
	}
}

func (inv *invocation) runContainer(c *cli.Context, f *runFlags, imagePath string) error {
	create, err := inv.createOptions(c, &f.createFlags)
	if err != nil {
		return err
	}
	inv.status, err = shim.Run(shim.RunOptions{
		CreateOptions: create, Detach: f.detach, Keep: f.keep, ImagePath: imagePath, Warn: warn,
	})
	return err
}

func (inv *invocation) restoreCommand() *cli.Command {
	f := &runFlags{}
	image, work := "", ""
	return &cli.Command{
		Name: "restore", Usage: "run a container from a checkpoint", ArgsUsage: "ID",
		Flags: append(f.list(), imageFlag(&image), workFlag(&work)),
		Action: func(c *cli.Context) error {
			path, err := imagePath(image)
			if err != nil {
				return err
			}
			return inv.runContainer(c, f, path)
		},
	}
}

func (inv *invocation) checkpointCommand() *cli.Command {
	image, work, leave := "", "", false
	return &cli.Command{
		Name: "checkpoint", Usage: "write the state of a container to a directory, and end it", ArgsUsage: "ID",
		Flags: []cli.Flag{imageFlag(&image), workFlag(&work), boolean("leave-running", "let the container go on", &leave)},
		Action: inv.on(func(c *shim.Container) error {
			path, err := imagePath(image)
			if err != nil {
				return err
			}
			return c.Checkpoint(path, leave)
		}),
	}
}

func imageFlag(dst *string) cli.Flag {
	return value("image-path", "`DIR` of the checkpoint (default: checkpoint)", str(dst))
}

// workFlag is where CRIU keeps its logs; gVisor has no such files.
func workFlag(dst *string) cli.Flag {
	return value("work-path", "accepted as runc does: `DIR`", str(dst))
}

func imagePath(given string) (string, error) {
	if given == "" {
		given = "checkpoint" // runc's default
	}
	return filepath.Abs(given)
}
