package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// generateCommand prints what `make install` installs beside the binaries, all
// of it made from the descriptions of the flags.
func generateCommand() *cli.Command {
	generators := map[string]func(io.Writer, *cli.App){
		"man": manPage, "bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion,
	}
	return &cli.Command{
		Name:   "generate",
		Usage:  "print the man page, or the completions of a shell",
		Hidden: true,
		Action: func(c *cli.Context) error {
			generate, ok := generators[c.Args().First()]
			if !ok {
				return usagef("gvisor-exec generate man|bash|zsh|fish", "cannot generate %q", c.Args().First())
			}
			generate(c.App.Writer, c.App)
			return nil
		},
	}
}

// flagDoc is what the generators say of a flag.
type flagDoc struct {
	names []string
	// arg is the placeholder of its value; empty: it takes none.
	arg, usage string
	// values are the words that are allowed, if it is one of a few.
	values []string
}

func flagDocs(flags []cli.Flag) []flagDoc {
	var docs []flagDoc
	for _, f := range flags {
		g, ok := f.(*cli.GenericFlag)
		if !ok || g.Hidden {
			continue // the help and version flags of the library
		}
		doc := flagDoc{names: g.Names(), usage: strings.ReplaceAll(g.Usage, "`", "")}
		if b, ok := g.Value.(interface{ IsBoolFlag() bool }); !ok || !b.IsBoolFlag() {
			doc.arg = "VALUE"
			if parts := strings.Split(g.Usage, "`"); len(parts) == 3 {
				doc.arg = parts[1]
			}
		}
		if e, ok := g.Value.(interface{ Values() []string }); ok {
			doc.values = e.Values()
			doc.arg = strings.Join(doc.values, "|")
		}
		docs = append(docs, doc)
	}
	return docs
}

func manPage(w io.Writer, app *cli.App) {
	fmt.Fprintf(w, ".TH GVISOR-EXEC 1 \"\" \"gvisor-exec %s\" \"User Commands\"\n", roff(app.Version))
	fmt.Fprintf(w, ".SH NAME\ngvisor-exec \\- %s\n.SH SYNOPSIS\n", roff(app.Usage))
	for i, line := range strings.Split(app.UsageText, "\n") {
		if i > 0 {
			fmt.Fprintln(w, ".br")
		}
		fmt.Fprintf(w, "%s\n", roff(line))
	}
	fmt.Fprintf(w, ".SH DESCRIPTION\n%s\n.SH OPTIONS\n", roff(description))
	manFlags(w, flagDocs(app.Flags))
	manVerbs(w, app)
	fmt.Fprintln(w, ".SH EXIT STATUS")
	for _, s := range statuses {
		fmt.Fprintf(w, ".TP\n%s\n%s\n", roff(s.status), roff(s.meaning))
	}
	fmt.Fprintln(w, ".SH EXAMPLES")
	for _, e := range uses {
		fmt.Fprintf(w, ".TP\n%s\n%s\n", roff(e.task), roff(e.command))
	}
}

// roff protects what is an ordinary character to us.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// words are the flags as they are typed.
func words(docs []flagDoc) []string {
	var list []string
	for _, doc := range docs {
		for _, name := range doc.names {
			list = append(list, "-"+name)
		}
	}
	slices.Sort(list)
	return list
}

func bashCompletion(w io.Writer, app *cli.App) {
	docs := flagDocs(app.Flags)
	fmt.Fprint(w, `# bash completion for gvisor-exec; generated, do not edit
_gvisor_exec() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} == -- ]]; then
			if declare -F _command_offset >/dev/null; then
				_command_offset $((i + 1))
			else
				COMPREPLY=($(compgen -c -f -- "$cur"))
			fi
			return
		fi
	done
	case $prev in
`)
	for _, doc := range docs {
		if len(doc.values) > 0 {
			fmt.Fprintf(w, "\t-%s) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", strings.Join(doc.names, "|-"), strings.Join(doc.values, " "))
		} else if doc.arg != "" {
			fmt.Fprintf(w, "\t-%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", strings.Join(doc.names, "|-"))
		}
	}
	fmt.Fprint(w, "\tesac\n")
	bashVerbs(w, app)
	fmt.Fprintf(w, "\tCOMPREPLY=($(compgen -W \"%s -- %s\" -- \"$cur\"))\n}\ncomplete -F _gvisor_exec gvisor-exec\n",
		strings.Join(verbNames(app), " "), strings.Join(words(docs), " "))
}

func zshCompletion(w io.Writer, app *cli.App) {
	fmt.Fprint(w, "#compdef gvisor-exec\n# generated, do not edit\n_arguments -s \\\n")
	escape := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`, "'", `'\''`)
	for _, doc := range flagDocs(app.Flags) {
		for _, name := range doc.names {
			action := ""
			switch {
			case len(doc.values) > 0:
				action = ":value:(" + strings.Join(doc.values, " ") + ")"
			case doc.arg != "":
				action = ":" + escape.Replace(doc.arg) + ":_files"
			}
			fmt.Fprintf(w, "\t'*-%s[%s]%s' \\\n", name, escape.Replace(doc.usage), action)
		}
	}
	fmt.Fprintf(w, "\t'1:verb:(%s)' \\\n\t'*:: :->rest'\n", strings.Join(verbNames(app), " "))
	zshVerbs(w, app)
}

func fishCompletion(w io.Writer, app *cli.App) {
	fmt.Fprint(w, "# generated, do not edit\n")
	fishVerbs(w, app)
	escape := strings.NewReplacer(`\`, `\\`, "'", `\'`)
	for _, doc := range flagDocs(app.Flags) {
		for _, name := range doc.names {
			fmt.Fprintf(w, "complete -c gvisor-exec -o %s -d '%s'", name, escape.Replace(doc.usage))
			switch {
			case len(doc.values) > 0:
				fmt.Fprintf(w, " -x -a '%s'", strings.Join(doc.values, " "))
			case doc.arg != "":
				fmt.Fprint(w, " -r")
			}
			fmt.Fprintln(w)
		}
	}
	fmt.Fprint(w, "complete -c gvisor-exec -n 'contains -- -- (commandline -opc)' -x -a '(__fish_complete_subcommand)'\n")
}
