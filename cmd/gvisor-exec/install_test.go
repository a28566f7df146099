package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Flags may follow the engine, and a failure is not one of a sandbox.
func TestInstallArguments(t *testing.T) {
	for argv, want := range map[string]string{
		"g install podman -yes":              "g install -yes -- podman",
		"g install docker -config-file f -y": "g install -config-file f -y -- docker",
		"g uninstall --dry-run docker":       "g uninstall --dry-run -- docker",
	} {
		inv := &invocation{}
		if got := inv.arrange(newApp(inv), strings.Fields(argv)); strings.Join(got, " ") != want || inv.oci {
			t.Errorf("%s: %q", argv, got)
		}
	}
	err := error(&installError{fmt.Errorf("cannot: %w", &hintedError{err: errors.New("x"), hint: "h"})})
	if exitStatus(err) != 1 || hintOf(err) != "h" {
		t.Errorf("%d, %q", exitStatus(err), hintOf(err))
	}
}

func TestInstallWrites(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err.Error()
		}
		return string(data)
	}
	path := filepath.Join(dir, "a/b/new")
	e := &edit{path: path, new: []byte("1"), empty: []string{filepath.Join(dir, "a/b"), filepath.Join(dir, "a")}}
	mask := syscall.Umask(0o077)
	err := e.write()
	syscall.Umask(mask)
	if err != nil || read("a/b/new") != "1" {
		t.Errorf("%v, %s", err, read("a/b/new"))
	}
	if info, _ := os.Stat(filepath.Dir(path)); os.Geteuid() == 0 && info.Mode().Perm() != 0o755 {
		t.Errorf("root's directory has mode %v", info.Mode())
	}
	if err := e.write(); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Errorf("a file that came meanwhile: %v", err)
	}
	os.Chmod(path, 0o640)
	os.Symlink("b/new", filepath.Join(dir, "a/link"))
	change := &edit{path: filepath.Join(dir, "a/link"), old: []byte("1"), new: []byte("2")}
	if err := change.write(); err != nil || read("a/b/new") != "2" {
		t.Errorf("%v, %s", err, read("a/b/new"))
	}
	if info, _ := os.Stat(path); info.Mode() != 0o640 {
		t.Error(info.Mode())
	}
	if info, _ := os.Lstat(change.path); info.Mode().Type() != os.ModeSymlink {
		t.Error(info.Mode())
	}
	os.Remove(change.path)
	os.Symlink("nowhere", change.path)
	if err := (&edit{path: change.path, new: []byte("x")}).write(); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Error(err)
	}
	os.Remove(change.path)
	os.WriteFile(filepath.Join(dir, "a/other"), nil, 0o600)
	if err := (&edit{path: path, old: []byte("2"), empty: e.empty}).write(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "a/*")); len(left) != 1 { // b has gone, other keeps a
		t.Error(left)
	}
}
