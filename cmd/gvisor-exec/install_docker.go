package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gvisor-exec/gvisor-exec/internal/register"
)

// daemonJSON is docker's configuration: the daemon's that root runs, else the
// user's rootless one's.
func daemonJSON(f installFlags) (path string, empty []string, err error) {
	switch {
	case f.configFile != "":
		path, err = filepath.Abs(f.configFile)
		return path, nil, err
	case os.Geteuid() == 0:
		return "/etc/docker/daemon.json", nil, nil
	}
	home, err := configHome()
	if err != nil {
		return "", nil, err
	}
	dir := filepath.Join(home, "docker")
	return filepath.Join(dir, "daemon.json"), []string{dir}, nil
}

func installDocker(f installFlags) (*edit, error) {
	path, _, err := daemonJSON(f)
	if err != nil {
		return nil, err
	}
	runtime, warnings, err := ourPath()
	if err != nil {
		return nil, err
	}
	old, err := readIfThere(path)
	if err != nil {
		return nil, err
	}
	content, err := register.Docker{Runtime: runtime, Default: f.isDefault}.Install(old)
	if err != nil {
		return nil, dockerError(path, err)
	}
	return &edit{
		path: path, old: old, new: content, warnings: warnings,
		done: fmt.Sprintf("docker knows %s, from %s", runtime, path),
		hint: reloadHint(f, false) + "; then: docker run --rm " + f.runtimeFlag() + "IMAGE uname -r",
	}, nil
}

func uninstallDocker(f installFlags) (*edit, error) {
	path, empty, err := daemonJSON(f)
	if err != nil {
		return nil, err
	}
	e := &edit{path: path, empty: empty, done: register.Name + " is not in " + path, hint: reloadHint(f, true)}
	if e.old, err = readIfThere(path); err != nil || e.old == nil {
		return e, err
	}
	if e.new, err = register.DockerUninstall(e.old); err != nil {
		return nil, dockerError(path, err)
	}
	if !bytes.Equal(e.old, e.new) {
		e.warnings = []string{orphans("docker ps -a")}
	}
	if info, err := os.Lstat(path); e.new == nil && err == nil && !info.Mode().IsRegular() {
		e.new = []byte("{}\n") // a link that somebody has laid is not ours to remove
		if bytes.Equal(e.old, e.new) {
			e.new = e.old
		}
	}
	return e, nil
}

// dockerError says which file is meant; nothing is written to one that we do not
// understand.
func dockerError(path string, err error) error {
	if errors.Is(err, register.ErrChanged) {
		return changed(path, err, fmt.Sprintf("remove %q from its runtimes yourself, if it is not needed", register.Name))
	}
	return fmt.Errorf("%s: %w", path, err)
}

// reloadHint is how docker is made to read its configuration again. Reloading
// adds runtimes, but docker (20.10) forgets none before it is restarted, nor that
// one is the default.
func reloadHint(f installFlags, removed bool) string {
	verb, signal := "reload", "the daemon reads it again on SIGHUP"
	if removed {
		verb, signal = "restart", "the daemon forgets it when it is restarted"
	}
	switch {
	case f.configFile != "":
		return signal
	case os.Geteuid() == 0:
		return "the daemon has to read it: systemctl " + verb + " docker"
	}
	return "this is for rootless docker, which has to read it: systemctl --user restart docker; for the machine's, do this as root"
}
