package integration

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// forever says ready and lives until SIGTERM, at which it ends with status 3.
const forever = "trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.05; done"

func TestPodmanExec(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok("run", "-d", "--name", "x", "--env", "A=outer", image, "sleep", "1000")
		p.want(0, "hi\n", "exec", "x", "echo", "hi")
		p.want(7, "", "exec", "x", "sh", "-c", "exit 7")
		p.want(0, "outer inner\n/tmp\n1000\n", "exec", "-e", "B=inner", "-w", "/tmp", "-u", "alice", "x", "sh", "-c", "echo $A $B; pwd; id -u")
		p.want(0, "tty\r\n", "exec", "-t", "x", "sh", "-c", "test -t 0 && test -t 1 && echo tty")
		p.want(0, "detach --detach=false\n", "exec", "x", "echo", "detach", "--detach=false")
		p.input("from outside\n", "exec", "-i", "x", "cat").want(t, 0, "from outside\n", "")
		o := p.run("exec", "x", "sh", "-c", "echo out; echo err >&2")
		o.want(t, 0, "out\n", "err\n")
		p.ok("exec", "-d", "x", "sh", "-c", "echo detached > /tmp/f")
		eventually(t, "the detached exec", func() bool { return p.run("exec", "x", "cat", "/tmp/f").stdout == "detached\n" })
		for command, status := range map[string]int{"no-such": 127, "/no/such": 127, "/etc/passwd": 126} {
			if o := p.run("exec", "x", command); o.status != status || !strings.Contains(o.stderr, command) {
				t.Errorf("%s: %+v", command, o)
			}
		}
		p.want(137, "", "exec", "x", "sh", "-c", "kill -9 $$")
		p.ok("kill", "x")
		p.is("x", "exited")
		p.want(255, "", "exec", "x", "true")
	})
}

func TestPodmanTopLogsPs(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok("run", "-d", "--name", "x", image, "sh", "-c", "echo one; echo two >&2; echo three; exec sleep 1000")
		p.says("x", "three")
		p.run("logs", "x").want(t, 0, "one\nthree\n", "two\n")
		if got := p.ok("ps", "--format", "{{.Names}} {{.Status}}"); !strings.HasPrefix(got, "x Up") {
			t.Errorf("ps: %q", got)
		}
		// Without a descriptor that it knows, podman runs the container's ps; its
		// own looks for the processes in the host's /proc, where a sandbox has none.
		if got := p.ok("top", "x", "-o", "pid,args"); !strings.Contains(got, "sleep 1000") {
			t.Errorf("top -o: %q", got)
		}
		if got := p.ok("top", "x"); !sandboxed() && !strings.Contains(got, "sleep 1000") {
			t.Errorf("top: %q", got)
		}
		if p.rootful() { // cgroups v1 has none for others
			if got := p.ok("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "x"); !strings.HasPrefix(got, "x ") || got == "x 0" || got == "x --" {
				t.Errorf("stats: %q", got)
			}
		}
		follow, out := p.start("logs", "-f", "x")
		p.ok("kill", "x")
		if err := follow.Wait(); err != nil || !strings.Contains(out.String(), "three") {
			t.Errorf("logs -f: %v, %q", err, out)
		}
	})
}

func TestPodmanStop(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok("run", "-d", "--name", "x", image, "sh", "-c", forever)
		p.says("x", "ready")
		p.ok("stop", "-t", "20", "x")
		if got := p.inspect("x", "{{.State.ExitCode}} {{.State.Status}}"); got != "3 exited" {
			t.Errorf("stopped with SIGTERM: %q", got)
		}
		p.ok("run", "-d", "--name", "deaf", image, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
		p.says("deaf", "ready")
		p.run("stop", "-t", "1", "deaf")
		p.want(0, "137\n", "wait", "deaf")
		p.ok("run", "-d", "--name", "usr", "--stop-signal", "USR1", image, "sh", "-c", "trap 'echo usr; exit 4' USR1; echo ready; while :; do sleep 0.05; done")
		p.says("usr", "ready")
		p.ok("stop", "-t", "20", "usr")
		p.want(0, "4\n", "wait", "usr")
		p.want(0, "ready\nusr\n", "logs", "usr")
	})
}

