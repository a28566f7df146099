package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// verbDoc is what the generators say of a verb.
type verbDoc struct {
	name, usage, args string
	flags             []flagDoc
}

// choices are the words that the argument of a verb can be, if it is one of a few.
func (v verbDoc) choices() []string {
	if !strings.Contains(v.args, "|") {
		return nil
	}
	return strings.Split(v.args, "|")
}

// verbDocs describes the verbs with the flags that are theirs alone.
func verbDocs(app *cli.App) []verbDoc {
	var docs []verbDoc
	for _, c := range app.Commands {
		if c.Hidden || c.Name == "help" {
			continue
		}
		doc := verbDoc{name: c.Name, usage: c.Usage, args: c.ArgsUsage}
		known := names(flagDocs(app.Flags))
		for _, f := range flagDocs(c.Flags) {
			if c.Name != "exec" || !slices.Contains(known, f.names[0]) {
				doc.flags = append(doc.flags, f)
			}
		}
		docs = append(docs, doc)
	}
	return docs
}

func names(docs []flagDoc) (list []string) {
	for _, d := range docs {
		list = append(list, d.names...)
	}
	return list
}

// manFlags lists flags in a man page.
func manFlags(w io.Writer, docs []flagDoc) {
	for _, doc := range docs {
		var names []string
		for _, name := range doc.names {
			names = append(names, "\\fB\\-"+roff(name)+"\\fR")
		}
		fmt.Fprintf(w, ".TP\n%s", strings.Join(names, ", "))
		if doc.arg != "" {
			fmt.Fprintf(w, " \\fI%s\\fR", roff(doc.arg))
		}
		fmt.Fprintf(w, "\n%s\n", roff(doc.usage))
	}
}

// manVerbs is the part of the man page on runc's command line.
func manVerbs(w io.Writer, app *cli.App) {
	fmt.Fprintf(w, ".SH VERBS\n%s\n", roff(verbsIntro))
	for _, v := range verbDocs(app) {
		args := v.args
		if v.name == "exec" {
			args = "ID CMD [ARG...]"
		}
		fmt.Fprintf(w, ".SS %s\n%s\n", roff(strings.TrimSpace(v.name+" [flags] "+args)), roff(v.usage))
		manFlags(w, v.flags)
	}
}

// bashVerbs completes the flags of the verb on the command line.
func bashVerbs(w io.Writer, app *cli.App) {
	fmt.Fprint(w, "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase ${COMP_WORDS[i]} in\n")
	for _, v := range verbDocs(app) {
		fmt.Fprintf(w, "\t\t%s) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", v.name, strings.Join(verbWords(app, v), " "))
	}
	fmt.Fprint(w, "\t\tesac\n\tdone\n")
}

// verbWords are the flags that may follow a verb.
func verbWords(app *cli.App, v verbDoc) []string {
	list := append(v.choices(), words(v.flags)...)
	if v.name == "exec" {
		list = append(words(flagDocs((&execFlags{}).list())), list...)
		list = append(list, "--")
	}
	return list
}

// verbNames are the verbs.
func verbNames(app *cli.App) (list []string) {
	for _, v := range verbDocs(app) {
		list = append(list, v.name)
	}
	return list
}

// zshVerbs completes what follows a verb.
func zshVerbs(w io.Writer, app *cli.App) {
	fmt.Fprint(w, "case $words[1] in\n")
	for _, v := range verbDocs(app) {
		fmt.Fprintf(w, "%s) compadd -- %s ;;\n", v.name, strings.Join(verbWords(app, v), " "))
	}
	fmt.Fprint(w, "esac\n_command_names -e 2>/dev/null || _files\n")
}

// fishVerbs completes the verbs and their flags.
func fishVerbs(w io.Writer, app *cli.App) {
	escape := strings.NewReplacer(`\`, `\\`, "'", `\'`)
	for _, v := range verbDocs(app) {
		fmt.Fprintf(w, "complete -c gvisor-exec -n __fish_use_subcommand -a %s -d '%s'\n", v.name, escape.Replace(v.usage))
		if words := v.choices(); words != nil {
			fmt.Fprintf(w, "complete -c gvisor-exec -n '__fish_seen_subcommand_from %s' -f -a '%s'\n", v.name, strings.Join(words, " "))
		}
		for _, doc := range v.flags {
			for _, name := range doc.names {
				fmt.Fprintf(w, "complete -c gvisor-exec -n '__fish_seen_subcommand_from %s' -o %s -d '%s'", v.name, name, escape.Replace(doc.usage))
				if doc.arg != "" {
					fmt.Fprint(w, " -r")
				}
				fmt.Fprintln(w)
			}
		}
	}
}
