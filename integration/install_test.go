package integration

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// registrant is a caller with a configuration of his own: root has a copy of
// /etc/containers in a mount namespace, the user has a new home.
type registrant struct {
	c    *caller
	home string
	// conf is where podman's configuration is, dropIn our file in it.
	conf, dropIn string
}

func newRegistrant(t *testing.T, c *caller) *registrant {
	t.Helper()
	r := &registrant{c: c, home: c.dir(t)}
	r.conf = r.home + "/.config/containers"
	if c.uid == 0 {
		r.conf = r.home + "/etc"
		if err := os.CopyFS(r.conf, os.DirFS("/etc/containers")); err != nil {
			t.Fatal(err)
		}
	}
	r.dropIn = r.conf + "/containers.conf.d/50-gvisor-exec.conf"
	return r
}

// command is what r runs; root gets his /etc/containers for each.
func (r *registrant) command(args ...string) spawn {
	s := spawn{dir: r.home, env: []string{"HOME=" + r.home, "ETC=" + r.conf}}
	if r.c.uid == 0 {
		s.argv = []string{"/usr/bin/unshare", "-m", "--propagation", "private", "sh", "-c", `mount --bind "$ETC" /etc/containers && exec "$@"`, "sh"}
	}
	s.argv = append(s.argv, args...)
	return s
}

func (r *registrant) do(t *testing.T, args ...string) outcome {
	t.Helper()
	return r.c.do(t, r.command(args...))
}

// ok runs what must succeed.
func (r *registrant) ok(t *testing.T, args ...string) {
	t.Helper()
	if o := r.do(t, args...); o.status != 0 {
		t.Errorf("%q: %+v", args, o)
	}
}

// tree is everything in the configuration.
func (r *registrant) tree(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(p, ".lock") { // podman's own
			return nil
		}
		all.WriteString(p + "\n")
		if !d.IsDir() {
			all.WriteString(read(t, p))
		}
		return nil
	})
	return all.String()
}

// What install writes is what podman needs: the name, the path, the log that it
// passes only to those on its list; and uninstall leaves nothing.
func TestInstallPodman(t *testing.T) {
	eachPlainPodman(t, func(t *testing.T, p *plainPodman) {
		r := newRegistrant(t, p.c)
		before := r.tree(t, r.conf)
		podman := func(args ...string) outcome {
			t.Helper()
			return r.do(t, append(append([]string{"podman"}, p.global[:len(p.global)-2]...), args...)...)
		}
		o := r.do(t, "gvisor-exec", "install", "podman", "-yes")
		if o.status != 0 || !strings.Contains(o.stdout, "+ gvisor-exec = [\""+binDir+"/gvisor-exec\"]") || !strings.Contains(o.stderr, "hint: podman --runtime gvisor-exec run") {
			t.Fatalf("%+v", o)
		}
		if info, err := os.Stat(r.dropIn); err != nil || info.Mode() != 0o644 {
			t.Errorf("%v, %v", info, err)
		}
		o = r.do(t, "gvisor-exec", "install", "podman")
		if o.status != 0 || o.stdout != "" || !strings.Contains(o.stderr, "nothing to do: podman knows") {
			t.Errorf("again: %+v", o)
		}

		podman("--runtime", "gvisor-exec", "info", "-f", "{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}").want(t, 0, "gvisor-exec "+binDir+"/gvisor-exec\n", "*")
		run := []string{"--runtime", "gvisor-exec", "run", "--rm", "--network", "none", image}
		podman(append(run, "uname", "-r")...).want(t, 0, "4.19.0-gvisor\n", "*")
		// Read from the log, a message has our name once, from podman; from stderr, it
		// has it twice.
		for command, want := range map[string]outcome{
			"nosuch":      {status: 127, stderr: `Error: gvisor-exec: unable to start container process: exec: "nosuch": executable file not found in $PATH: `},
			"/etc/passwd": {status: 126, stderr: `Error: gvisor-exec: unable to start container process: exec: "/etc/passwd": permission denied: `},
		} {
			if o := podman(append(run, command)...); o.status != want.status || !strings.Contains(o.stderr, want.stderr) {
				t.Errorf("%s: %+v", command, o)
			}
		}

		builtIn := podman("info", "-f", "{{.Host.OCIRuntime.Name}}").stdout
		r.ok(t, "gvisor-exec", "install", "podman", "-default", "-y")
		podman("info", "-f", "{{.Host.OCIRuntime.Name}}").want(t, 0, "gvisor-exec\n", "*")
		r.do(t, "gvisor-exec", "install", "podman", "-y").want(t, 0, "", "*") // keeps that
		r.ok(t, "gvisor-exec", "install", "podman", "-default=false", "-y")
		podman("info", "-f", "{{.Host.OCIRuntime.Name}}").want(t, 0, builtIn, "*")

		r.ok(t, "gvisor-exec", "uninstall", "podman", "-yes")
		if after := r.tree(t, r.conf); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		r.do(t, "gvisor-exec", "uninstall", "podman").want(t, 0, "", "gvisor-exec: nothing to do: "+r.seen()+" is not there\n")
	})
}