func TestPodmanKillWaitRemove(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok("run", "-d", "--name", "x", image, "sh", "-c", "trap 'echo hup' HUP; "+forever)
		p.says("x", "ready")
		wait, status := p.start("wait", "x")
		p.ok("kill", "-s", "HUP", "x")
		p.says("x", "hup")
		if o := p.run("rm", "x"); o.status != 2 {
			t.Errorf("rm of a running container: %+v", o)
		}
		p.ok("kill", "x")
		if err := wait.Wait(); err != nil || status.String() != "137\n" {
			t.Errorf("wait: %v, %q", err, status)
		}
		if o := p.run("kill", "x"); o.status != 125 {
			t.Errorf("kill of a stopped container: %+v", o)
		}
		p.ok("rm", "x")
		for range 3 {
			p.ok("run", "-d", "--name", "x", image, "sleep", "1000")
			p.ok("rm", "-f", "-t", "0", "x")
		}
		p.ok("create", "--name", "x", image, "true")
		p.ok("rm", "x")
		p.want(0, "", "ps", "-aq")
	})
}

func TestPodmanRestart(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok("run", "-d", "--name", "x", image, "sh", "-c", "echo run >> /runs; exec sleep 1000")
		p.ok("restart", "-t", "0", "x")
		p.is("x", "running")
		eventually(t, "two runs", func() bool { return p.run("exec", "x", "cat", "/runs").stdout == "run\nrun\n" })
		p.ok("stop", "-t", "0", "x")
		p.ok("start", "x")
		eventually(t, "three runs", func() bool { return p.run("exec", "x", "cat", "/runs").stdout == "run\nrun\nrun\n" })
		p.ok("run", "--name", "again", "--restart", "on-failure:2", "-d", image, "sh", "-c", "echo run; exit 1")
		eventually(t, "three attempts", func() bool { return p.run("logs", "again").stdout == "run\nrun\nrun\n" })
	})
}

func TestPodmanAttachStart(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		reader := []string{image, "sh", "-c", "read x; echo got $x; exit 5"}
		p.ok(append([]string{"create", "-i", "--name", "x"}, reader...)...)
		p.input("line\n", "start", "-ai", "x").want(t, 5, "got line\n", "")
		p.input("again\n", "start", "-ai", "x").want(t, 5, "got again\n", "")
		p.ok(append([]string{"run", "-di", "--name", "y"}, reader...)...)
		// Its own status says little: podman 4.3 may miss the container's end.
		if o := p.input("attached\n", "attach", "y"); !strings.HasPrefix(o.stdout, "got attached\n") {
			t.Errorf("attach: %+v", o)
		}
		p.want(0, "5\n", "wait", "y")
		p.ok("run", "-d", "--name", "z", image, "sh", "-c", forever)
		p.says("z", "ready")
		attached, out := p.start("attach", "--no-stdin", "z")
		// How soon attach is attached nothing tells; it then brings the output.
		eventually(t, "the end", func() bool { p.run("kill", "-s", "TERM", "z"); return p.inspect("z", "{{.State.Status}}") == "exited" })
		attached.Wait()
		t.Logf("attach: %v, %q", attached.ProcessState, out)
		p.want(0, "3\n", "wait", "z")
	})
}

func TestPodmanPause(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok("run", "-d", "--name", "x", image, "sh", "-c", forever)
		p.says("x", "ready")
		if !p.rootful() { // needs cgroups v2, says podman itself
			p.want(125, "", "pause", "x")
			return
		}
		p.ok("pause", "x")
		p.is("x", "paused")
		if o := p.run("exec", "x", "true"); o.status == 0 {
			t.Errorf("exec in a paused container: %+v", o)
		}
		p.ok("unpause", "x")
		p.is("x", "running")
		p.ok("stop", "-t", "20", "x")
		p.want(0, "3\n", "wait", "x")
		p.ok("run", "-d", "--name", "y", image, "sleep", "1000")
		p.ok("pause", "y")
		p.ok("rm", "-f", "-t", "0", "y")
	})
}

func TestPodmanHealth(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok("run", "-d", "--name", "x", "--health-cmd", "test -e /tmp/ok", "--health-interval", "disable", "--health-retries", "1", image, "sleep", "1000")
		p.want(1, "unhealthy\n", "healthcheck", "run", "x")
		p.ok("exec", "x", "touch", "/tmp/ok")
		p.want(0, "", "healthcheck", "run", "x")
	})
}

