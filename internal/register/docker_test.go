package register

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func yes(v bool) *bool { return &v }

const ours = `{"gvisor-exec": {"path": "/b/gvisor-exec"}}`

// Every row is a daemon.json before and after; the second run changes nothing,
// and uninstall gives back what was there.
func TestDocker(t *testing.T) {
	for name, tt := range map[string]struct {
		isDefault *bool
		old, want string
		// back is what uninstall leaves, if it is not old.
		back string
	}{
		"none":        {nil, "", "{\n  \"runtimes\": {\n    \"gvisor-exec\": {\n      \"path\": \"/b/gvisor-exec\"\n    }\n  }\n}\n", "removed"},
		"blank":       {nil, " \n", "{\n  \"runtimes\": {\n    \"gvisor-exec\": {\n      \"path\": \"/b/gvisor-exec\"\n    }\n  }\n}\n", "removed"},
		"empty":       {yes(true), "{}", "{\n  \"runtimes\": {\n    \"gvisor-exec\": {\n      \"path\": \"/b/gvisor-exec\"\n    }\n  },\n  \"default-runtime\": \"gvisor-exec\"\n}", "removed"},
		"one line":    {nil, `{"debug":true}`, `{"debug":true, "runtimes": ` + ours + `}`, ""},
		"tabs":        {nil, "{\n\t\"debug\": true\n}\n", "{\n\t\"debug\": true,\n\t\"runtimes\": {\n\t\t\"gvisor-exec\": {\n\t\t\t\"path\": \"/b/gvisor-exec\"\n\t\t}\n\t}\n}\n", ""},
		"CRLF":        {nil, "{\r\n \"debug\": true\r\n}\r\n", "{\r\n \"debug\": true,\r\n \"runtimes\": {\r\n  \"gvisor-exec\": {\r\n   \"path\": \"/b/gvisor-exec\"\r\n  }\r\n }\r\n}\r\n", ""},
		"others":      {nil, "{\n \"runtimes\": {\n  \"x\": {\"path\": \"/x\"}\n },\n \"n\": 1e999\n}", "{\n \"runtimes\": {\n  \"x\": {\"path\": \"/x\"},\n  \"gvisor-exec\": {\n   \"path\": \"/b/gvisor-exec\"\n  }\n },\n \"n\": 1e999\n}", ""},
		"braces":      {nil, `{"a":"}\"{,","runtimes":{"x":{"path":"]"}}}`, `{"a":"}\"{,","runtimes":{"x":{"path":"]"}, "gvisor-exec": {"path": "/b/gvisor-exec"}}}`, ""},
		"no runtime":  {nil, "{\n  \"runtimes\": {},\n  \"a\": 1\n}", "{\n  \"runtimes\": {\n    \"gvisor-exec\": {\n      \"path\": \"/b/gvisor-exec\"\n    }\n  },\n  \"a\": 1\n}", "{\n  \"a\": 1\n}"},
		"null":        {nil, `{"runtimes": null, "a": 1}`, `{"runtimes": ` + ours + `, "a": 1}`, `{"a": 1}`},
		"moved":       {nil, `{"a": 1, "runtimes": {"gvisor-exec": {"path": "/old"}}}`, `{"a": 1, "runtimes": ` + ours + `}`, `{"a": 1}`},
		"there":       {nil, `{"a": 1, "runtimes": ` + ours + `}`, `{"a": 1, "runtimes": ` + ours + `}`, `{"a": 1}`},
		"is default":  {nil, `{"default-runtime": "gvisor-exec", "a": 1}`, `{"default-runtime": "gvisor-exec", "a": 1, "runtimes": ` + ours + `}`, `{"a": 1}`},
		"not default": {yes(false), `{"default-runtime": "gvisor-exec", "a": 1}`, `{"a": 1, "runtimes": ` + ours + `}`, `{"a": 1}`},
		"of another":  {yes(false), `{"default-runtime": "runc"}`, `{"default-runtime": "runc", "runtimes": ` + ours + `}`, ""},
	} {
		d := Docker{Runtime: "/b/gvisor-exec", Default: tt.isDefault}
		got, err := d.Install([]byte(tt.old))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, tt.want)
			continue
		}
		if again, err := d.Install(got); err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s: again: %v\n%s", name, err, again)
		}
		back := tt.back
		if back == "" {
			back = tt.old
		}
		left, err := DockerUninstall(got)
		if err != nil || left == nil != (back == "removed") || left != nil && string(left) != back {
			t.Errorf("%s: uninstall: %v\n%s\nwant\n%s", name, err, left, back)
		}
		if left != nil {
			if again, err := DockerUninstall(left); err != nil || !bytes.Equal(again, left) {
				t.Errorf("%s: uninstall again: %v\n%s", name, err, again)
			}
		}
	}
}