// seen is the path of the drop-in, as r's commands see it.
func (r *registrant) seen() string {
	if r.c.uid == 0 {
		return "/etc/containers/containers.conf.d/50-gvisor-exec.conf"
	}
	return r.dropIn
}

// What the user has set stays in force, and what he has changed of ours stays.
func TestInstallPodmanKeeps(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		r := newRegistrant(t, c)
		own := c.file(t, r.conf+"/containers.conf", "[engine]\nruntime_supports_json = [\n  'mine', # and no other\n]\n", 0o600)
		later := c.file(t, r.conf+"/containers.conf.d/99.conf", "engine.runtime_supports_json = ['x']\n", 0o644)
		before := r.tree(t, r.conf)
		o := r.do(t, "gvisor-exec", "install", "podman", "-yes")
		if o.status != 0 || !strings.Contains(read(t, r.dropIn), `runtime_supports_json = ["mine", "gvisor-exec"]`) ||
			!strings.Contains(o.stderr, "99.conf is read later and sets runtime_supports_json without gvisor-exec") {
			t.Errorf("%+v", o)
		}
		r.ok(t, "gvisor-exec", "uninstall", "podman", "-yes")
		if after := r.tree(t, r.conf); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}

		c.file(t, own, "[engine\n", 0o600)
		r.do(t, "gvisor-exec", "install", "podman", "-yes").wantError(t, 1, "containers.conf: toml: line 2", "")
		os.Remove(own)
		os.Remove(later)

		c.file(t, r.dropIn, "# mine\n", 0o644)
		for verb, hint := range map[string]string{"install": "move it away", "uninstall": "remove it yourself"} {
			r.do(t, "gvisor-exec", verb, "podman", "-yes").wantError(t, 1, "cannot "+verb+" podman: "+r.seen()+": it was changed", hint)
		}
		if got := read(t, r.dropIn); got != "# mine\n" {
			t.Errorf("%q", got)
		}
	})
}

// Without a terminal it has to be said that it shall be written; on one it is asked.
func TestInstallAsks(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		r := newRegistrant(t, c)
		r.do(t, "gvisor-exec", "install", "podman").wantError(t, 2, "there is no terminal", "-dry-run")
		o := r.do(t, "gvisor-exec", "install", "-dry-run", "podman")
		if o.status != 0 || !strings.HasPrefix(o.stdout, r.seen()+", to be written:\n+ # Registers") || fileExists(r.dropIn) {
			t.Errorf("%+v", o)
		}
		for answer, want := range map[string]bool{"\n": false, "no\n": false, "y\n": true} {
			s := r.command("/usr/bin/script", "-qec", "gvisor-exec install podman", "/dev/null")
			s.stdin = answer
			o := c.do(t, s)
			if (o.status == 0) != want || fileExists(r.dropIn) != want || !strings.Contains(o.stdout, "Go on? [y/N]") {
				t.Errorf("%q: %+v", answer, o)
			}
			if !want && !strings.Contains(o.stdout, "cannot install podman: nothing was written") {
				t.Errorf("%q: %+v", answer, o)
			}
			os.Remove(r.dropIn)
		}
		for _, bad := range [][]string{{"install"}, {"install", "crio"}, {"install", "podman", "docker"}, {"install", "podman", "-config-file", "/x"}, {"uninstall", "-default", "podman"}} {
			if o := r.do(t, append([]string{"gvisor-exec"}, bad...)...); o.status != 2 || o.stdout != "" {
				t.Errorf("%q: %+v", bad, o)
			}
		}
	})
}

