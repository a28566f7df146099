package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestOCIExec(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.started(t, "x", "exec sleep 1000", func(s *specs.Spec) {
			s.Process.Env = append(s.Process.Env, "BASE=1")
			s.Process.NoNewPrivileges = false
		})
		for _, tt := range []struct {
			args, stdout string
			status       int
		}{
			{"x sh -c|echo $BASE; pwd", "1\n/\n", 0},
			{"-e A=1 --env B=2 --cwd /tmp x sh -c|echo $A$B; pwd", "12\n/tmp\n", 0},
			{"--user 1000:7 x id", "uid=1000(web) gid=7\n", 0},
			{"-u 1000 -g 5 --additional-gids 6 x id -G", "0 5 6\n", 0},
			{"--cap CAP_SYS_ADMIN -c CAP_CHOWN x grep CapEff /proc/self/status", "CapEff:\t0000000020200421\n", 0},
			{"--no-new-privs x grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n", 0},
			{"x -- echo --detach -d detach", "--detach -d detach\n", 0},
			{"x echo -- x", "-- x\n", 0},
			{"x echo --detach", "--detach\n", 0},
			{"--process-label l --apparmor p x echo a", "a\n", 0},
			{"x sh -c|exit 9", "", 9},
			{"x sh -c|kill -9 $$", "", 137},
		} {
			words, script, found := strings.Cut(tt.args, "|")
			args := append([]string{"exec"}, strings.Fields(words)...)
			if found {
				args = append(args, script)
			}
			if o := c.run(t, args...); o.status != tt.status || o.stdout != tt.stdout || o.stderr != "" {
				t.Errorf("%s: %+v", tt.args, o)
			}
		}
		c.run(t, "exec", "x", "nosuch").wantError(t, 255, `exec: "nosuch": executable file not found in $PATH`, "")
		c.run(t, "exec", "x", "/etc/passwd").wantError(t, 255, "permission denied", "")
		c.run(t, "exec", "x").wantError(t, 255, "process args cannot be empty", "")
		c.run(t, "exec", "-bind", "/etc", "x", "true").wantError(t, 255, "cannot use -bind in a container", "")
		c.run(t, "exec", "-d", "--", "true").wantError(t, 2, "without the id of a container", "")
		c.run(t, "exec", "-d", "-t", "x", "true").wantError(t, 255, "--console-socket", "")
		c.do(t, spawn{stdin: "in\n", argv: []string{"gvisor-exec", "exec", "x", "tr", "a-z", "A-Z"}}).want(t, 0, "IN\n", "")
		c.shell(t, "", `echo keep > $HOME/f; echo old >> $HOME/f; $G exec x cat < $HOME/f >> $HOME/f2; cat $HOME/f2; rm $HOME/f $HOME/f2`).want(t, 0, "keep\nold\n", "")
	})
}

func TestOCIExecProcess(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.started(t, "x", "exec sleep 1000", nil)
		data, err := json.Marshal(specs.Process{
			Args: []string{"sh", "-c", "echo $V; pwd; id -u; echo $*", "sh", "--detach"}, Env: []string{"PATH=/bin", "V=detach"}, Cwd: "/etc",
			User: specs.User{UID: 1000},
		})
		if err != nil {
			t.Fatal(err)
		}
		file := c.file(t, filepath.Join(c.dir(t), "process"), string(data), 0o644)
		c.run(t, "exec", "--process", file, "x").want(t, 0, "detach\n/etc\n1000\n--detach\n", "")
		c.run(t, "exec", "-p", file, "x").want(t, 0, "detach\n/etc\n1000\n--detach\n", "")
	})
}

// A detached process has a keeper on the host that ends with its status.
func TestOCIExecDetached(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", "exec sleep 1000", nil)
		c.create(t, dir, "exec", "-d", "--pid-file", "exec-pid", "x", "sh", "-c", "echo it runs; exec sleep 1000").want(t, 0, "", "")
		awaitOutput(t, dir, "it runs")
		pid, err := strconv.Atoi(read(t, filepath.Join(dir, "exec-pid")))
		if err != nil || syscall.Kill(pid, 0) != nil {
			t.Fatalf("pid %d, %v", pid, err)
		}
		if o := c.run(t, "ps", "x"); strings.Count(o.stdout, "\n") != 3 {
			t.Errorf("%+v", o)
		}
		if o := c.create(t, dir, "exec", "-d", "--pid-file", "none", "x", "nosuch"); o.status != 255 || fileExists(filepath.Join(dir, "none")) {
			t.Errorf("%+v", o)
		}
	})
}

// However soon a detached process ends, its status is there for who adopts it.
func TestOCIExecDetachedStatus(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.started(t, "x", "exec sleep 1000", nil)
		// Python stands for conmon: a subreaper that waits for the pid in the file.
		c.do(t, spawn{dir: dir, argv: []string{"/usr/bin/python3", "-c", fmt.Sprintf(`
import ctypes, os, subprocess
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
for i in range(30):
    subprocess.run([%q, "exec", "-d", "--pid-file", "p", "x", "sh", "-c", "exit 7"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status = os.waitpid(int(open("p").read()), 0)
    assert os.WEXITSTATUS(status) == 7, status
`, filepath.Join(binDir, "gvisor-exec"))}}).want(t, 0, "", "")
	})
}

func TestOCIExecSignals(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.started(t, "x", "exec sleep 1000", nil)
		s := c.start(t, "exec", "x", "sh", "-c", trapTERM)
		s.trapsTERM(t)
	})
}

