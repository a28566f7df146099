package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// screen is a shell in a terminal of tmux, typed to and looked at.
type screen struct {
	t      *testing.T
	c      *caller
	socket string
	marks  int
	gone   bool
}

// newScreen starts bash in a terminal of 100 columns and 30 lines.
func (c *caller) newScreen(t *testing.T) *screen {
	t.Helper()
	s := &screen{t: t, c: c, socket: filepath.Join(c.dir(t), "tmux")}
	s.tmux("new-session", "-d", "-x", "100", "-y", "30", "bash --norc --noprofile")
	t.Cleanup(s.hangUp)
	s.line("cd " + filepath.Dir(s.socket) + "; clear; echo; PS1='host> '")
	s.clear()
	return s
}

// hangUp takes the terminal away.
func (s *screen) hangUp() {
	s.t.Helper()
	if !s.gone {
		s.gone = true
		s.tmux("kill-server")
	}
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", s.socket, "-f", "/dev/null"}, args...)...)
	cmd.Env, cmd.SysProcAttr, cmd.Dir = s.c.env(), s.c.attr(), filepath.Dir(s.socket)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// keys types, each as tmux send-keys takes it.
func (s *screen) keys(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys"}, keys...)...)
}

// line types a line.
func (s *screen) line(text string) {
	s.t.Helper()
	s.tmux("send-keys", "-l", text)
	s.keys("Enter")
}

func (s *screen) text() string { return s.tmux("capture-pane", "-p") }

// see waits until every text is on the screen.
func (s *screen) see(texts ...string) {
	s.t.Helper()
	var now string
	seen := func() bool {
		now = s.text()
		for _, text := range texts {
			if !strings.Contains(now, text) {
				return false
			}
		}
		return true
	}
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the screen:\n%s", now)
		}
	}()
	eventually(s.t, fmt.Sprintf("%q on the screen", texts), seen)
}

// prompt waits until the shell, and nobody else, waits for a line.
func (s *screen) prompt() {
	s.t.Helper()
	eventually(s.t, "a prompt", func() bool {
		return strings.HasSuffix(strings.TrimRight(s.text(), "\n "), "host>")
	})
}

// clear waits for the shell and empties the screen.
func (s *screen) clear() {
	s.t.Helper()
	s.prompt()
	s.marks++
	s.line(fmt.Sprintf("clear; echo shell-$((%d))", s.marks))
	s.see(fmt.Sprintf("shell-%d\nhost>", s.marks))
}

// done checks that the shell has its terminal back as it was, and the status
// of the last command.
func (s *screen) done(status int) {
	s.t.Helper()
	s.prompt()
	s.line(`echo "status=$? $(stty -a | grep -oE -- '-?(icanon|echo|isig)\b' | tr '\n' ' ')"`)
	s.see(fmt.Sprintf("status=%d isig icanon echo", status))
	s.clear()
}

func TestTerminalJobControl(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		s := c.newScreen(t)
		s.line("gvisor-exec -- bash --norc --noprofile")
		s.see("bash-5")
		s.line("PS1='in> '; clear; test -t 0 && test -t 2 && stty size && echo $TERM")
		s.see("30 100", "in>")
		// A key that comes before its program runs goes to the shell, and takes
		// what the shell has not read along.
		s.line(`sh -c 'echo r""uns; exec sleep 1000'`)
		s.see("\nruns")
		s.keys("C-z")
		s.see("Stopped")
		s.line("fg")
		s.see("fg\nsh -c")
		s.keys("C-c")
		s.line("echo $?-after-int")
		s.see("130-after-int")
		// A background process that reads is stopped, inside too.
		s.line("clear; cat /dev/tty & wait -n; jobs")
		s.see("cat /dev/tty", "Stopped")
		s.line("kill -9 %1; clear")
		s.tmux("resize-window", "-x", "90", "-y", "20")
		s.line("sleep 0; stty size")
		s.see("20 90")
		s.line("exit 3")
		s.see("host>")
		s.done(3)
	})
}

