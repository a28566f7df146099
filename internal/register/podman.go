// Package register computes what makes podman and docker know the runtime: the
// content of a configuration file goes in, the new content comes out. It is
// pure. Finding the files, asking the user and writing are the verbs' of
// cmd/gvisor-exec. Start reading at Podman.Install and Docker.Install.
package register

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Name is what the runtime is called by those who know it.
const Name = "gvisor-exec"

// DropInName is our file in a containers.conf.d. Files are read in the order of
// their names, and the later wins.
const DropInName = "50-gvisor-exec.conf"

// ErrChanged says that what we wrote is not any more what we wrote.
var ErrChanged = errors.New("it was changed since gvisor-exec wrote it, and is kept")

// jsonRuntimes are the built-in runtime_supports_json of podman 4.3 and of what
// came later. A list in a file replaces that of the version which reads it, so
// ours has to hold them all; a name that a version does not know does no harm.
var jsonRuntimes = []string{"crun", "runc", "kata", "runsc", "youki", "krun", "ocijail"}

// File is a configuration file that podman reads besides ours.
type File struct {
	Path    string
	Content []byte
}

// Podman is what podman is to know of the runtime.
type Podman struct {
	// Runtime is the absolute path of the binary.
	Runtime string
	// Default makes it podman's default runtime, or no longer so; nil leaves that
	// as the drop-in has it.
	Default *bool
	// Before and After are the files that podman reads before and after the
	// drop-in, in that order.
	Before, After []File
}

// containersConf is what concerns us in a containers.conf.
type containersConf struct {
	Engine struct {
		// JSON is a list of strings; later versions of podman also know
		// {append=true} in it.
		JSON     []any               `toml:"runtime_supports_json"`
		Runtime  string              `toml:"runtime"`
		Runtimes map[string][]string `toml:"runtimes"`
	} `toml:"engine"`
}

func parseConf(f File) (*containersConf, error) {
	conf := &containersConf{}
	if err := toml.Unmarshal(f.Content, conf); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", f.Path, err)
	}
	return conf, nil
}

// Install returns the content of the drop-in; old is what is there now, nil where
// there is none. If old registers the runtime already, however it came about, it
// is returned as it is.
func (p Podman) Install(old []byte) ([]byte, error) {
	supports, err := p.supports()
	if err != nil {
		return nil, err
	}
	if old == nil {
		return p.dropIn(supports, p.Default != nil && *p.Default)
	}
	conf, err := parseConf(File{DropInName, old})
	if !intact(old) {
		if err == nil && p.registered(conf) {
			return old, nil
		}
		return nil, ErrChanged
	}
	if err != nil {
		return nil, err
	}
	isDefault := conf.Engine.Runtime == Name
	if p.Default != nil {
		isDefault = *p.Default
	}
	return p.dropIn(supports, isDefault)
}

// registered reports whether a drop-in that the user has changed says what is
// wanted all the same.
func (p Podman) registered(conf *containersConf) bool {
	paths := conf.Engine.Runtimes[Name]
	return len(paths) > 0 && paths[0] == p.Runtime && slices.Contains(conf.Engine.JSON, any(Name)) &&
		(p.Default == nil || *p.Default == (conf.Engine.Runtime == Name))
}

// PodmanUninstall reports whether the drop-in may be removed: ErrChanged if it is
// not what Install wrote.
func PodmanUninstall(old []byte) error {
	if !intact(old) {
		return ErrChanged
	}
	return nil
}

