package register

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func conf(text string) File { return File{Path: "/etc/x.conf", Content: []byte(text)} }

func TestPodman(t *testing.T) {
	p := Podman{Runtime: "/usr/local/bin/gvisor-exec"}
	got, err := p.Install(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(got), "checksum ")
	_, body, _ = strings.Cut(body, "\n")
	const want = `[engine]
# This list replaces the one that was there, so it holds that, too.
runtime_supports_json = ["crun", "runc", "kata", "runsc", "youki", "krun", "ocijail", "gvisor-exec"]

[engine.runtimes]
gvisor-exec = ["/usr/local/bin/gvisor-exec"]
`
	if body != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if again, err := p.Install(got); err != nil || string(again) != string(got) {
		t.Errorf("again: %v, %s", err, again)
	}
	if err := PodmanUninstall(got); err != nil {
		t.Error(err)
	}
	p.Default = yes(true)
	isDefault, err := p.Install(got)
	if err != nil || !strings.Contains(string(isDefault), "[engine]\nruntime = \"gvisor-exec\"\n") {
		t.Errorf("%s, %v", isDefault, err)
	}
	p.Default = nil
	if kept, err := p.Install(isDefault); err != nil || string(kept) != string(isDefault) {
		t.Errorf("without -default: %s, %v", kept, err)
	}
	p.Default = yes(false)
	if back, err := p.Install(isDefault); err != nil || string(back) != string(got) {
		t.Errorf("-default=false: %s, %v", back, err)
	}
	p = Podman{Runtime: "/other"}
	if moved, err := p.Install(got); err != nil || !strings.Contains(string(moved), `["/other"]`) || PodmanUninstall(moved) != nil {
		t.Errorf("moved: %s, %v", moved, err)
	}
}

// A drop-in that the user has changed is left alone; it is enough if it says what
// is wanted.
func TestPodmanChanged(t *testing.T) {
	p := Podman{Runtime: "/b/gvisor-exec"}
	got, _ := p.Install(nil)
	for change, enough := range map[string]bool{
		string(got) + "# a remark\n":                           true,
		"# ahead\n" + string(got):                              true,
		strings.Replace(string(got), "/b/", "/c/", 1):          false,
		strings.Replace(string(got), `, "gvisor-exec"`, "", 1): false,
		string(got[:len(got)/2]):                               false,
		"":                                                     false,
		"\xff = [":                                             false,
	} {
		new, err := p.Install([]byte(change))
		if enough && (err != nil || string(new) != change) || !enough && !errors.Is(err, ErrChanged) {
			t.Errorf("%q: %v", change, err)
		}
		if err := PodmanUninstall([]byte(change)); !errors.Is(err, ErrChanged) {
			t.Errorf("%q: uninstall: %v", change, err)
		}
	}
}

func TestPodmanSupports(t *testing.T) {
	builtIn := strings.Join(jsonRuntimes, " ")
	for name, tt := range map[string]struct {
		before []File
		want   string
	}{
		"nothing set":    {[]File{conf("[engine]\nruntime = 'crun'")}, builtIn + " gvisor-exec"},
		"the user's":     {[]File{conf("engine.runtime_supports_json = [\n'mine', # a list\n]")}, "mine gvisor-exec"},
		"the later":      {[]File{conf("engine.runtime_supports_json = ['a']"), conf("engine.runtime_supports_json = ['b']")}, "b gvisor-exec"},
		"none at all":    {[]File{conf("engine.runtime_supports_json = []")}, "gvisor-exec"},
		"with us":        {[]File{conf("engine.runtime_supports_json = ['gvisor-exec', 'a']")}, "gvisor-exec a"},
		"append":         {[]File{conf("engine.runtime_supports_json = ['a', {append=true}]")}, builtIn + " a gvisor-exec"},
		"append stays":   {[]File{conf("engine.runtime_supports_json = ['a', {append=true}]"), conf("engine.runtime_supports_json = ['b']")}, builtIn + " a b gvisor-exec"},
		"append no more": {[]File{conf("engine.runtime_supports_json = ['a', {append=true}]"), conf("engine.runtime_supports_json = ['b', {append=false}]")}, "b gvisor-exec"},
	} {
		got, err := (Podman{Before: tt.before}).supports()
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := (Podman{Before: []File{conf("[")}}).Install(nil); err == nil || !strings.Contains(err.Error(), "cannot read /etc/x.conf") {
		t.Error(err)
	}
}

func TestPodmanWarnings(t *testing.T) {
	for text, words := range map[string]string{
		"":                                   "",
		"engine.runtime_supports_json=['a']": "without gvisor-exec",
		"engine.runtime_supports_json=['gvisor-exec']":      "",
		"engine.runtime_supports_json=['a', {append=true}]": "",
		"engine.runtimes.gvisor-exec=['/x']":                "another path",
		"engine.runtime='crun'":                             "makes crun the default",
		"[engine":                                           "cannot read /etc/x.conf",
		"engine.runtime='gvisor-exec'":                      "",
	} {
		got := (Podman{Default: yes(true), After: []File{conf(text)}}).Warnings()
		if (words == "") != (len(got) == 0) || words != "" && !strings.Contains(got[0], words) {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// A path is written so that podman reads the same.
func FuzzPodmanPath(f *testing.F) {
	f.Add("/a\"b\\c\n\x7f\u2028<>")
	f.Fuzz(func(t *testing.T, path string) {
		p := Podman{Runtime: path}
		got, err := p.Install(nil)
		if err != nil {
			return
		}
		conf, err := parseConf(File{Content: got})
		if err != nil || conf.Engine.Runtimes[Name][0] != path || !p.registered(conf) {
			t.Errorf("%q: %v\n%s", path, err, got)
		}
	})
}

func TestDiff(t *testing.T) {
	old := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n"
	new := "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n12\n14\nend\n"
	want := "…|  2|  3|  4|- 5|+ five|  6|  7|  8|…|  10|  11|  12|- 13|  14|+ end"
	if got := strings.Join(Diff([]byte(old), []byte(new)), "|"); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := Diff(nil, []byte("a\nb\n")); !slices.Equal(got, []string{"+ a", "+ b"}) {
		t.Errorf("%q", got)
	}
	if got := Diff([]byte("a\n"), nil); !slices.Equal(got, []string{"- a"}) {
		t.Errorf("%q", got)
	}
	if got := Diff([]byte("a\n"), []byte("a\n")); !slices.Equal(got, []string{"…"}) {
		t.Errorf("%q", got)
	}
}

func TestDistrust(t *testing.T) {
	dir := func(mode fs.FileMode, uid, gid uint32) []Place {
		return []Place{{"/", fs.ModeDir | 0o755, 0, 0}, {"/d", fs.ModeDir | mode, uid, gid}, {"/d/b", 0o755, uid, gid}}
	}
	for words, places := range map[string][]Place{
		"":                    dir(0o755, 0, 0),
		"emptied":             dir(fs.ModeSticky|0o777, 0, 0),
		"everybody may write": dir(0o777, 0, 0),
		"group 7 may write":   dir(0o775, 0, 7),
		"belongs to another":  dir(0o755, 9, 9),
	} {
		got := Distrust(places, 0)
		if (words == "") != (got == "") || !strings.Contains(got, words) {
			t.Errorf("%q: %q", words, got)
		}
	}
	for _, places := range [][]Place{dir(0o775, 9, 9), dir(0o775, 0, 0)} {
		if got := Distrust(places, 9); got != "" {
			t.Error(got)
		}
	}
}
