package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/internal/nofile"
	"github.com/gvisor-exec/gvisor-exec/runsc"
	"github.com/gvisor-exec/gvisor-exec/shim"
)

// exec is the verb exec and the short form: a fresh sandbox for one command.
func (inv *invocation) exec(c *cli.Context) error {
	if inv.oci {
		return inv.execInside(c)
	}
	if err := refuseFlags(c, "without the id of a container", (&invocation{}).insideList()); err != nil {
		return err
	}
	switch {
	case c.Args().Present() && c.Command.Name == "exec":
		return usagef("gvisor-exec exec [flags] -- CMD [ARG…]", "cannot run %q: the command follows a --", c.Args().First())
	case c.Args().Present():
		return usagef("gvisor-exec -h lists the verbs; a command to run follows a --", "unknown verb %q", c.Args().First())
	case !inv.fresh && c.NumFlags() == 0 && c.Command.Name != "exec":
		return cli.ShowAppHelp(c)
	case len(inv.command) == 0:
		return usagef("gvisor-exec [flags] -- CMD [ARG…]", "no command given")
	case inv.command[0] == "":
		return usagef("", "the command is empty")
	}
	inherited, err := closeInherited(int(inv.flags.preserve))
	if err != nil {
		return err
	}
	if inv.flags.network == runsc.NetworkSandbox {
		return usagef("", "-network sandbox is not available for a fresh sandbox in this version: none or host")
	}
	opts, err := inv.options()
	if err != nil {
		return err
	}
	opts.Inherited = inherited
	if inv.flags.printSpec {
		return printSpec(opts)
	}
	result, err := shim.Launch(opts)
	if result.Kept != "" {
		verbose("kept: %s", result.Kept)
	}
	var failure *shim.Failure
	switch {
	case result.TimedOut:
		say("gvisor-exec", "timed out after %v", opts.Timeout)
		inv.status = exitTimeout
	case err == nil || !errors.As(err, &failure) && result.Status != 0:
		inv.status = result.Status
	}
	return err
}

// options turns the flags into what shim.Launch takes.
func (inv *invocation) options() (shim.Options, error) {
	f := &inv.flags
	self, err := os.Executable()
	if err != nil {
		return shim.Options{}, &hintedError{fmt.Errorf("cannot find our own binary: %w", err), "/proc must be mounted: mount -t proc proc /proc"}
	}
	o := shim.Options{
		Host: callingHost(), Platform: f.platform, Network: f.network,
		ExplicitCwd: f.cwd != "", Terminal: f.wantsTerminal(),
		Timeout: f.timeout, KillAfter: f.killAfter, KeepBundle: f.keep, Debug: f.debug,
		Warn: warn,
	}
	if f.verbose {
		o.Verbose = verbose
	}
	if f.trace {
		o.Trace = traced
	}
	if o.Host.RealRoot && f.network == runsc.NetworkHost && slices.Contains(f.caps, "CAP_NET_ADMIN") {
		return o, usagef("with -network none the sandbox has a network stack of its own to administer", "cannot use -cap-add NET_ADMIN, which ALL includes, with -network host: as root it would change the host's network")
	}
	if o.Runsc, err = findRunsc(f.runsc, self); err != nil {
		return o, err
	}
	if f.rootfs != "" {
		if o.Rootfs, err = directory(f.rootfs); err != nil {
			return o, usagef("", "cannot use -rootfs %s: %v", f.rootfs, err)
		}
	}
	if o.Config, err = f.config(inv.command); err != nil {
		return o, err
	}
	if err := o.Config.Check(); err != nil {
		return o, usagef("config.json, by which runsc is told what to run, holds nothing else", "%w", err)
	}
	return o, nil
}