func TestInstallDocker(t *testing.T) {
	each(t, func(t *testing.T, c *caller) {
		r := newRegistrant(t, c)
		const old = "{\n\t\"log-level\": \"warn\",\n\t\"n\": 12345678901234567890\n}\n"
		real := c.file(t, r.home+"/d/real.json", old, 0o640)
		link := r.home + "/daemon.json"
		if err := errors.Join(os.Symlink("d/real.json", link), os.Chown(real, c.uid, c.gid)); err != nil {
			t.Fatal(err)
		}
		docker := func(verb string, flags ...string) outcome {
			t.Helper()
			return r.do(t, append([]string{"gvisor-exec", verb, "docker", "-yes", "-config-file", link}, flags...)...)
		}
		o := docker("install", "-default")
		want := strings.TrimSuffix(old, "\n}\n") + ",\n\t\"runtimes\": {\n\t\t\"gvisor-exec\": {\n\t\t\t\"path\": \"" + binDir + "/gvisor-exec\"\n\t\t}\n\t},\n\t\"default-runtime\": \"gvisor-exec\"\n}\n"
		info, _ := os.Lstat(link)
		target, _ := os.Stat(real)
		if o.status != 0 || read(t, real) != want || info.Mode().Type() != os.ModeSymlink || target.Mode() != 0o640 {
			t.Errorf("%+v\n%s\n%v %v", o, read(t, real), info, target)
		}
		docker("install").want(t, 0, "", "*")
		if o := docker("uninstall"); o.status != 0 || !strings.HasSuffix(o.stderr, "\nhint: the daemon forgets it when it is restarted\n") {
			t.Errorf("%+v", o)
		}
		if got := read(t, real); got != old {
			t.Errorf("%q", got)
		}
		docker("uninstall").want(t, 0, "", "gvisor-exec: nothing to do: gvisor-exec is not in "+link+"\n")

		c.file(t, real, "{\n\"a\": }", 0o640)
		docker("install").wantError(t, 1, link+": it is not valid JSON: line 2", "")
		c.file(t, real, `{"runtimes": {"gvisor-exec": {"path": "/x", "runtimeArgs": []}}}`, 0o640)
		docker("uninstall").wantError(t, 1, link+": it was changed", "runtimes yourself")
		if left, _ := filepath.Glob(r.home + "/*/.gvisor-exec*"); len(left) > 0 {
			t.Error(left)
		}
		if c.uid == 0 {
			return
		}
		// A user's own is at docker's place, and goes with its directory.
		r.ok(t, "gvisor-exec", "install", "docker", "-yes")
		if got := read(t, r.home+"/.config/docker/daemon.json"); !strings.Contains(got, binDir+"/gvisor-exec") {
			t.Error(got)
		}
		r.ok(t, "gvisor-exec", "uninstall", "docker", "-yes")
		if fileExists(r.home + "/.config/docker") {
			t.Error("the directory is left")
		}
	})
}

// dockerScript runs a daemon of its own, with what install wrote. All of it is in
// namespaces that end with the script.
const dockerScript = `
set -e
mount -t tmpfs tmpfs /etc/docker
echo '{"log-level": "warn"}' > daemon.json
gvisor-exec install docker -yes -config-file daemon.json >&2
dockerd --config-file daemon.json -H "unix://$PWD/sock" --data-root "$PWD/data" --exec-root "$PWD/exec" --pidfile "$PWD/pid" \
	--storage-driver vfs --iptables=false --bridge=none > log 2>&1 &
daemon=$!
docker() { command docker -H "unix://$PWD/sock" "$@"; }
until docker version > /dev/null 2>&1; do kill -0 $daemon; sleep 0.1; done
docker import image.tar busybox > /dev/null
docker run --rm --network none --runtime gvisor-exec busybox uname -r
docker run --rm --network none --runtime gvisor-exec busybox nosuch || echo $?
docker run --rm --network none --runtime gvisor-exec busybox /etc/passwd || echo $?
gvisor-exec install docker -yes -default -config-file daemon.json >&2
kill -HUP $daemon
until docker info -f '{{.DefaultRuntime}}' | grep gvisor-exec; do sleep 0.1; done
docker run --rm --network none busybox uname -r
gvisor-exec uninstall docker -yes -config-file daemon.json >&2
cat daemon.json
kill $daemon
wait $daemon
`

func TestInstallDockerd(t *testing.T) {
	for _, c := range callers {
		if c.uid != 0 {
			continue
		}
		t.Cleanup(func() { c.checkClean(t) })
		probe.Skip(t, probe.Root())
		probe.Skip(t, probe.Command("dockerd", "apt-get install docker.io"))
		probe.Skip(t, probe.Command("docker", "apt-get install docker.io"))
		dir := c.dir(t)
		c.rootfs(t, dir+"/image")
		c.do(t, spawn{dir: dir, argv: []string{"tar", "-C", "image", "-cf", "image.tar", "."}}).want(t, 0, "", "")
		o := c.do(t, spawn{dir: dir, argv: []string{"/usr/bin/unshare", "-m", "-p", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "/bin/sh", "-c", dockerScript}})
		const want = "4.19.0-gvisor\n127\n126\ngvisor-exec\n4.19.0-gvisor\n{\"log-level\": \"warn\"}\n"
		if o.status != 0 || o.stdout != want {
			log, _ := os.ReadFile(dir + "/log")
			t.Errorf("%+v\nwant %q\n%s", o, want, log)
		}
		return
	}
	probe.Skip(t, probe.Root())
}
