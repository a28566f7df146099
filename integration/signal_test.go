package integration

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// started is a gvisor-exec that runs, and its standard output.
type started struct {
	*exec.Cmd
	out *bufio.Reader
	err *strings.Builder
}

// start runs gvisor-exec with args until the test ends.
func (c *caller) start(t *testing.T, args ...string) *started {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	cmd := c.command(ctx, spawn{argv: append([]string{"gvisor-exec"}, args...)})
	cmd.Stdin = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &started{cmd, bufio.NewReader(out), &strings.Builder{}}
	cmd.Stderr = s.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// line reads a line of output.
func (s *started) line(t *testing.T) string {
	t.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatalf("no line: %v; stderr %s", err, s.err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (s *started) status(t *testing.T) int {
	t.Helper()
	rest, _ := io.ReadAll(s.out)
	s.Wait()
	if code := s.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	t.Fatalf("%v; stdout %q, stderr %s", s.ProcessState, rest, s.err)
	return 0
}

// trapTERM is a script for trapsTERM.
const trapTERM = `trap "echo term; exit 5" TERM; echo ready; while :; do sleep 0.05; done`

// trapsTERM sends a SIGTERM to who runs trapTERM and checks that the trap has it.
func (s *started) trapsTERM(t *testing.T) {
	t.Helper()
	if got := s.line(t); got != "ready" {
		t.Fatalf("got %q", got)
	}
	s.Process.Signal(syscall.SIGTERM)
	if got := s.line(t); got != "term" {
		t.Errorf("got %q", got)
	}
	if code := s.status(t); code != 5 {
		t.Errorf("status %d", code)
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH} {
			s := c.start(t, "--", "python3", "-uc", fmt.Sprintf(`
import signal
signal.signal(%d, lambda *_: print("got it"))
print("ready")
signal.pause()
signal.pause()
`, sig))
			if got := s.line(t); got != "ready" {
				t.Fatalf("got %q", got)
			}
			s.Process.Signal(sig)
			if got := s.line(t); got != "got it" {
				t.Errorf("%v: got %q", sig, got)
			}
			end := syscall.SIGTERM
			if sig == end {
				end = syscall.SIGUSR1
			}
			s.Process.Signal(end)
			if code := s.status(t); code != 128+int(end) {
				t.Errorf("%v after %v: status %d", end, sig, code)
			}
		}
		s := c.start(t, "--", "sh", "-c", "echo ready; sleep 1000")
		s.line(t)
		s.Process.Signal(syscall.SIGTERM)
		if code := s.status(t); code != 128+15 {
			t.Errorf("SIGTERM: status %d", code)
		}
	})
}

// A signal that comes before the command runs, at whatever stage, ends it all the
// same.
func TestEarlySignal(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
			for _, processes := range []int{2, 3, 4, 5} {
				s := c.start(t, "--", "sleep", "1000")
				eventually(t, "a keeper", func() bool { return len(processIDs()) >= processes })
				s.Process.Signal(sig)
				if code := s.status(t); code != 128+int(sig) {
					t.Errorf("%v: status %d, stderr %s", sig, code, s.err)
				}
				eventually(t, "no process", func() bool { return len(processIDs()) == 0 })
			}
		}
	})
}

func TestStopAndContinue(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		s := c.start(t, "--", "python3", "-uc", `
import signal, time
signal.signal(signal.SIGCONT, lambda *_: print("continued"))
print("ready")
while True: time.sleep(1000)
`)
		s.line(t)
		s.Process.Signal(syscall.SIGTSTP)
		stat := fmt.Sprintf("/proc/%d/stat", s.Process.Pid)
		eventually(t, "stopped", func() bool { return strings.Contains(read(t, stat), ") T ") })
		s.Process.Signal(syscall.SIGCONT)
		if got := s.line(t); got != "continued" {
			t.Errorf("got %q", got)
		}
		s.Process.Signal(syscall.SIGTERM)
		if code := s.status(t); code != 128+15 {
			t.Errorf("status %d", code)
		}
	})
}

// What the caller ignores, as under nohup, does not reach the command.
func TestIgnoredSignals(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.shell(t, "", `trap '' HUP; mkfifo $HOME/p; $G -- sh -c 'echo ready; read x; echo $x' <> $HOME/p > $HOME/o & pid=$!
			until grep -q ready $HOME/o 2>/dev/null; do :; done; kill -HUP $pid; echo alive > $HOME/p; wait $pid; echo $?; cat $HOME/o; rm $HOME/p $HOME/o`).
			want(t, 0, "0\nready\nalive\n", "")
	})
}

func TestTimeout(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		c.run(t, "-timeout", "700ms", "--", "sleep", "1000").want(t, 124, "", "gvisor-exec: timed out after 700ms\n")
		c.run(t, "-timeout", "1s", "-kill-after", "300ms", "--", "sh", "-c", "trap 'echo term' TERM; while :; do sleep 0.1; done").want(t, 124, "term\n", "*")
		c.run(t, "-timeout", "60s", "--", "sh", "-c", "exit 5").want(t, 5, "", "")
	})
}

// Killed with SIGKILL, gvisor-exec takes the sandbox with it, and the next run
// sweeps the directory.
func TestKill(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		s := c.start(t, "--", "sh", "-c", "echo ready; sleep 1000")
		s.line(t)
		killed := time.Now()
		s.Process.Kill()
		s.Wait()
		eventually(t, "no process", func() bool { return len(processes()) == 0 })
		if took := time.Since(killed); took > time.Second {
			t.Errorf("everything was gone %v after SIGKILL: a second is promised", took)
		}
		c.run(t, "--", "true").want(t, 0, "", "")
	})
}

// Any one process of a run dies: an error or a status, and nothing is left. The
// sentry's stubs, which have no command line, are left out: without one of them
// gVisor v0.0.0-20260905035102 waits for ever (docs/compatibility.md).
func TestKillEachProcess(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for i := range 8 {
			s := c.start(t, "--", "sh", "-c", "echo ready; sleep 1000")
			s.line(t)
			pids := processIDs()
			if i >= len(pids) {
				s.Process.Kill()
				s.Wait()
				break
			}
			victim := read(t, fmt.Sprintf("/proc/%d/cmdline", pids[i]))
			began := time.Now()
			syscall.Kill(pids[i], syscall.SIGKILL)
			s.Wait()
			t.Logf("%.90q killed: over after %v, %v", victim, time.Since(began), s.ProcessState)
			if s.ProcessState.Success() {
				t.Errorf("process %d of %d killed: success", i, len(pids))
			}
			eventually(t, "no process", func() bool { return len(processes()) == 0 })
		}
		c.run(t, "--", "true").want(t, 0, "", "")
	})
}

func processIDs() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil && strings.HasPrefix(exe, binDir+"/") && len(cmdline) > 0 {
			var pid int
			fmt.Sscan(filepath.Base(dir), &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestRandomKillsSoak(t *testing.T) {
	n := 200
	if os.Getenv("GVISOR_EXEC_SOAK") != "" {
		n = 1000
	}
	each(t, func(t *testing.T, c *caller) {
		for range n {
			s := c.start(t, "--", "true")
			time.Sleep(rand.N(150 * time.Millisecond)) // the random moment is the test
			s.Process.Kill()
			s.Wait()
		}
		eventually(t, "no process", func() bool { return len(processes()) == 0 })
		c.run(t, "--", "true").want(t, 0, "", "")
	})
}

func TestFiftyAtOnce(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				word := fmt.Sprint("run-", i)
				c.run(t, "--", "echo", word).want(t, 0, word+"\n", "")
			})
		}
		wg.Wait()
	})
}