// What the user has added to our entry stays, and keeps uninstall away.
func TestDockerChanged(t *testing.T) {
	const old = `{"runtimes": {"gvisor-exec": {"path": "/old", "runtimeArgs": ["-debug"]}}}`
	d := Docker{Runtime: "/new"}
	got, err := d.Install([]byte(old))
	if want := strings.Replace(old, "/old", "/new", 1); err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := DockerUninstall(got); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	got, err = d.Install([]byte(`{"runtimes": {"gvisor-exec": {"runtimeArgs": []}}}`))
	if want := `{"runtimes": {"gvisor-exec": {"runtimeArgs": [], "path": "/new"}}}`; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	for _, nothing := range []string{"", "{}", `{"a": 1}`, `{"runtimes": {}}`, `{"runtimes": 1}`} {
		if got, err := DockerUninstall([]byte(nothing)); err != nil || string(got) != nothing || got == nil {
			t.Errorf("%s: %q, %v", nothing, got, err)
		}
	}
}

func TestDockerErrors(t *testing.T) {
	for old, words := range map[string]string{
		"{\n\"a\": 1,\n}":                  "not valid JSON: line 3",
		`[]`:                               "not a JSON object",
		`null`:                             "not a JSON object",
		`{"a": 1} x`:                       "not valid JSON: line 1",
		`{"runtimes": []}`:                 `"runtimes" is not an object`,
		`{"runtimes":{},"runtimes":{}}`:    "twice",
		`{"runtimes": {"gvisor-exec": 1}}`: "not an object",
		`{"runtimes": {"gvisor-exec": {"runtimeType": "x"}}}`:       "runtimeType",
		`{"default-runtime": "nvidia"}`:                             `"default-runtime" is "nvidia" already`,
		`{"default-runtime": "gvisor-exec", "default-runtime": ""}`: "twice",
	} {
		if _, err := (Docker{Runtime: "/b", Default: yes(true)}).Install([]byte(old)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", old, err)
		}
	}
	if _, err := (Docker{Runtime: "/\xff"}).Install(nil); err == nil {
		t.Error("a path that is not UTF-8 is taken")
	}
}

// without decodes a daemon.json and takes away what is ours, and what is as good
// as absent.
func without(t *testing.T, text []byte) (map[string]any, map[string]any) {
	t.Helper()
	all := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if len(bytes.TrimSpace(text)) > 0 {
		if err := dec.Decode(&all); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if all[defaultKey] == any(Name) {
		delete(all, defaultKey)
	}
	runtimes, _ := all[runtimesKey].(map[string]any)
	entry, _ := runtimes[Name].(map[string]any)
	delete(runtimes, Name)
	if len(runtimes) == 0 {
		delete(all, runtimesKey)
	}
	return all, entry
}

// Whatever is in the file besides what is ours is there afterwards, too.
func FuzzDocker(f *testing.F) {
	f.Add([]byte(`{"runtimes": {"x": {"path": "/x"}}, "a": [1, {"b": "}"}]}`), true)
	f.Add([]byte("{\n  \"log-opts\": {\"max-size\": \"10m\"}\n}\n"), false)
	f.Add([]byte(`{"runtimes": {"gvisor-exec": {"path": "a", "x": 1}}, "default-runtime": "gvisor-exec"}`), false)
	f.Add([]byte(`{"runtimes": {"\u0067visor-exec": {}}}`), false)
	f.Fuzz(func(t *testing.T, old []byte, isDefault bool) {
		d := Docker{Runtime: "/b/gvisor-exec", Default: &isDefault}
		installed, err := d.Install(old)
		if err != nil {
			return
		}
		before, _ := without(t, old)
		after, entry := without(t, installed)
		if entry[pathKey] != "/b/gvisor-exec" || !reflect.DeepEqual(before, after) {
			t.Fatalf("%s\nbecame\n%s", old, installed)
		}
		if again, err := d.Install(installed); err != nil || !bytes.Equal(again, installed) {
			t.Fatalf("again: %v: %s\nbecame\n%s", err, installed, again)
		}
		left, err := DockerUninstall(installed)
		if errors.Is(err, ErrChanged) && len(entry) > 1 {
			return
		}
		if err != nil {
			t.Fatalf("uninstall: %v: %s", err, installed)
		}
		rest, entry := without(t, left)
		if entry != nil || !reflect.DeepEqual(before, rest) {
			t.Fatalf("%s\nbecame\n%s\nand then\n%s", old, installed, left)
		}
	})
}
