package main

import (
	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/bundle"
)

func (inv *invocation) featuresCommand() *cli.Command {
	return &cli.Command{
		Name: "features", Usage: "print what a spec may ask for",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			return printJSON(bundle.Features(), "  ")
		},
	}
}
