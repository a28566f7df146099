package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"
)

func TestArrange(t *testing.T) {
	for _, tt := range []struct{ argv, want, command, verb string }{
		{"g exec -- a b", "g exec", "a b", ""},
		{"g -network host exec -bind /x -- a", "g -network host exec -bind /x", "a", ""},
		{"g -- ps", "g", "ps", ""},
		{"g exec -e A=b ID cmd -x", "g exec -e A=b ID cmd -x", "", "exec"},
		{"g exec -t ID -- cmd -x", "g exec -t ID cmd -x", "", "exec"},
		{"g exec ID sh -c x -- y", "g exec ID sh -c x -- y", "", "exec"},
		{"g exec --tty ID cmd", "g exec --tty ID cmd", "", "exec"},
		{"g create ID -b /x --no-pivot", "g create -b /x --no-pivot -- ID", "", "create"},
		{"g --root /r kill ID -a 9", "g --root /r kill -a -- ID 9", "", "kill"},
		{"g kill -- ID 9", "g kill -- ID 9", "", "kill"},
		{"g update ID -r -", "g update -r - -- ID", "", "update"},
		{"g delete --force=true ID", "g delete --force=true -- ID", "", "delete"},
		{"g ps -f json ID -ef", "g ps -f json ID -ef", "", "ps"},
		{"g events ID --interval=5s", "g events --interval=5s -- ID", "", "events"},
		{"g generate man", "g generate man", "", ""},
		{"g nosuch x", "g nosuch x", "", ""},
	} {
		inv := &invocation{}
		got := inv.arrange(newApp(inv), strings.Fields(tt.argv))
		if strings.Join(got, " ") != tt.want || strings.Join(inv.command, " ") != tt.command || inv.oci != (tt.verb != "") || inv.verb != tt.verb {
			t.Errorf("%s: %q, command %q, %q", tt.argv, got, inv.command, inv.verb)
		}
	}
}

func TestPsColumns(t *testing.T) {
	for options, want := range map[string]string{
		"": "UID PID PPID C STIME TTY TIME CMD", "-ef": "UID PID PPID C STIME TTY TIME CMD", "aux": "UID PID PPID C STIME TTY TIME CMD",
		"-o pid,comm": "PID COMM", "-eo pid": "", "-opid=P": "P", "-o nope": "", "--sort pid": "", "-o": "",
	} {
		columns, err := psColumns(strings.Fields(options))
		var got []string
		for _, c := range columns {
			got = append(got, c.heading)
		}
		if strings.Join(got, " ") != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", options, got, err)
		}
	}
}

func TestLimitFlags(t *testing.T) {
	r := &specs.LinuxResources{}
	for _, f := range limitFlags(r) {
		for _, doc := range flagDocs([]cli.Flag{f}) {
			value := map[string]string{"cpuset-cpus": "0-1", "cpuset-mems": "0", "memory": "64M", "memory-swap": "-1"}[doc.names[0]]
			if value == "" {
				value = "10"
			}
			if err := f.(*cli.GenericFlag).Value.Set(value); err != nil {
				t.Errorf("%s: %v", doc.names[0], err)
			}
		}
	}
	if *r.Memory.Limit != 64<<20 || *r.Memory.Swap != -1 || *r.CPU.Quota != 10 || r.CPU.Cpus != "0-1" || *r.BlockIO.Weight != 10 || r.Pids.Limit != 10 {
		t.Errorf("%+v", r)
	}
	var n int64
	for s, want := range map[string]int64{"1": 1, "1k": 1 << 10, "2MiB": 2 << 20, "3GB": 3 << 30, "-1": -1} {
		if err := size(func(got int64) { n = got })(s); err != nil || n != want {
			t.Errorf("%s: %d, %v", s, n, err)
		}
	}
	for _, bad := range []string{"", "x", "9999999999999T", "1.5G"} {
		if err := size(func(int64) {})(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestReadResources(t *testing.T) {
	p := filepath.Join(t.TempDir(), "r")
	os.WriteFile(p, []byte(`{"memory":{"limit":7}}`), 0o600)
	if r, err := readResources(p); err != nil || *r.Memory.Limit != 7 {
		t.Errorf("%+v, %v", r, err)
	}
	os.WriteFile(p, []byte(`[`), 0o600)
	if _, err := readResources(p); err == nil {
		t.Error("no JSON is taken")
	}
}

// Help, man page and completions know every verb and every flag of each.
func TestGenerateVerbs(t *testing.T) {
	app := newApp(&invocation{})
	for _, what := range []string{"man", "bash", "zsh", "fish"} {
		var out bytes.Buffer
		app.Writer = &out
		if err := app.Run([]string{"gvisor-exec", "generate", what}); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(out.String(), `\-`, "-")
		for _, c := range app.Commands {
			if c.Hidden || c.Name == "help" {
				continue
			}
			if !strings.Contains(text, c.Name) {
				t.Errorf("%s does not know %s", what, c.Name)
			}
			for _, doc := range flagDocs(c.Flags) {
				for _, name := range doc.names {
					if !strings.Contains(text, name) {
						t.Errorf("%s does not know -%s of %s", what, name, c.Name)
					}
				}
			}
		}
	}
}

// docs/oci.md describes every verb, and every flag of each.
func TestDocumentedVerbs(t *testing.T) {
	data, err := os.ReadFile("../../docs/oci.md")
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(&invocation{})
	for _, c := range app.Commands {
		if c.Hidden || c.Name == "help" {
			continue
		}
		if !strings.Contains(string(data), "`"+c.Name) {
			t.Errorf("docs/oci.md does not describe %s", c.Name)
		}
		if c.Name == "exec" {
			continue // most of its flags are the README's
		}
		for _, doc := range flagDocs(c.Flags) {
			if !strings.Contains(string(data), "-"+doc.names[0]) {
				t.Errorf("docs/oci.md does not describe -%s of %s", doc.names[0], c.Name)
			}
		}
	}
	for _, doc := range flagDocs(append((&globalFlags{}).list(), (&invocation{}).insideList()...)) {
		if !strings.Contains(string(data), "-"+doc.names[0]) {
			t.Errorf("docs/oci.md does not describe -%s", doc.names[0])
		}
	}
}
