package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gvisor-exec/gvisor-exec/internal/register"
)

// podmanDropIn is our file: that of the machine for root, else the user's.
func podmanDropIn(f installFlags) (path string, empty []string, err error) {
	if f.configFile != "" {
		return "", nil, usagef("", "cannot use -config-file with podman: it reads %s in its own places", register.DropInName)
	}
	home := "/etc"
	if os.Geteuid() != 0 {
		if home, err = configHome(); err != nil {
			return "", nil, err
		}
	}
	dir := filepath.Join(home, register.PodmanDir)
	empty = []string{dir}
	if home != "/etc" { // /etc/containers is the package's
		empty = append(empty, filepath.Dir(dir))
	}
	return filepath.Join(dir, register.DropInName), empty, nil
}

func installPodman(f installFlags) (*edit, error) {
	path, _, err := podmanDropIn(f)
	if err != nil {
		return nil, err
	}
	runtime, warnings, err := ourPath()
	if err != nil {
		return nil, err
	}
	p := register.Podman{Runtime: runtime, Default: f.isDefault}
	if p.Before, p.After, err = podmanFiles(path); err != nil {
		return nil, err
	}
	old, err := readIfThere(path)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, p.Warnings()...)
	for _, name := range []string{"CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE"} {
		if os.Getenv(name) != "" {
			warnings = append(warnings, "podman does not read "+path+", or overrules it, where $"+name+" is set")
		}
	}
	content, err := p.Install(old)
	if err != nil {
		return nil, changed(path, err, fmt.Sprintf("move it away, or write there: runtimes.%s = [%q]", register.Name, runtime))
	}
	return &edit{
		path: path, old: old, new: content, warnings: warnings,
		done: fmt.Sprintf("podman knows %s, from %s", runtime, path),
		hint: "podman " + f.runtimeFlag() + "run --rm IMAGE uname -r",
	}, nil
}

func uninstallPodman(f installFlags) (*edit, error) {
	path, empty, err := podmanDropIn(f)
	if err != nil {
		return nil, err
	}
	old, err := readIfThere(path)
	if err == nil && old != nil {
		err = register.PodmanUninstall(old)
	}
	if err != nil {
		return nil, changed(path, err, "remove it yourself, if nothing in it is needed")
	}
	e := &edit{path: path, old: old, empty: empty, done: path + " is not there"}
	const machine = "/etc/" + register.PodmanDir + "/" + register.DropInName
	if _, err := os.Stat(machine); old == nil && path != machine && err == nil {
		e.done += "; " + machine + " is for root to uninstall"
	}
	if old != nil {
		e.warnings = []string{orphans("podman ps -a")}
	}
	return e, nil
}

// changed names the file that an error is about, and what can be done if the user
// has changed it.
func changed(path string, err error, hint string) error {
	if !errors.Is(err, register.ErrChanged) {
		return err
	}
	return &hintedError{err: fmt.Errorf("%s: %w", path, err), hint: hint}
}

// podmanFiles are the files that podman reads before and after ours.
func podmanFiles(ours string) (before, after []register.File, err error) {
	// Podman 4 does not read a user's file for root, later versions do.
	home, err := os.UserConfigDir()
	if err != nil {
		home = ""
	}
	var paths []string
	for _, p := range register.PodmanRead(home) {
		if !strings.HasSuffix(p, ".d") {
			paths = append(paths, p)
			continue
		}
		entries, err := os.ReadDir(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		var names []string
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") && !e.IsDir() {
				names = append(names, filepath.Join(p, e.Name()))
			}
		}
		if filepath.Dir(ours) == p && !slices.Contains(names, ours) {
			names = append(names, ours)
		}
		slices.Sort(names)
		paths = append(paths, names...)
	}
	for i, p := range paths {
		if p == ours {
			if before, err = readAll(paths[:i]); err != nil {
				return nil, nil, err
			}
			after, err = readAll(paths[i+1:])
			return before, after, err
		}
	}
	return nil, nil, fmt.Errorf("podman does not read %s", ours)
}

func readAll(paths []string) ([]register.File, error) {
	var files []register.File
	for _, p := range paths {
		content, err := readIfThere(p)
		if err != nil {
			return nil, err
		}
		if content != nil {
			files = append(files, register.File{Path: p, Content: content})
		}
	}
	return files, nil
}