func TestPodmanTwentyAtOnce(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				word := fmt.Sprint("run-", i)
				p.want(i, word+"\n", "run", "--rm", image, "sh", "-c", fmt.Sprintf("echo %s; exit %d", word, i))
			})
		}
		wg.Wait()
		p.want(0, "", "ps", "-aq")
	})
}

// crash kills conmon, the containers and all else of this podman's, so that
// nobody cleans up.
func (p *podman) crash(containers ...string) {
	p.t.Helper()
	var pids []string
	for _, name := range containers {
		pids = append(pids, p.inspect(name, "{{.State.Pid}}"))
	}
	killAll(p.dir) // conmon first
	eventually(p.t, "no process", func() bool {
		killAll(p.dir)
		left := len(running(p.dir))
		for _, pid := range pids {
			kill(pid)
			if alive(pid) {
				left++
			}
		}
		return left == 0
	})
}

// Everything of the containers has died, but podman takes them for running.
func TestPodmanCrash(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		id := p.ok("run", "-d", "--name", "x", image, "sleep", "1000")
		p.crash("x")
		if o := p.run("exec", "x", "true"); o.status == 0 {
			t.Errorf("exec in a dead container: %+v", o)
		}
		// podman 4.3 gives up at first, since the container cannot be killed.
		eventually(t, "removed", func() bool { return p.run("rm", "-f", "-t", "0", "x").status == 0 })
		p.forget(id)
		p.ok("run", "--rm", "--name", "x", image, "true")
	})
}

// After a reboot /run is empty and podman starts its containers anew.
func TestPodmanReboot(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.ok("run", "-d", "--name", "x", image, "sh", "-c", "echo run >> /runs; exec sleep 1000")
		p.ok("run", "-d", "--name", "y", image, "sleep", "1000")
		p.crash("x", "y")
		dirs := strings.ReplaceAll("DIR/tmp DIR/runroot DIR/run", "DIR", p.dir)
		if p.rootful() {
			dirs += " /run/gvisor-exec /run/runc"
		}
		reboot := p.m.script(t, p.outside(), p.dir+"/reboot", nil, []string{"sh", "-c",
			"awk '$5 ~ \"" + p.dir + "|^/run/gvisor-exec/\" {print $5}' /proc/self/mountinfo | tac | xargs -r umount; for d in " + dirs + "; do find $d -mindepth 1 -delete; done"})
		p.outside().do(t, spawn{argv: []string{reboot}}).want(t, 0, "", "")
		p.ok("start", "x")
		eventually(t, "two runs", func() bool { return p.run("exec", "x", "cat", "/runs").stdout == "run\nrun\n" })
		p.ok("rm", "-f", "-t", "0", "y")
		p.ok("stop", "-t", "0", "x")
		p.ok("system", "prune", "-f")
		p.want(0, "", "ps", "-aq")
	})
}

func TestPodmanTerminal(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		s := p.outside().newScreen(t)
		s.line(p.program + " run -it --rm --name x " + image)
		s.see("/ #")
		s.line("stty size; echo $TERM; test -t 0 && echo a-t''ty")
		s.see("30 100", "a-tty")
		s.tmux("resize-window", "-x", "90", "-y", "20")
		eventually(t, "the new size", func() bool { s.line("clear; stty size"); return strings.Contains(s.text(), "20 90") })
		s.line("sh -c 'echo sleep\"\"ing; exec sleep 1000'") // once it speaks, it is in the foreground
		s.see("sleeping")
		s.keys("C-c")
		s.line("echo $?-af''ter")
		s.see("130-after")
		s.line("exit 9")
		s.see("host>")
		s.done(9)
		p.ok("run", "-d", "--name", "y", image, "sleep", "1000")
		s.line(p.program + " exec -it y sh")
		s.see("/ #")
		s.line("vi /tmp/f")
		s.see("/tmp/f")
		s.line("ihello")
		s.see("I /tmp/f")
		s.keys("Escape")
		s.see("- /tmp/f")
		s.line(":wq")
		s.line("clear; cat /tmp/f; exit 4")
		s.see("hello", "host>")
		s.done(4)
	})
}
