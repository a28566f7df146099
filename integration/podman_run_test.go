package integration

import (
	"fmt"
	"strings"
	"testing"
)

func TestPodmanRun(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.want(0, "hi\n", "run", "--rm", image, "echo", "hi")
		kernel := p.ok("run", "--rm", image, "uname", "-r")
		if strings.Contains(kernel, "gvisor") != sandboxed() {
			t.Errorf("the kernel is %s", kernel)
		}
		o := p.run("run", "--rm", image, "sh", "-c", "echo out; echo err >&2")
		o.want(t, 0, "out\n", "err\n")
	})
}

// What a pipe carries arrives, in both directions.
func TestPodmanStdin(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		data := strings.Repeat("0123456789abcdef", 1<<16)
		o := p.input(data, "run", "--rm", "-i", image, "cat")
		if o.status != 0 || o.stdout != data {
			t.Errorf("got status %d, %d bytes of %d, %s", o.status, len(o.stdout), len(data), o.stderr)
		}
		p.input("unseen", "run", "--rm", image, "cat").want(t, 0, "", "")
	})
}

func TestPodmanExitStatus(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		for _, status := range []int{0, 1, 7, 125, 128, 255} {
			p.want(status, "", "run", "--rm", image, "sh", "-c", fmt.Sprint("exit ", status))
		}
		// PID 1 of a Linux container cannot kill itself, so a child of --init.
		p.want(137, "", "run", "--rm", "--init", image, "sh", "-c", "kill -9 $$")
		p.want(143, "", "run", "--rm", "--init", image, "sh", "-c", "kill -15 $$")
		for _, command := range []string{"no-such", "/no/such"} {
			o := p.run("run", "--rm", image, command)
			if o.status != 127 || o.stdout != "" || !strings.Contains(o.stderr, command) {
				t.Errorf("%s: %+v", command, o)
			}
		}
		for _, command := range []string{"/etc/passwd", "/etc"} {
			o := p.run("run", "--rm", image, command)
			if o.status != 126 || o.stdout != "" || !strings.Contains(o.stderr, command) {
				t.Errorf("%s: %+v", command, o)
			}
		}
		p.want(125, "", "run", "--rm", "--no-such-flag", image, "true")
		p.want(125, "", "run", "--rm", "-v", "/no/such:/mnt", image, "true")
	})
}

func TestPodmanProcess(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.sh("id -u; id -g", "1000\n1000\n", "--user", "1000:1000")
		p.sh("id -un; id -G; pwd", "alice\n1000 77\n/home/alice\n", "--user", "alice", "--workdir", "/home/alice")
		p.sh("id -G", "0 77\n", "--group-add", "77", "--user", "0")
		p.sh("echo $A $B; hostname", "1 2 3\nbox\n", "--env", "A=1", "--env", "B=2 3", "--hostname", "box")
		if sandboxed() || !p.rootful() { // podman adds a limit that runc has no right to set
			p.sh("ulimit -n", "512\n", "--ulimit", "nofile=512:512")
		}
		p.sh("umask", "0027\n", "--umask", "0027")
		if got := p.ok("run", "--rm", "--init", image, "cat", "/proc/1/cmdline"); !strings.Contains(got, "init") {
			t.Errorf("PID 1 with --init is %q", got)
		}
		p.sh("grep -c . /proc/self/status >/dev/null; test -t 0 && test -t 1 && echo tty", "tty\r\n", "-t")
	})
}

func TestPodmanSecurity(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		caps := "grep CapEff /proc/self/status"
		p.sh(caps, "CapEff:\t0000000000000000\n", "--cap-drop", "all")
		p.sh(caps, "CapEff:\t0000000000000001\n", "--cap-drop", "all", "--cap-add", "chown")
		p.sh(caps+"; grep CapBnd /proc/self/status", "CapEff:\t0000000000000001\nCapBnd:\t0000000000000001\n", "--cap-drop", "all", "--cap-add", "chown", "--user", "1000")
		p.sh("touch /tmp/f; chown 5 /tmp/f 2>/dev/null || echo no", "no\n", "--cap-drop", "chown")
		p.sh("touch /x 2>/dev/null || echo no; touch /tmp/x && echo tmp", "no\ntmp\n", "--read-only")
		p.sh("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n", "--security-opt", "no-new-privileges")
		p.sh("cat /proc/keys /proc/timer_list 2>/dev/null | wc -c", "0\n")
		p.sh("echo 1 2>/dev/null >/proc/sys/kernel/domainname || echo no", "no\n")
	})
}

func TestPodmanDevices(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		p.sh(`for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done
			test -d /dev/shm; test -L /dev/fd; echo x > /dev/null; head -c 3 /dev/zero | wc -c`, "3\n")
		p.sh("test -c /dev/other && echo x > /dev/other && echo written", "written\n", "--device", "/dev/null:/dev/other")
	})
}

func TestPodmanPreserveFDs(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		script := "exec 3<" + p.c.file(t, p.dir+"/three", "in three\n", 0o644) + " 4>" + p.c.file(t, p.dir+"/four", "", 0o644) + "; "
		run := func(rest string) outcome {
			return p.outside().do(t, spawn{dir: "/", argv: []string{"sh", "-c", script + p.program + " " + rest}})
		}
		run("run --rm --preserve-fds 2 "+image+" sh -c 'cat <&3; echo out four >&4'").want(t, 0, "in three\n", "")
		if got := read(t, p.dir+"/four"); got != "out four\n" {
			t.Errorf("descriptor 4 got %q", got)
		}
		p.ok("run", "-d", "--name", "x", image, "sleep", "1000")
		run("exec --preserve-fds 1 x sh -c 'cat <&3'").want(t, 0, "in three\n", "")
		run("run --rm "+image+" sh -c 'test -e /dev/fd/3 || echo none'").want(t, 0, "none\n", "")
	})
}

func TestPodmanLimits(t *testing.T) {
	eachPodman(t, func(t *testing.T, p *podman) {
		if !p.rootful() {
			// Rootless, cgroups v1 has no limits to give, and podman says so.
			p.sh("echo runs", "runs\n", "--memory", "64m")
			return
		}
		p.ok("run", "-d", "--name", "x", "--memory", "64m", "--pids-limit", "500", image, "sleep", "1000")
		path := p.inspect("x", "{{.State.CgroupPath}}")
		for file, want := range map[string]string{"memory" + path + "/memory.limit_in_bytes": "67108864\n", "pids" + path + "/pids.max": "500\n"} {
			if got := read(t, "/sys/fs/cgroup/"+file); got != want {
				t.Errorf("%s: %q, want %q", file, got, want)
			}
		}
		p.ok("rm", "-f", "-t", "0", "x")
		if fileExists("/sys/fs/cgroup/memory" + path) {
			t.Errorf("cgroup %s is left", path)
		}
	})
}