// Warnings names the files that undo what the drop-in says, because podman reads
// them later. One that cannot be read may be one that this podman does not read
// either: not every version reads the same for root.
func (p Podman) Warnings() (list []string) {
	for _, f := range p.After {
		conf, err := parseConf(f)
		if err != nil {
			list = append(list, err.Error())
			continue
		}
		names, extends := jsonList(conf.Engine.JSON, false)
		if conf.Engine.JSON != nil && !extends && !slices.Contains(names, Name) {
			list = append(list, f.Path+" is read later and sets runtime_supports_json without "+Name+": add it there")
		}
		if conf.Engine.Runtimes[Name] != nil {
			list = append(list, f.Path+" is read later and names another path of "+Name)
		}
		if p.Default != nil && *p.Default && conf.Engine.Runtime != "" && conf.Engine.Runtime != Name {
			list = append(list, fmt.Sprintf("%s is read later and makes %s the default runtime", f.Path, conf.Engine.Runtime))
		}
	}
	return list
}

// supports is the list of runtimes that the files before ours come to, and us.
func (p Podman) supports() ([]string, error) {
	list, extends := jsonRuntimes, false
	for _, f := range p.Before {
		conf, err := parseConf(f)
		if err != nil {
			return nil, err
		}
		if conf.Engine.JSON == nil {
			continue
		}
		var names []string
		if names, extends = jsonList(conf.Engine.JSON, extends); extends {
			names = append(slices.Clone(list), names...)
		}
		list = names
	}
	var unique []string
	for _, name := range append(slices.Clone(list), Name) {
		if !slices.Contains(unique, name) {
			unique = append(unique, name)
		}
	}
	return unique, nil
}

// jsonList takes apart a list that may hold {append=true}, which in podman holds
// for the files to come as well, until one says otherwise.
func jsonList(list []any, extends bool) ([]string, bool) {
	var names []string
	for _, v := range list {
		switch v := v.(type) {
		case string:
			names = append(names, v)
		case map[string]any:
			if on, ok := v["append"].(bool); ok {
				extends = on
			}
		}
	}
	return names, extends
}

const dropInHead = "# Registers gvisor-exec with podman. Written by \"gvisor-exec install podman\". \"gvisor-exec uninstall podman\"\n" +
	"# removes this file, unless it was changed: what follows has the checksum "

func (p Podman) dropIn(supports []string, isDefault bool) ([]byte, error) {
	runtime, err := quote(p.Runtime)
	if err != nil {
		return nil, err
	}
	var quoted []string
	for _, name := range supports {
		name, err := quote(name)
		if err != nil {
			return nil, err
		}
		quoted = append(quoted, name)
	}
	var body bytes.Buffer
	body.WriteString("[engine]\n")
	if isDefault {
		fmt.Fprintf(&body, "runtime = %q\n", Name)
	}
	fmt.Fprintf(&body, "# This list replaces the one that was there, so it holds that, too.\nruntime_supports_json = [%s]\n", strings.Join(quoted, ", "))
	fmt.Fprintf(&body, "\n[engine.runtimes]\n%s = [%s]\n", Name, runtime)
	return append([]byte(dropInHead+checksum(body.Bytes())+"\n"), body.Bytes()...), nil
}

func checksum(body []byte) string {
	sum := sha256.Sum256(body)
	return fmt.Sprintf("%x", sum[:8])
}

// intact reports whether a drop-in is what some version of us wrote: its third
// line on has the checksum that the second line ends with.
func intact(content []byte) bool {
	head, rest, _ := bytes.Cut(content, []byte("\n"))
	second, body, found := bytes.Cut(rest, []byte("\n"))
	sum := second[bytes.LastIndexByte(second, ' ')+1:]
	return found && bytes.HasPrefix(head, []byte("# ")) && string(sum) == checksum(body)
}

// PodmanDir is the directory of the drop-ins, below /etc or a user's
// configuration.
const PodmanDir = "containers/containers.conf.d"

// PodmanRead are the files and, with names in .d, the directories that podman
// reads, in its order; those of the user if configHome is not empty.
func PodmanRead(configHome string) []string {
	const name = "containers/containers.conf"
	paths := []string{filepath.Join("/usr/share", name), filepath.Join("/etc", name), filepath.Join("/etc", PodmanDir)}
	if configHome != "" {
		paths = append(paths, filepath.Join(configHome, name), filepath.Join(configHome, PodmanDir))
	}
	return paths
}
