package main

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/shim"
)

func TestSplitArgv(t *testing.T) {
	for _, tt := range []struct {
		argv, ours, command string
		found               bool
	}{
		{"g exec -- a b", "g exec", "a b", true},
		{"g -- exec -- x", "g", "exec -- x", true},
		{"g exec id cmd", "g exec id cmd", "", false},
		{"g --", "g", "", true},
	} {
		ours, command, found := splitArgv(strings.Fields(tt.argv))
		if strings.Join(ours, " ") != tt.ours || strings.Join(command, " ") != tt.command || found != tt.found {
			t.Errorf("%s: %q, %q, %v", tt.argv, ours, command, found)
		}
	}
}

// parse parses flags without running anything.
func parse(args ...string) (*execFlags, error) {
	inv := &invocation{}
	app := newApp(inv)
	nothing := func(*cli.Context) error { return nil }
	app.Action, app.Commands[0].Action = nothing, nothing
	app.Writer, app.ErrWriter = &bytes.Buffer{}, &bytes.Buffer{}
	err := app.Run(append([]string{"gvisor-exec"}, args...))
	return &inv.flags, err
}

func TestFlags(t *testing.T) {
	f, err := parse("-timeout", "5s", "--uid=7", "-bind", "/a,b:/c", "-env", "A=1,2", "exec", "-timeout", "6s", "-ro-bind", "/x", "-t", "-trace", "-debug=false")
	if err != nil {
		t.Fatal(err)
	}
	if f.timeout != 6*time.Second || f.uid != 7 || f.terminal != terminalAlways || !f.trace || f.debug || f.killAfter != 2*time.Second {
		t.Errorf("%+v", f)
	}
	if len(f.mounts) != 2 || f.mounts[0].value != "/a,b:/c" || len(f.env) != 1 || f.env[0].value != "A=1,2" {
		t.Errorf("%+v, %+v", f.mounts, f.env)
	}
	f.callerDir = "/work"
	f.cwd = "../x"
	if c, err := f.config([]string{"a", "b"}); err == nil || c.Cwd != "/x" { // the sources do not exist
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"-uid=x", "-uid=-1", "-uid=4294967296", "-platform=x", "-timeout=-1s", "-preserve-fds=99999", "-cwd=", "-terminal=x", "-bind=", "-nope"} {
		var usage *usageError
		if _, err := parse(bad); !errors.As(err, &usage) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzFlags(f *testing.F) {
	f.Add("-bind\x00/a:/b\x00-env\x00A=b")
	f.Add("exec\x00--timeout=1s")
	f.Fuzz(func(t *testing.T, joined string) {
		args := strings.Split(joined, "\x00")
		if slices.Contains(args, "generate") {
			return // writes where it likes
		}
		flags, err := parse(args...)
		if err != nil {
			return
		}
		flags.callerDir = "/"
		flags.config([]string{"true"})
	})
}

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{errors.New("x"), 125}, {usagef("", "x"), 2}, {&shim.Failure{}, 125},
		{&shim.Failure{Kind: shim.NotFound}, 127}, {&shim.Failure{Kind: shim.NotExecutable}, 126},
	} {
		if got := exitStatus(tt.err); got != tt.want {
			t.Errorf("%#v: %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[31mb\nc\u202e\n"); got != `a\x1b[31mb; c\u202e` {
		t.Errorf("%q", got)
	}
}

// Everything that is generated speaks of every flag.
func TestGenerate(t *testing.T) {
	for _, what := range []string{"man", "bash", "zsh", "fish"} {
		inv := &invocation{}
		app := newApp(inv)
		var out bytes.Buffer
		app.Writer = &out
		if err := app.Run([]string{"gvisor-exec", "generate", what}); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(out.String(), `\-`, "-")
		for _, doc := range flagDocs(app.Flags) {
			if !strings.Contains(text, doc.names[0]) {
				t.Errorf("%s does not know -%s", what, doc.names[0])
			}
		}
	}
}

// The README describes every flag.
func TestReadmeFlags(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range flagDocs((&execFlags{}).list()) {
		if !strings.Contains(string(readme), "`-"+doc.names[0]) {
			t.Errorf("the README does not describe -%s", doc.names[0])
		}
	}
}
