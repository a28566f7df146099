package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// build makes a root directory: a name with a trailing slash is a directory, one
// with -> a link, and one with a + an executable file.
func build(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, n := range names {
		name, target, isLink := strings.Cut(n, "->")
		p := filepath.Join(root, strings.TrimSuffix(name, "+"))
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch {
		case isLink:
			err = errors.Join(err, os.Symlink(target, p))
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(p, 0o755))
		case strings.HasSuffix(name, "+"):
			err = errors.Join(err, os.WriteFile(p, nil, 0o755))
		default:
			err = errors.Join(err, os.WriteFile(p, nil, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCheckCommand(t *testing.T) {
	root := build(t, "usr/bin/sh+", "bin->usr/bin", "etc/passwd", "usr/bin/plain", "loop->loop",
		"out->../../../../usr/bin/sh", "abs->/usr/bin/sh", "sbin/plain+")
	tool := build(t, "tool+")
	tree := Tree{Root: root, Mounts: []Mount{{"/opt/vol", tool}, {"/t", ""}, {"/run/init", filepath.Join(tool, "tool")}}}
	env := []string{"PATH=/nowhere", "PATH=/bin:/sbin"}
	for command, want := range map[string]string{
		"sh": "", "/bin/sh": "", "bin/sh": "", "/out": "", "/abs": "", "/opt/vol/tool": "", "/run/init": "", "/t/anything": "",
		"plain":         "", // /bin's cannot be executed, /sbin's can
		"nosuch":        `exec: "nosuch": executable file not found in $PATH`,
		"/nosuch":       `exec: "/nosuch": stat /nosuch: no such file or directory`,
		"/etc/passwd":   `exec: "/etc/passwd": permission denied`,
		"/etc":          `exec: "/etc": permission denied`,
		"/etc/passwd/x": `exec: "/etc/passwd/x": stat /etc/passwd/x: no such file or directory`,
		"/opt/vol/none": `exec: "/opt/vol/none": stat /opt/vol/none: no such file or directory`,
	} {
		err := tree.CheckCommand(command, "/", env)
		if got := errString(err); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	if err := tree.CheckCommand("tool", "/opt", []string{"PATH=vol"}); err != nil {
		t.Error(err)
	}
}

func errString(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestStat(t *testing.T) {
	tree := Tree{Root: build(t, "a/b", "loop->loop", "up->a/../../..")}
	if st, err := tree.Stat("/up"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Errorf("%v", err)
	}
	if _, err := tree.Stat("/loop"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("%v", err)
	}
	if _, err := tree.Stat("/a/c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestResolve(t *testing.T) {
	root := build(t, "a/b", "link->/a", "evil->/etc/passwd")
	p, mode, err := Resolve(root, "/link/b")
	if err != nil || p != filepath.Join(root, "a/b") || mode&unix.S_IFMT != unix.S_IFREG {
		t.Errorf("%s, %o, %v", p, mode, err)
	}
	if p, _, err := Resolve(root, "/evil"); err == nil {
		t.Errorf("a link led out to %s", p)
	}
}
