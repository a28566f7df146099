package main

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/shim"
)

// defaultInterval between two events, as runc has it.
const defaultInterval = 5 * time.Second

func (inv *invocation) eventsCommand() *cli.Command {
	once, interval := false, defaultInterval
	return &cli.Command{
		Name: "events", Usage: "print what a container uses, in JSON, until it ends", ArgsUsage: "ID",
		Flags: []cli.Flag{
			boolean("stats", "print it once", &once),
			value("interval", "print it every `DURATION` (default: 5s)", duration(&interval)),
		},
		Action: inv.on(func(c *shim.Container) error {
			if interval <= 0 {
				return usagef("", "the interval must be more than 0")
			}
			return printEvents(c, once, interval)
		}),
	}
}

func printEvents(c *shim.Container, once bool, interval time.Duration) error {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for {
		stats, err := c.Stats()
		if err != nil && c.State().Status == shim.Stopped && !once {
			return nil // it has ended, and so have its events
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(os.Stdout, string(stats)); err != nil {
			return fmt.Errorf("cannot print an event: %w", err)
		}
		if once {
			return nil
		}
		<-ticks.C
	}
}
