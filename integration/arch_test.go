package integration

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// Imports go one way: cmd → shim → {bundle, runsc, internal/*}.
func TestImportDirections(t *testing.T) {
	const module = "github.com/gvisor-exec/gvisor-exec/"
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	may := func(from, to string) bool {
		internal := strings.HasPrefix(to, "internal/")
		switch {
		case strings.HasPrefix(from, "cmd/"):
			return true
		case from == "shim":
			return to == "bundle" || to == "runsc" || internal
		case strings.HasPrefix(from, "integration"):
			return to == "internal/probe"
		}
		return false // bundle, runsc and the internal packages import none of ours
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	packages := 0
	for dec.More() {
		var p struct {
			ImportPath    string
			Imports, Deps []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		packages++
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			if to, ours := strings.CutPrefix(imported, module); ours && !may(from, to) {
				t.Errorf("%s imports %s", from, to)
			}
			if imported == "github.com/urfave/cli/v2" && !strings.HasPrefix(from, "cmd/") {
				t.Errorf("%s imports the command line library", from)
			}
			if imported == "github.com/moby/sys/mountinfo" && from != "internal/hostfs" {
				t.Errorf("%s imports mountinfo", from)
			}
		}
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, "gvisor.dev/") {
				t.Errorf("%s depends on %s", from, dep)
			}
		}
	}
	if packages < 8 {
		t.Fatalf("only %d packages were listed", packages)
	}
}