// ^Z at a plain command stops the job of the shell outside; fg goes on.
func TestTerminalSuspend(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		s := c.newScreen(t)
		s.line(`gvisor-exec -- sh -c 'echo re""ady; while read x; do echo got-$x; done; exit 4'`)
		s.see("ready")
		s.keys("C-z")
		s.see("Stopped", "host>")
		s.line("echo the-shell-$((1+1))")
		s.see("the-shell-2")
		s.line("fg")
		s.see("\ngvisor-exec")
		s.line("hello")
		s.see("got-hello")
		s.keys("C-d")
		s.see("host>")
		s.done(4)
		s.line(`gvisor-exec -- sh -c 'echo re""ady; sleep 1000'`)
		s.see("\nready")
		s.keys("C-c")
		s.done(130)
		s.line(`gvisor-exec -- sh -c 'echo re""ady; sleep 1000'`)
		s.see("\nready")
		s.keys(`C-\`)
		s.done(131)
	})
}

// In the background the sandbox gets nothing of what is typed for the shell.
func TestTerminalBackground(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		s := c.newScreen(t)
		s.line(`gvisor-exec -- sh -c 'echo u""p-now; read x; echo got:$x' &`)
		s.see("up-now")
		s.line("echo for-the-$((1))-shell")
		s.see("for-the-1-shell")
		if strings.Contains(s.text(), "got:for") {
			t.Errorf("the sandbox read the shell's input:\n%s", s.text())
		}
		s.line("fg")
		s.see("\ngvisor-exec")
		s.line("for-the-sandbox")
		s.see("got:for-the-sandbox")
		s.done(0)
	})
}

func TestTerminalPrograms(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		s := c.newScreen(t)
		s.line("gvisor-exec -- vim -u NONE /tmp/x")
		s.see("\n~\n")
		s.line("ihello from vim")
		s.keys("Escape")
		s.line(":%s/vim/VIM/")
		s.see("hello from VIM")
		s.line(":q!")
		s.see("host>")
		s.done(0)

		s.line("gvisor-exec -- less /etc/services")
		s.see("# Network services")
		s.keys("G")
		s.see("(END)")
		s.keys("q")
		s.done(0)

		s.line("gvisor-exec -- top")
		s.see("PID USER", "top")
		s.keys("q")
		s.done(0)

		s.line("gvisor-exec -- python3 -q")
		s.see(">>>")
		s.line("import sys; print(sys.stdin.isatty(), 6*7)")
		s.see("True 42")
		s.keys("C-d")
		s.done(0)

		s.line("gvisor-exec -- env -u TMUX TERM=screen tmux -L inner new-session 'echo inside-$((40+2)); read x'")
		s.see("inside-42", "[0]")
		s.keys("Enter")
		s.see("[exited]")
		s.done(0)

		s.line("gvisor-exec -- ls --color=auto -d /etc > /dev/tty 2>&1; gvisor-exec -- ls --color=auto -d /etc | cat -v")
		s.see("/etc\n/etc\n")
		s.clear()
		s.line(`gvisor-exec -- sh -c 'echo vis""ible; test -t 0 && test -t 1 && read x && echo got-$x; ls /nonexistent' 2>err`)
		s.see("visible")
		s.line("input")
		s.see("got-input")
		s.done(2)
		s.line("cat err")
		s.see("ls: cannot access '/nonexistent'")
	})
}

// A terminal that goes away hangs up the command's, which ends the shell in it
// and the job in its foreground.
func TestTerminalHangsUp(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, command := range []string{"bash --norc --noprofile", "sh -c 'echo r\"\"uns; exec cat'", "sh -c 'trap \"\" HUP; echo r\"\"uns; read x; exit 1'"} {
			s := c.newScreen(t)
			s.line("gvisor-exec -- " + command)
			if strings.HasPrefix(command, "bash") {
				s.see("bash-5")
				s.line(`sh -c 'echo r""uns; exec sleep 1000'`)
			}
			s.see("\nruns")
			s.hangUp()
			eventually(t, "no process", func() bool { return len(processes()) == 0 })
		}
	})
}

// However a run ends, the terminal is as it was.
func TestTerminalIsGivenBack(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		s := c.newScreen(t)
		for _, victim := range []string{"gvisor-exec --", "gvisor-exec-keeper", "runsc --root", "runsc-sandbox"} {
			// A shell repairs the terminal itself after a job was killed; this
			// script does not. Killed itself, the front leaves it to the keeper,
			// which takes a moment.
			s.line(`(trap : INT; gvisor-exec -- sh -c 'stty raw -echo; echo now-r""aw; sleep 1000'; until stty -a | grep -q ' icanon'; do :; done; echo co""oked) 2>/dev/null`)
			s.see("now-raw")
			pid := 0
			eventually(t, victim, func() bool {
				for _, p := range processIDs() {
					cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p))
					if strings.HasPrefix(strings.ReplaceAll(string(cmdline), "\x00", " "), victim) {
						pid = p
					}
				}
				return pid != 0
			})
			syscall.Kill(pid, syscall.SIGKILL)
			s.see("cooked")
			eventually(t, "no process", func() bool { return len(processes()) == 0 })
			s.clear()
		}
		c.run(t, "--", "true").want(t, 0, "", "")
	})
}

// -terminal always gives a terminal where the caller has none.
func TestTerminalFlags(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		for _, flag := range []string{"-terminal=always", "-t", "-tty"} {
			c.do(t, spawn{stdin: "word\n", argv: []string{"gvisor-exec", flag, "--", "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && read x && echo got $x"}}).
				want(t, 0, "word\r\ngot word\r\n", "")
		}
		c.run(t, "--", "sh", "-c", "test -t 0 || echo none").want(t, 0, "none\n", "")
		s := c.newScreen(t)
		s.line(`gvisor-exec -terminal never -- sh -c 'test -t 0 || echo a-p""ipe; read x; echo got-$x'`)
		s.see("a-pipe")
		s.line("typed")
		s.see("got-typed")
		s.done(0)
	})
}
