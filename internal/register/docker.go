package register

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Docker is what docker is to know of the runtime.
type Docker struct {
	// Runtime is the absolute path of the binary.
	Runtime string
	// Default makes it docker's default runtime, or no longer so; nil leaves that as
	// it is.
	Default *bool
}

// The keys of daemon.json that concern us.
const (
	runtimesKey = "runtimes"
	defaultKey  = "default-runtime"
	pathKey     = "path"
	typeKey     = "runtimeType"
)

// firstStep is the indent of a file that has none yet.
const firstStep = "  "

// Install returns daemon.json with the runtime in it; old is what is there now,
// which may be nothing. All else stays as it is, and so does what the user has
// added to our entry.
func (d Docker) Install(old []byte) ([]byte, error) {
	text := old
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}\n")
	}
	path, err := quote(d.Runtime)
	if err != nil {
		return nil, err
	}
	if text, err = setPath(text, path); err != nil {
		return nil, err
	}
	if d.Default == nil {
		return text, nil
	}
	return setDefault(text, *d.Default)
}

// setPath makes path, which is quoted, that of our entry.
func setPath(text []byte, path string) ([]byte, error) {
	root, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	newline, step := root.layout()
	entry := func(indent string) string { return render(indent, step, pathKey, path) }
	runtimes := func(indent string) string {
		inner := indent
		if indent != "" {
			inner += step
		}
		return render(indent, step, Name, entry(inner))
	}
	m, err := root.find(runtimesKey)
	switch {
	case err != nil:
		return nil, err
	case m == nil:
		return root.insert(runtimesKey, runtimes, newline, step), nil
	case string(root.valueOf(m)) == "null":
		return root.replace(m, runtimes(root.indent())), nil
	}
	list := root.child(m)
	if list == nil {
		return nil, fmt.Errorf("its %q is not an object", runtimesKey)
	}
	ours, err := list.find(Name)
	if err != nil {
		return nil, err
	}
	if ours == nil {
		return list.insert(Name, entry, root.indent(), step), nil
	}
	return setEntryPath(list, ours, path)
}

// setEntryPath changes the path in an entry that is there.
func setEntryPath(list *object, ours *member, path string) ([]byte, error) {
	entry := list.child(ours)
	if entry == nil {
		return nil, fmt.Errorf("its runtime %q is not an object", Name)
	}
	kind, err := entry.find(typeKey)
	if err != nil {
		return nil, err
	}
	m, err := entry.find(pathKey)
	switch {
	case err != nil:
		return nil, err
	case kind != nil:
		return nil, fmt.Errorf("its runtime %q has a %q, beside which docker takes no path", Name, typeKey)
	case m == nil:
		return entry.insert(pathKey, func(string) string { return path }, "", ""), nil
	case stringOf(entry.valueOf(m)) == stringOf([]byte(path)):
		return list.text, nil
	}
	return entry.replace(m, path), nil
}

func setDefault(text []byte, on bool) ([]byte, error) {
	root, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	m, err := root.find(defaultKey)
	switch {
	case err != nil:
		return nil, err
	case m == nil && on:
		newline, step := root.layout()
		return root.insert(defaultKey, func(string) string { return `"` + Name + `"` }, newline, step), nil
	case m == nil:
		return text, nil
	case stringOf(root.valueOf(m)) == Name && !on:
		return root.remove(m), nil
	case stringOf(root.valueOf(m)) == Name || !on:
		return text, nil
	}
	// Replacing it would lose what uninstall could not bring back.
	return nil, fmt.Errorf("its %q is %s already", defaultKey, root.valueOf(m))
}

// DockerUninstall returns daemon.json without what Install put there, and nil if
// nothing is left in it. ErrChanged: the user has added to our entry.
func DockerUninstall(old []byte) ([]byte, error) {
	if len(bytes.TrimSpace(old)) == 0 {
		return old, nil
	}
	text, err := removeEntry(old)
	if err != nil {
		return nil, err
	}
	// Docker does not start with a default that it does not know.
	if text, err = setDefault(text, false); err != nil {
		return nil, err
	}
	root, err := parseObject(text)
	if err == nil && len(root.members) == 0 && !bytes.Equal(text, old) {
		return nil, nil
	}
	return text, err
}

func removeEntry(text []byte) ([]byte, error) {
	root, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	m, err := root.find(runtimesKey)
	if err != nil || m == nil || root.child(m) == nil {
		return text, err
	}
	list := root.child(m)
	ours, err := list.find(Name)
	if err != nil || ours == nil {
		return text, err
	}
	entry := list.child(ours)
	if entry == nil || len(entry.members) != 1 || entry.members[0].key != pathKey {
		return nil, ErrChanged
	}
	if len(list.members) == 1 {
		return root.remove(m), nil
	}
	return list.remove(ours), nil
}

// layout is how the top level is indented: the newline that stands before its
// closing brace, and one step; both empty: all is on one line.
func (o *object) layout() (newline, step string) {
	if len(o.members) == 0 {
		return "\n", firstStep
	}
	indent := o.indent()
	if indent == "" {
		return "", ""
	}
	step = strings.TrimLeft(indent, "\r\n")
	return strings.TrimSuffix(indent, step), step
}

// render is an object with one member; indent is that of the line it begins on.
func render(indent, step, key, value string) string {
	if indent == "" {
		return fmt.Sprintf(`{%q: %s}`, key, value)
	}
	return fmt.Sprintf(`{%s%q: %s%s}`, indent+step, key, value, indent)
}

// stringOf is the string that a JSON value is; empty if it is something else.
func stringOf(value []byte) (s string) {
	json.Unmarshal(value, &s)
	return s
}
