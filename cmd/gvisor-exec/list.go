package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/shim"
)

// listFormat is how a list looks.
type listFormat string

func (f *listFormat) String() string {
	if *f == "" {
		return "table"
	}
	return string(*f)
}

// Values are the formats there are.
func (*listFormat) Values() []string     { return []string{"table", "json"} }
func (f *listFormat) Set(s string) error { return setWord(f, s, f.Values()) }

func (inv *invocation) listCommand() *cli.Command {
	var format listFormat
	quiet := false
	return &cli.Command{
		Name: "list", Usage: "list the containers",
		Flags: []cli.Flag{
			aliased("f", "format", "`table` or json", &format),
			aliased("q", "quiet", "the ids alone", toggle{func(on bool) { quiet = on }}),
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			root, err := inv.containersRoot()
			if err != nil {
				return err
			}
			containers, err := shim.List(root)
			if err != nil {
				return err
			}
			return printList(containers, format, quiet)
		},
	}
}

func printList(containers []*shim.Container, format listFormat, quiet bool) error {
	states := []shim.State{} // none is [], not null
	for _, c := range containers {
		if quiet {
			fmt.Println(c.ID)
			continue
		}
		states = append(states, c.State())
	}
	switch {
	case quiet:
		return nil
	case format == "json":
		return printJSON(states, "")
	}
	w := tabwriter.NewWriter(os.Stdout, 12, 1, 3, ' ', 0)
	fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	for _, s := range states {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
	}
	return w.Flush()
}