// Descriptors reach the container's process through create, run and exec.
func TestOCIPreserveFDs(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "cat <&3; echo to4 >&4", nil)
		redirect := ` 3< <(echo three) 4>> fd4 < /dev/null >> out 2>> messages`
		c.shell(t, dir, `$G create --preserve-fds 2 x`+redirect+` && $G state x | grep -q created && $G start x`).want(t, 0, "", "")
		c.await(t, "x", "stopped")
		c.run(t, "delete", "x").want(t, 0, "", "")
		c.shell(t, dir, `$G run --preserve-fds 2 x`+redirect).want(t, 0, "", "")
		if got := read(t, dir+"/out") + read(t, dir+"/fd4"); got != "three\nthree\nto4\nto4\n" {
			t.Errorf("%q, %s", got, read(t, dir+"/messages"))
		}
		// One that never starts.
		for _, end := range []string{"$G kill x KILL; until $G state x | grep -q stopped; do :; done; $G delete x", "$G delete -f x", "$G delete x"} {
			c.shell(t, dir, `$G create --preserve-fds 2 x`+redirect+` && `+end).want(t, 0, "", "")
			c.gone(t, "x")
		}
		c.shell(t, dir, `$G create --preserve-fds 2 x 4>&- 3< /dev/null`).wantError(t, 1, "cannot pass on descriptor 4", "")

		c.started(t, "y", "exec sleep 1000", nil)
		c.shell(t, dir, `$G exec --preserve-fds 1 y cat /proc/self/fd/3 3< <(echo exec)`).want(t, 0, "exec\n", "")
	})
}

// console listens where a caller's runtime connects to.
func (c *caller) console(t *testing.T) (path string, receive func() *os.File) {
	t.Helper()
	path = filepath.Join(c.dir(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := os.Chown(path, c.uid, c.gid); err != nil {
		t.Fatal(err)
	}
	return path, func() *os.File {
		t.Helper()
		l.SetDeadline(time.Now().Add(deadline))
		conn, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil || len(messages) != 1 {
			t.Fatalf("%v, %v", messages, err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) != 1 {
			t.Fatalf("%v, %v", fds, err)
		}
		f := os.NewFile(uintptr(fds[0]), "received")
		t.Cleanup(func() { f.Close() })
		return f
	}
}

// until reads from a terminal until the words come.
func until(t *testing.T, f *os.File, words string) {
	t.Helper()
	var got []byte
	found := make(chan bool, 1)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			got = append(got, buf[:n]...)
			if strings.Contains(string(got), words) || err != nil {
				found <- err == nil
				return
			}
		}
	}()
	select {
	case ok := <-found:
		if !ok {
			t.Fatalf("the terminal ended with %q", got)
		}
	case <-time.After(deadline):
		t.Fatalf("no %q on the terminal", words)
	}
}

func TestOCIConsoleSocket(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "stty size; read x; echo got-$x; exec sleep 1000", func(s *specs.Spec) { s.Process.Terminal = true })
		t.Cleanup(func() { c.deleteAll(t, "x") })
		path, receive := c.console(t)
		c.create(t, dir, "create", "--console-socket", path, "x").want(t, 0, "", "")
		tty := receive()
		unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 11, Col: 77})
		c.run(t, "start", "x").want(t, 0, "", "")
		until(t, tty, "11 77")
		tty.WriteString("word\n")
		until(t, tty, "got-word")

		path, receive = c.console(t)
		c.create(t, dir, "exec", "-t", "-d", "--pid-file", "exec-pid", "--console-socket", path, "x", "sh", "-c", "trap 'echo term; exec sleep 1000' TERM; read x; echo exec-$x; while :; do sleep 0.05; done").want(t, 0, "", "")
		tty = receive()
		tty.WriteString("word\n")
		until(t, tty, "exec-word")
		pid, err := strconv.Atoi(read(t, filepath.Join(dir, "exec-pid")))
		if err != nil || syscall.Kill(pid, syscall.SIGTERM) != nil {
			t.Errorf("pid %d: %v", pid, err)
		}
		until(t, tty, "term")
		c.create(t, dir, "run", "--console-socket", path, "y").wantError(t, 1, "--console-socket", "")
		c.create(t, dir, "run", "-d", "y").wantError(t, 1, "--console-socket", "")
	})
}

func TestOCIPidfdSocket(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		dir := c.bundle(t, "exec sleep 1000", nil)
		t.Cleanup(func() { c.run(t, "delete", "-f", "x") })
		path, receive := c.console(t)
		c.create(t, dir, "create", "--pidfd-socket", path, "x").want(t, 0, "", "")
		pidfd := receive()
		if err := unix.PidfdSendSignal(int(pidfd.Fd()), 0, nil, 0); err != nil {
			t.Error(err)
		}
		c.run(t, "kill", "x", "KILL").want(t, 0, "", "")
		c.await(t, "x", "stopped")
	})
}

// A terminal of the caller's own, with exec -t and with run.
func TestOCITerminal(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.started(t, "x", "exec sleep 1000", nil)
		script := func(command string) outcome {
			return c.do(t, spawn{dir: c.home, argv: []string{"/usr/bin/script", "-qec", command, "/dev/null"}})
		}
		g := filepath.Join(binDir, "gvisor-exec")
		if o := script("stty rows 33 cols 44; " + g + " exec -t x sh -c 'test -t 0 && stty size; exit 6'"); o.status != 6 || !strings.Contains(o.stdout, "33 44\r\n") {
			t.Errorf("exec -t: %+v", o)
		}
		dir := c.bundle(t, "test -t 0 && stty size; exit 7", func(s *specs.Spec) { s.Process.Terminal = true })
		if o := script("cd " + dir + "; stty rows 33 cols 44; " + g + " run y"); o.status != 7 || !strings.Contains(o.stdout, "33 44\r\n") {
			t.Errorf("run: %+v", o)
		}
	})
}
