package bundle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Env is the environment of a command; a later Set of a name wins.
type Env map[string]string

// Set adds KEY=VALUE.
func (e Env) Set(assignment string) error {
	key, value, ok := strings.Cut(assignment, "=")
	if !ok || key == "" || strings.ContainsRune(assignment, 0) {
		return fmt.Errorf("%q is not KEY=VALUE", assignment)
	}
	e[key] = value
	return nil
}

// Inherit takes key from the caller's environment, as os.LookupEnv has it; one
// that is not set stays unset.
func (e Env) Inherit(key string, lookup func(string) (string, bool)) error {
	if key == "" || strings.ContainsAny(key, "=\x00") {
		return fmt.Errorf("%q is not the name of an environment variable", key)
	}
	if value, ok := lookup(key); ok {
		e[key] = value
	}
	return nil
}

// inherited are the variables that every sandbox takes from its caller:
// how programs are found and how text and time are written, nothing secret.
var (
	inherited         = []string{"PATH", "LANG", "TZ"}
	inheritedTerminal = []string{"TERM", "COLORTERM"}
)

// defaultPath serves a caller that has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// DefaultEnv picks from environ, as os.Environ has it, what a sandbox gets
// without being asked.
func DefaultEnv(environ []string, terminal bool) Env {
	env := Env{"HOME": "/tmp", "PATH": defaultPath}
	keys := inherited
	if terminal {
		keys = slices.Concat(inherited, inheritedTerminal)
	}
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		if slices.Contains(keys, key) || strings.HasPrefix(key, "LC_") {
			env[key] = value
		}
	}
	return env
}

// List returns the environment as KEY=VALUE, sorted by key.
func (e Env) List() []string {
	list := make([]string, 0, len(e))
	for _, key := range slices.Sorted(maps.Keys(e)) {
		list = append(list, key+"="+e[key])
	}
	return list
}
