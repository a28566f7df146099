package main

import (
	_ "embed"
	"fmt"
	"os"
	"slices"
	"strings"
)

// reasonsFile says for each program that is not clean with ours whose that is.
//
//go:embed reasons.txt
var reasonsFile string

// reason why a program is not clean with ours.
type reason struct {
	whose string // ours, runsc, machine, program or meant
	text  string
}

// parseReasons reads lines `program whose text`; # starts a comment.
func parseReasons(file string) (map[string]reason, error) {
	reasons := make(map[string]reason)
	n := 0
	for line := range strings.Lines(file) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(line, " ", 3)
		if len(f) != 3 || !slices.Contains([]string{"ours", "runsc", "machine", "program", "meant"}, f[1]) {
			return nil, fmt.Errorf("cannot read reasons.txt:%d: want `program ours|runsc|machine|program|meant text`: %q", n, line)
		}
		reasons[f[0]] = reason{f[1], f[2]}
	}
	return reasons, nil
}

// table of all results.
type table struct {
	contenders []contender
	programs   []string
	results    map[key]result
	reasons    map[string]reason
}

const ours = "gvisor-exec"

// why is the reason of a program that is not clean with ours.
func (t table) why(program string) string {
	r, measured := t.results[key{program, ours}]
	if !measured || r.clean() {
		return ""
	}
	if reason, ok := t.reasons[program]; ok {
		return reason.whose + ": " + reason.text
	}
	return "?"
}

func (t table) counts() []string {
	var counts []string
	for _, c := range t.contenders {
		n := 0
		for _, p := range t.programs {
			if t.results[key{p, c.name}].clean() {
				n++
			}
		}
		counts = append(counts, fmt.Sprintf("%d clean", n))
	}
	return counts
}

// text is for a terminal; verbose adds what the programs said.
func (t table) text(verbose bool) string {
	var b strings.Builder
	row := func(name string, cells []string, why string) {
		fmt.Fprintf(&b, "%-32s", name)
		for _, cell := range cells {
			fmt.Fprintf(&b, " %-17s", cell)
		}
		fmt.Fprintf(&b, " %s\n", why)
	}
	row("program", t.names(), "")
	for _, p := range t.programs {
		row(p, t.cells(p), t.why(p))
	}
	row("", t.counts(), "")
	if !verbose {
		return b.String()
	}
	for _, p := range t.programs {
		for _, c := range t.contenders {
			if r := t.results[key{p, c.name}]; !r.clean() {
				fmt.Fprintf(&b, "\n=== %s with %s: %s\n%s%s", p, c.name, r, r.stdout, r.stderr)
			}
		}
	}
	return b.String()
}

// markdown is for the documentation.
func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| program | %s | reason |\n|---|%s---|\n", strings.Join(t.names(), " | "), strings.Repeat("---|", len(t.contenders)))
	for _, p := range t.programs {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", p, strings.Join(t.cells(p), " | "), strings.ReplaceAll(t.why(p), "|", `\|`))
	}
	fmt.Fprintf(&b, "| **%d programs** | %s | |\n", len(t.programs), strings.Join(t.counts(), " | "))
	return b.String()
}

func (t table) names() []string {
	var names []string
	for _, c := range t.contenders {
		names = append(names, c.name)
	}
	return names
}

func (t table) cells(program string) []string {
	var cells []string
	for _, c := range t.contenders {
		cells = append(cells, t.results[key{program, c.name}].String())
	}
	return cells
}

// verdict is an error if a program is not clean with ours and has no reason, if
// the reason is ours, or if it is clean with the bare runsc.
func (t table) verdict() error {
	var bad []string
	for _, p := range t.programs {
		r, measured := t.results[key{p, ours}]
		if !measured || r.clean() {
			continue
		}
		reason, known := t.reasons[p]
		switch {
		case t.results[key{p, "runsc"}].clean():
			bad = append(bad, p+" (clean with the bare runsc)")
		case !known:
			bad = append(bad, p+" (no reason in reasons.txt)")
		case reason.whose == "ours":
			bad = append(bad, p+" (ours)")
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("not clean: %s", strings.Join(bad, ", "))
	}
	return nil
}

const (
	beginMark = "<!-- conformance: written by make conformance -->\n"
	endMark   = "<!-- conformance: end -->\n"
)

// replaceBetween puts text between the marks in a file.
func replaceBetween(path, text string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot write the table: %w", err)
	}
	before, rest, ok1 := strings.Cut(string(data), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok1 || !ok2 {
		return fmt.Errorf("cannot write the table: %s lacks the marks", path)
	}
	return os.WriteFile(path, []byte(before+beginMark+text+endMark+after), 0o644)
}
