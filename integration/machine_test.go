package integration

import (
	"archive/tar"
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// ociRuntime is the runtime under test. GVISOR_EXEC_OCI_RUNTIME names another:
// with runc the tests themselves are tested, with a script around runsc the
// differences are found.
func ociRuntime() string {
	return cmp.Or(os.Getenv("GVISOR_EXEC_OCI_RUNTIME"), filepath.Join(binDir, "gvisor-exec"))
}

// sandboxed reports whether the runtime under test is a gVisor.
func sandboxed() bool { return !strings.HasSuffix(ociRuntime(), "runc") }

// ociProbe is the check for what only the OCI half can do.
func ociProbe(tool string) probe.Check {
	if _, err := exec.LookPath(tool); err != nil {
		return probe.Check{Name: tool, Reason: err.Error(), Fix: "make deps"}
	}
	return probe.Check{Name: tool, OK: true}
}

// machine is a mount and a network namespace in which container engines run:
// their bridges, firewall rules and mounts are its own and end with it. An
// ordinary user cannot make one, and has none.
type machine struct {
	pid int
}

// newMachine makes a machine that lives until the end of the test. What the
// host has mounted for its own engines is gone there, and /dev/net/tun is
// everybody's, as udev makes it.
func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		return &machine{}
	}
	cmd := exec.Command("unshare", "-m", "-n", "--propagation", "private", "sh", "-ec", `
		awk '$5 ~ "^/run/(netns|containers|gvisor-exec|runc)/" {print $5}' /proc/self/mountinfo | tac | xargs -r umount -l
		mount --make-rshared /
		mount -t tmpfs -o mode=755 tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200
		mkdir -p -m 755 /run/netns /run/containers; mkdir -p -m 700 /run/gvisor-exec /run/runc
		for d in netns containers gvisor-exec runc; do mount -t tmpfs -o mode=$(stat -c %a /run/$d) tmpfs /run/$d; done
		ip link set lo up; echo ready; exec cat`)
	in, err := cmd.StdinPipe() // closed when we die, and then cat ends
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("no machine: %q, %v", line, err)
	}
	return &machine{cmd.Process.Pid}
}

// enter is what goes before a command that c runs on the machine, in dir.
func (m *machine) enter(c *caller, dir string) []string {
	if m.pid == 0 {
		return nil
	}
	return []string{"nsenter", "-t", strconv.Itoa(m.pid), "-m", "-n", "-S", strconv.Itoa(c.uid), "-G", strconv.Itoa(c.gid), "--wdns=" + dir, "--"}
}

// script writes a script that runs argv on the machine as c, with the
// environment that c's shell would have, and more arguments.
func (m *machine) script(t *testing.T, c *caller, path string, env, argv []string) string {
	t.Helper()
	words := append(m.enter(c, filepath.Dir(path)), "env", "-i")
	words = append(append(words, c.env(env...)...), argv...)
	for i, w := range words {
		words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return c.file(t, path, "#!/bin/sh\nexec "+strings.Join(words, " ")+" \"$@\"\n", 0o755)
}

// rootState is where root's state on the machine is seen from outside.
func (m *machine) rootState() string { return fmt.Sprintf("/proc/%d/root/run/gvisor-exec", m.pid) }

// mounts are those of the machine that have word in their line.
func (m *machine) mounts(t *testing.T, word string) []string {
	t.Helper()
	pid := "self"
	if m.pid != 0 {
		pid = strconv.Itoa(m.pid)
	}
	var found []string
	for line := range strings.Lines(read(t, "/proc/"+pid+"/mountinfo")) {
		if strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return found
}

// do runs f in the machine's network namespace.
func (m *machine) do(f func() error) error {
	if m.pid == 0 {
		return f()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with us
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.pid))
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			ns.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// serve answers every connection to addr on the machine with text and tells its
// port.
func (m *machine) serve(t *testing.T, addr, text string) string {
	t.Helper()
	var l net.Listener
	err := m.do(func() (err error) {
		l, err = net.Listen("tcp4", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, text)
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// get asks a web server for its first page.
func (m *machine) get(addr string) (string, error) {
	var text []byte
	err := m.do(func() error {
		conn, err := net.DialTimeout("tcp4", addr, deadline)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(deadline))
		io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		text, err = io.ReadAll(conn)
		return err
	})
	return string(text), err
}

// freePort is one that nobody listens on.
func (m *machine) freePort(t *testing.T) string {
	t.Helper()
	var port string
	err := m.do(func() error {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		return l.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// busyboxTar is the archive of a root directory with nothing but busybox.
var busyboxTar = sync.OnceValues(func() (string, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return "", err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return "", err
	}
	path := filepath.Join(binDir, "busybox.tar")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	put := func(h tar.Header, data string) {
		h.Size = int64(len(data))
		if err == nil {
			err = w.WriteHeader(&h)
		}
		if err == nil {
			_, err = io.WriteString(w, data)
		}
	}
	for _, dir := range []string{"bin", "dev", "etc", "home", "proc", "root", "run", "sys", "var"} {
		put(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, "")
	}
	put(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	put(tar.Header{Typeflag: tar.TypeDir, Name: "home/alice/", Mode: 0o755, Uid: 1000, Gid: 1000}, "")
	put(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, string(program))
	put(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n")
	put(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, "root:x:0:\nalice:x:1000:\nmusic:x:77:alice\n")
	for name := range strings.FieldsSeq(string(list)) {
		if name != "busybox" {
			put(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox"}, "")
		}
	}
	if err == nil {
		err = w.Close()
	}
	return path, err
})

// running describes the processes of which some argument contains word, but for
// the dead ones.
func running(word string) (found []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && strings.Contains(string(cmdline), word) {
			found = append(found, filepath.Base(dir)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}

// killAll kills the processes that running describes.
func killAll(word string) {
	for _, p := range running(word) {
		kill(strings.Fields(p)[0])
	}
}

// ownerOf is the user that a file belongs to.
func ownerOf(info os.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }

func kill(pid string) {
	if n, err := strconv.Atoi(pid); err == nil && n > 1 {
		syscall.Kill(n, syscall.SIGKILL)
	}
}

// alive reports whether a process is there and not a zombie.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
