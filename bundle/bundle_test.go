package bundle

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestParseMount(t *testing.T) {
	for _, tt := range []struct {
		kind  MountKind
		value string
		want  Mount
		err   string
	}{
		{Bind, "/a", Mount{Bind, "/a", "/a"}, ""},
		{Bind, "/a:/b", Mount{Bind, "/a", "/b"}, ""},
		{RWBind, "rel/x/..:/b/", Mount{RWBind, "/cwd/rel", "/b"}, ""},
		{ROBind, ".", Mount{ROBind, "/cwd", "/cwd"}, ""},
		{Bind, `/a\:b:/c\:d`, Mount{Bind, "/a:b", "/c:d"}, ""},
		{Bind, `/a\\:/b`, Mount{Bind, `/a\`, "/b"}, ""},
		{Bind, `/a\b,c`, Mount{Bind, `/a\b,c`, `/a\b,c`}, ""},
		{Tmpfs, "/t", Mount{Tmpfs, "", "/t"}, ""},
		{Tmpfs, "t", Mount{}, "not an absolute path"},
		{Tmpfs, "/a:/b", Mount{}, "colons"},
		{Bind, "/a:b", Mount{}, "not an absolute path"},
		{Bind, "/a:/b:/c", Mount{}, "colons"},
		{Bind, "", Mount{}, "empty"},
		{Bind, ":/b", Mount{}, "empty"},
		{Bind, "/a:", Mount{}, "empty"},
		{Bind, "/a:/", Mount{}, "-rootfs"},
		{Bind, "/a:/proc/x", Mount{}, "/proc"},
		{Bind, "/a:/dev", Mount{}, "/dev"},
		{Bind, "/a:/x/../sys", Mount{}, "/sys"},
		{Bind, "/a\x00", Mount{}, "zero byte"},
	} {
		got, err := ParseMount(tt.kind, tt.value, "/cwd")
		if tt.err == "" && (err != nil || got != tt.want) {
			t.Errorf("ParseMount(%v, %q) = %+v, %v; want %+v", tt.kind, tt.value, got, err, tt.want)
		}
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("ParseMount(%v, %q): %v; want an error with %q", tt.kind, tt.value, err, tt.err)
		}
	}
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name    string
		overlay Overlay
		mounts  []Mount
		want    map[string]Placement
	}{
		{"tmp alone", "", nil, map[string]Placement{"/tmp": OCI}},
		{"a bind is in the tree", "", []Mount{{Bind, "/h", "/d"}}, map[string]Placement{"/tmp": OCI, "/d": InTree}},
		{"persistent ones are not", "", []Mount{{RWBind, "/h", "/d"}, {ROBind, "/h", "/e"}}, map[string]Placement{"/tmp": OCI, "/d": OCI, "/e": OCI}},
		{"a bind below /tmp", "", []Mount{{Bind, "/h", "/tmp/x"}}, map[string]Placement{"/tmp": InTree, "/tmp/x": InTree}},
		{"a persistent one below /tmp", "", []Mount{{RWBind, "/h", "/tmp/x"}}, map[string]Placement{"/tmp": OCI, "/tmp/x": OCI}},
		{"a bind below a persistent one", "", []Mount{{Bind, "/h", "/d/x"}, {RWBind, "/h", "/d"}}, map[string]Placement{"/tmp": OCI, "/d": OCI, "/d/x": OCICopy}},
		{"a bind below a tmpfs below a persistent one", "", []Mount{{Bind, "/h", "/d/t/x"}, {Tmpfs, "", "/d/t"}, {RWBind, "/h", "/d"}},
			map[string]Placement{"/tmp": OCI, "/d": OCI, "/d/t": OCI, "/d/t/x": OCICopy}},
		{"a bind in a bind", "", []Mount{{Bind, "/h", "/d/x"}, {Bind, "/h", "/d"}}, map[string]Placement{"/tmp": OCI, "/d": InTree, "/d/x": InTree}},
		{"without an overlay", OverlayNone, []Mount{{Bind, "/h", "/tmp/x"}, {Tmpfs, "", "/t"}}, map[string]Placement{"/tmp": OCI, "/tmp/x": OCI, "/t": OCI}},
		{"the later wins", "", []Mount{{RWBind, "/h", "/d"}, {Bind, "/i", "/d"}}, map[string]Placement{"/tmp": OCI, "/d": InTree}},
	} {
		c := Config{Overlay: tt.overlay, Mounts: tt.mounts}
		got := map[string]Placement{}
		last := 0
		for i, p := range c.Plan() {
			got[p.Dest] = p.Placement
			if p.Index != i || depth(p.Dest) < last {
				t.Errorf("%s: %+v is out of order", tt.name, p)
			}
			last = depth(p.Dest)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestSpec(t *testing.T) {
	c := Config{
		Args: []string{"a"}, Env: Env{"B": "2", "A": "1"}, Cwd: "/w", Umask: 0o27, Tree: "/tree",
		Capabilities: Capabilities{"CAP_CHOWN"}, Mounts: []Mount{{ROBind, "/h", "/ro"}, {RWBind, "/h", "/rw"}},
	}
	s := c.Spec()
	if s.Hostname != DefaultHostname || s.Root.Path != "/tree/root" || s.Root.Readonly || *s.Process.User.Umask != 0o27 {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(s.Process.Env, []string{"A=1", "B=2"}) || !slices.Equal(s.Process.Capabilities.Effective, []string{"CAP_CHOWN"}) {
		t.Errorf("%+v", s.Process)
	}
	var seen []string
	for _, m := range s.Mounts {
		seen = append(seen, m.Destination+" "+m.Type+" "+m.Source+" "+strings.Join(m.Options, ","))
	}
	want := []string{"/ro bind /tree/binds/0 rbind,ro", "/rw bind /tree/binds/1 rbind,rw", "/tmp tmpfs tmpfs mode=1777,nosuid,nodev"}
	if !slices.Equal(seen[5:], want) {
		t.Errorf("mounts:\n%s\nwant\n%s", strings.Join(seen[5:], "\n"), strings.Join(want, "\n"))
	}
	hasNetwork := func(s *specs.Spec) bool {
		return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	}
	if !hasNetwork(s) {
		t.Error("no network namespace")
	}
	c.HostNetwork, c.Overlay = true, OverlayNone
	if s = c.Spec(); hasNetwork(s) || !s.Root.Readonly {
		t.Errorf("host network and no overlay: %+v", s)
	}
}

func TestDefaultEnv(t *testing.T) {
	environ := []string{"PATH=/p", "LANG=x", "LC_ALL=y", "SECRET=z", "TERM=t", "COLORTERM=c", "HOME=/home/me", "LCX=1"}
	for terminal, want := range map[bool]Env{
		false: {"HOME": "/tmp", "PATH": "/p", "LANG": "x", "LC_ALL": "y"},
		true:  {"HOME": "/tmp", "PATH": "/p", "LANG": "x", "LC_ALL": "y", "TERM": "t", "COLORTERM": "c"},
	} {
		if got := DefaultEnv(environ, terminal); !reflect.DeepEqual(got, want) {
			t.Errorf("terminal %v: %v, want %v", terminal, got, want)
		}
	}
	if got := DefaultEnv(nil, false)["PATH"]; got != defaultPath {
		t.Errorf("PATH without one: %q", got)
	}
}

func TestCapabilities(t *testing.T) {
	var c Capabilities
	for _, s := range []string{"chown", "CAP_KILL", "Chown"} {
		if err := c.Set(s); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(c, []string{"CAP_CHOWN", "CAP_KILL"}) {
		t.Error(c)
	}
	if err := c.Set("FLY"); err == nil {
		t.Error("FLY is a capability")
	}
	if err := c.Set("all"); err != nil || len(c) != len(capabilities) {
		t.Error(err, c)
	}
}

func TestOverlaySet(t *testing.T) {
	var o Overlay
	if o.String() != "self" || o.Set("memory") != nil || o != OverlayMemory || o.Set("disk") == nil {
		t.Error(o)
	}
}

func TestCheck(t *testing.T) {
	if err := (&Config{Args: []string{"ü", ""}, Env: Env{"A": "€"}}).Check(); err != nil {
		t.Error(err)
	}
	const latin1 = "f\xfcr"
	for _, c := range []Config{
		{Args: []string{"a", latin1}}, {Env: Env{"A": latin1}}, {Cwd: "/" + latin1}, {Hostname: latin1},
		{Mounts: []Mount{{Bind, "/" + latin1, "/a"}}}, {Mounts: []Mount{{Bind, "/a", "/" + latin1}}},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), `f\xfcr`) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, (&Config{Args: []string{"a"}}).Spec()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path.Join(dir, "config.json"))
	if err != nil || !json.Valid(data) {
		t.Errorf("%s, %v", data, err)
	}
	if err := Write(dir+"/none", &specs.Spec{}); err == nil {
		t.Error("no error for a missing directory")
	}
}

func FuzzParseMount(f *testing.F) {
	for _, s := range []string{"/a", "/a:/b", `/a\:b`, "rel:/x", "::", `\\:`, "/a/../..:/b/."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for kind := Bind; kind <= Tmpfs; kind++ {
			m, err := ParseMount(kind, value, "/cwd")
			if err != nil {
				continue
			}
			clean := func(p string) bool { return path.IsAbs(p) && path.Clean(p) == p && !strings.ContainsRune(p, 0) }
			if !clean(m.Dest) || m.Dest == "/" || (kind != Tmpfs && !clean(m.Source)) || (kind == Tmpfs) != (m.Source == "") {
				t.Errorf("ParseMount(%v, %q) = %+v", kind, value, m)
			}
			// What it returns, written again, means the same.
			escape := strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace
			again := escape(m.Source) + ":" + escape(m.Dest)
			if kind == Tmpfs {
				again = escape(m.Dest)
			}
			if m2, err := ParseMount(kind, again, "/elsewhere"); err != nil || m2 != m {
				t.Errorf("%q: %+v, again from %q: %+v, %v", value, m, again, m2, err)
			}
		}
	})
}

func FuzzEnv(f *testing.F) {
	f.Add("A=b")
	f.Add("=")
	f.Add("A=b=c\n")
	f.Fuzz(func(t *testing.T, s string) {
		env := Env{}
		if err := env.Set(s); err == nil && !slices.Equal(env.List(), []string{s}) {
			t.Errorf("Set(%q): %q", s, env.List())
		}
		if err := env.Inherit(s, func(string) (string, bool) { return "v", true }); err == nil && !slices.Contains(env.List(), s+"=v") {
			t.Errorf("Inherit(%q): %q", s, env.List())
		}
	})
}

// FuzzSpec checks what the OCI runtime specification demands of every
// config.json, and that the mounts of a plan are complete and in order.
func FuzzSpec(f *testing.F) {
	schema := specSchema(f)
	f.Add("/a:/b", "/c:/b/d", "/e", "A=b", "w", byte(0), byte(1), uint32(0))
	f.Add("/a:/tmp/x", "/c:/tmp", "/tmp/x/y", "=", "", byte(0x39), byte(0xfe), uint32(1000))
	f.Fuzz(func(t *testing.T, one, two, three, env, cwd string, kinds, bits byte, id uint32) {
		c := Config{
			Args: []string{one}, Env: Env{}, Cwd: "/" + cwd, Hostname: cwd, UID: id, GID: id / 2, Umask: id % 0o1000, Tree: "/tree",
			Overlay:  []Overlay{"", OverlaySelf, OverlayMemory, OverlayNone}[bits%4],
			Terminal: bits&4 != 0, HostNetwork: bits&8 != 0,
		}
		c.Env.Set(env)
		if bits&16 != 0 {
			c.Capabilities.Set("ALL")
			c.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Hard: uint64(id)}}
		}
		for i, value := range []string{one, two, three} {
			if m, err := ParseMount(MountKind(kinds>>(2*i)&3), value, "/cwd"); err == nil {
				c.Mounts = append(c.Mounts, m)
			}
		}
		spec := c.Spec()
		if err := validate(schema, spec); err != nil {
			t.Error(err)
		}
		position := map[string]int{}
		for i, m := range spec.Mounts {
			if _, twice := position[m.Destination]; twice {
				t.Errorf("two mounts at %s", m.Destination)
			}
			position[m.Destination] = i
			for dest := range position {
				if dest != m.Destination && under(dest, m.Destination) {
					t.Errorf("%s is mounted before its parent %s", dest, m.Destination)
				}
			}
		}
		for _, p := range c.Plan() {
			if _, inSpec := position[p.Dest]; inSpec != (p.Placement != InTree) {
				t.Errorf("%+v: in the spec: %v", p, inSpec)
			}
		}
	})
}

// specSchema is the schema of config.json that the OCI runtime specification
// ships beside its Go types.
func specSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-spec").Output()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.NewCompiler().Compile(path.Join(strings.TrimSpace(string(dir)), "schema/config-schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(schema *jsonschema.Schema, spec *specs.Spec) error {
	data, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// The schema is really looked at.
func TestSchemaRefuses(t *testing.T) {
	schema := specSchema(t)
	c := Config{Args: []string{"a"}, Cwd: "/"}
	if err := validate(schema, c.Spec()); err != nil {
		t.Error(err)
	}
	broken := c.Spec()
	broken.Process.Rlimits = []specs.POSIXRlimit{{Type: "x"}}
	if err := validate(schema, broken); err == nil {
		t.Error("a limit called x is valid")
	}
}