// config turns the flags into what is to run.
func (f *execFlags) config(command []string) (bundle.Config, error) {
	c := bundle.Config{
		Args: command, Env: bundle.DefaultEnv(os.Environ(), f.wantsTerminal()),
		Hostname: f.hostname, UID: uint32(f.uid), GID: uint32(f.gid),
		Umask: umask(), Rlimits: rlimits(), Capabilities: f.caps, Overlay: f.overlay,
	}
	for _, e := range f.env {
		if e.inherit {
			c.Env.Inherit(e.value, os.LookupEnv)
		} else {
			c.Env.Set(e.value)
		}
	}
	c.Cwd = f.callerDir
	if f.cwd != "" {
		if c.Cwd = filepath.Clean(f.cwd); !filepath.IsAbs(c.Cwd) {
			c.Cwd = filepath.Join(f.callerDir, c.Cwd)
		}
	}
	for _, arg := range f.mounts {
		m, err := bundle.ParseMount(arg.kind, arg.value, f.callerDir)
		if err != nil {
			return c, usagef("", "cannot use -%s %s: %v", arg.kind, arg.value, err)
		}
		if m.Source != "" {
			if _, err := os.Stat(m.Source); err != nil {
				return c, &hintedError{fmt.Errorf("cannot use -%s %s: %w", arg.kind, arg.value, err), "the first path is one of the host's; a colon in it is written \\:"}
			}
		}
		c.Mounts = append(c.Mounts, m)
	}
	return c, nil
}

func directory(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", errors.Unwrap(err)
	}
	if !info.IsDir() {
		return "", syscall.ENOTDIR
	}
	return abs, nil
}

func (f *execFlags) wantsTerminal() bool {
	if f.terminal == terminalAuto {
		return term.IsTerminal(0) && term.IsTerminal(1)
	}
	return f.terminal == terminalAlways
}

func findRunsc(explicit, self string) (string, error) {
	path, err := runsc.Find(explicit, self)
	if err == nil {
		err = runsc.Client{Path: path}.Check(context.Background())
	}
	if err != nil {
		return "", &hintedError{err, "`make` builds a runsc beside gvisor-exec; -runsc or $" + runsc.EnvPath + " names another"}
	}
	return path, nil
}

// callingHost is where we have been called.
func callingHost() shim.Host {
	return shim.Host{
		UID: os.Geteuid(), RealRoot: os.Geteuid() == 0 && !inUserNamespace(),
		Home: os.Getenv("HOME"), RuntimeDir: os.Getenv("XDG_RUNTIME_DIR"), CacheHome: os.Getenv("XDG_CACHE_HOME"),
	}
}

// inUserNamespace reports whether our ids are mapped: the first user namespace
// maps all of them to themselves.
func inUserNamespace() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(data)), " ") != "0 0 4294967295"
}

func umask() uint32 {
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	return uint32(mask)
}

// limits are the resource limits that the command takes over from its caller.
var limits = []struct {
	name     string
	resource int
}{
	{"RLIMIT_AS", unix.RLIMIT_AS}, {"RLIMIT_CORE", unix.RLIMIT_CORE}, {"RLIMIT_CPU", unix.RLIMIT_CPU},
	{"RLIMIT_DATA", unix.RLIMIT_DATA}, {"RLIMIT_FSIZE", unix.RLIMIT_FSIZE}, {"RLIMIT_NOFILE", unix.RLIMIT_NOFILE},
	{"RLIMIT_NPROC", unix.RLIMIT_NPROC}, {"RLIMIT_STACK", unix.RLIMIT_STACK},
}

func rlimits() []specs.POSIXRlimit {
	var list []specs.POSIXRlimit
	for _, l := range limits {
		var r unix.Rlimit
		if unix.Getrlimit(l.resource, &r) == nil {
			if l.resource == unix.RLIMIT_NOFILE {
				r.Cur = nofile.Soft() // not what the Go runtime made of it
			}
			list = append(list, specs.POSIXRlimit{Type: l.name, Soft: r.Cur, Hard: r.Max})
		}
	}
	return list
}

// printSpec is -print-spec.
func printSpec(o shim.Options) error {
	spec, argv := shim.Print(o, "RUN")
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(struct {
		Config *specs.Spec `json:"config"`
		Runsc  []string    `json:"runsc"`
	}{spec, argv})
}
