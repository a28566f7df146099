package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/runsc"
)

func (inv *invocation) psCommand() *cli.Command {
	var format listFormat
	return &cli.Command{
		Name: "ps", Usage: "list the processes of a container, by their pids inside", ArgsUsage: "ID [PS OPTION…]",
		Flags: []cli.Flag{aliased("f", "format", "`table` or json", &format)},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return wantArgs(c, 1, 1)
			}
			columns, err := psColumns(c.Args().Tail())
			if err != nil {
				return err
			}
			container, err := inv.container(c)
			if err != nil {
				return err
			}
			processes, err := container.Processes()
			if err != nil {
				return err
			}
			if format == "json" {
				pids := []int{}
				for _, p := range processes {
					pids = append(pids, p.PID)
				}
				return printJSON(pids, "")
			}
			return printProcesses(processes, columns)
		},
	}
}

// column is one of ps's that the sandbox's kernel can fill.
type column struct {
	names   []string // the first is ps's heading in lower case
	heading string
	of      func(runsc.Process) any
}

// columns are in the order of ps -ef.
var columns = []column{
	{[]string{"uid", "user", "ruser", "euser", "uname"}, "UID", func(p runsc.Process) any { return p.UID }},
	{[]string{"pid", "tgid"}, "PID", func(p runsc.Process) any { return p.PID }},
	{[]string{"ppid"}, "PPID", func(p runsc.Process) any { return p.PPID }},
	{[]string{"c", "pcpu", "%cpu"}, "C", func(p runsc.Process) any { return p.C }},
	{[]string{"stime", "start", "start_time", "lstart", "bsdstart"}, "STIME", func(p runsc.Process) any { return p.STime }},
	{[]string{"tty", "tt", "tname"}, "TTY", func(p runsc.Process) any { return p.TTY }},
	{[]string{"time", "cputime", "bsdtime"}, "TIME", func(p runsc.Process) any { return p.Time }},
	{[]string{"cmd", "comm", "command", "args", "ucmd"}, "CMD", func(p runsc.Process) any { return printable(p.Cmd) }},
	{[]string{"pgid", "pgrp"}, "PGID", func(p runsc.Process) any { return p.PGID }},
}

// defaultColumns of these are shown unless others are asked for.
const defaultColumns = 8

// psColumns turns the options of ps into the columns to show. There is no ps to
// run: its processes are not the host's. Options that only choose among
// processes or formats mean nothing here; any other is an error.
func psColumns(options []string) ([]column, error) {
	var chosen []column
	for i := 0; i < len(options); i++ {
		o := options[i]
		list := ""
		switch {
		case o == "-o" || o == "o" || o == "--format" || o == "-O":
			if i++; i == len(options) {
				return nil, usagef("", "cannot use ps %s: it needs a list of columns", o)
			}
			list = options[i]
		case strings.HasPrefix(o, "-o"):
			list = o[2:]
		case strings.HasPrefix(o, "--format="):
			list = o[len("--format="):]
		case strings.Trim(o, "-aAefFlTuwx") == "":
			continue
		default:
			return nil, usagef("-o with a list of columns, -e, -f, aux", "cannot use ps option %q in a sandbox", o)
		}
		for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
			col, err := findColumn(name)
			if err != nil {
				return nil, err
			}
			chosen = append(chosen, col)
		}
	}
	if len(chosen) == 0 {
		chosen = columns[:defaultColumns]
	}
	return chosen, nil
}

func findColumn(name string) (column, error) {
	name, heading, renamed := strings.Cut(name, "=")
	for _, col := range columns {
		if slices.Contains(col.names, name) {
			if renamed {
				col.heading = heading
			} else {
				col.heading = strings.ToUpper(name)
			}
			return col, nil
		}
	}
	return column{}, usagef("", "cannot show the ps column %q: the sandbox does not tell it", name)
}

func printProcesses(processes []runsc.Process, columns []column) error {
	w := tabwriter.NewWriter(os.Stdout, 8, 1, 2, ' ', 0)
	for i, col := range columns {
		fmt.Fprintf(w, "%s%s", col.heading, ending(i, len(columns)))
	}
	for _, p := range processes {
		for i, col := range columns {
			fmt.Fprintf(w, "%v%s", col.of(p), ending(i, len(columns)))
		}
	}
	return w.Flush()
}

func ending(i, n int) string {
	if i == n-1 {
		return "\n"
	}
	return "\t"
}
