package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// terminalMode says whether the command gets a terminal.
type terminalMode string

const (
	terminalAuto   terminalMode = "auto"
	terminalAlways terminalMode = "always"
	terminalNever  terminalMode = "never"
)

func (m *terminalMode) String() string { return string(*m) }

// Values are the modes there are.
func (*terminalMode) Values() []string {
	return []string{string(terminalAuto), string(terminalAlways), string(terminalNever)}
}

func (m *terminalMode) Set(s string) error { return setWord(m, s, m.Values()) }

// execFlags are the flags of a fresh sandbox.
type execFlags struct {
	platform  runsc.Platform
	network   runsc.Network
	cwd       string
	rootfs    string
	overlay   bundle.Overlay
	mounts    []mountArg
	env       []envArg
	caps      bundle.Capabilities
	preserve  uint
	uid, gid  uint
	hostname  string
	terminal  terminalMode
	timeout   time.Duration
	killAfter time.Duration
	printSpec bool
	keep      bool
	verbose   bool
	trace     bool
	debug     bool
	runsc     string
	// callerDir is the caller's working directory.
	callerDir string
}

// mountArg and envArg are values whose order on the command line counts, across
// the flags that they came with.
type mountArg struct {
	kind  bundle.MountKind
	value string
}

type envArg struct {
	inherit bool
	value   string
}

func (f *execFlags) setDefaults() {
	f.terminal = terminalAuto
	f.killAfter = 2 * time.Second
	var err error
	if f.callerDir, err = os.Getwd(); err != nil {
		f.callerDir = "/" // it has been removed, or we may not know it
	}
}

// list describes the flags, each once: help, man page and completions come
// from here. The list may be given to several commands.
func (f *execFlags) list() []cli.Flag {
	flags := []cli.Flag{
		value("platform", "how system calls are intercepted: `systrap`, ptrace or kvm", &f.platform),
		value("network", "`none`, or host: the caller's own network; for a container also sandbox: gVisor's own stack", &f.network),
		value("cwd", "working directory `DIR` (default: the caller's)", str(&f.cwd)),
		value("rootfs", "`DIR` is the root, instead of /, and stays untouched", str(&f.rootfs)),
		value("overlay", "ephemeral writes go to a file (`self`), to RAM (memory) or nowhere (none)", &f.overlay),
		f.mount(bundle.Bind, "show `HOST[:DEST]`, writable; what is written is thrown away"),
		f.mount(bundle.RWBind, "show `HOST[:DEST]`, writable; what is written reaches the host"),
		f.mount(bundle.ROBind, "show `HOST[:DEST]`, read-only"),
		f.mount(bundle.Tmpfs, "an empty, writable directory at `DEST`"),
		value("env", "set `KEY=VALUE`", setter(func(s string) error {
			f.env = append(f.env, envArg{value: s})
			return bundle.Env{}.Set(s)
		})),
		value("env-inherit", "pass on the caller's variable `KEY`", setter(func(s string) error {
			f.env = append(f.env, envArg{inherit: true, value: s})
			return bundle.Env{}.Inherit(s, os.LookupEnv)
		})),
		value("cap-add", "add capability `CAP`, or ALL, inside the sandbox, against its own kernel", &f.caps),
		value("preserve-fds", "pass on the descriptors 3 to 3+`N`-1 as well", number(&f.preserve, 1<<16)),
		value("uid", "run as user `N`; 0 is the caller", number(&f.uid, 1<<32-2)),
		value("gid", "run as group `N`; 0 is the caller's", number(&f.gid, 1<<32-2)),
		value("hostname", "`NAME` of the sandbox (default: "+bundle.DefaultHostname+")", str(&f.hostname)),
		value("terminal", "give the command a terminal: `auto`, always or never", &f.terminal),
		&cli.GenericFlag{Name: "tty", Aliases: []string{"t"}, Usage: "the same as -terminal always", Value: toggle{func(on bool) {
			f.terminal = terminalAlways
			if !on {
				f.terminal = terminalNever
			}
		}}},
		value("timeout", "send SIGTERM after `DURATION`, such as 30s", duration(&f.timeout)),
		value("kill-after", "and kill it `DURATION` later (default: 2s)", duration(&f.killAfter)),
		boolean("print-spec", "print config.json and the runsc command line, and run nothing", &f.printSpec),
		boolean("keep-bundle", "keep the bundle, and say where", &f.keep),
		boolean("verbose", "say what is done: namespaces, bundle, runsc command line", &f.verbose),
		boolean("trace", "print the command's system calls on stderr", &f.trace),
		boolean("debug", "keep runsc's logs, and say where", &f.debug),
		value("runsc", "`PATH` of the runsc binary (default: beside this one; also $"+runsc.EnvPath+")", str(&f.runsc)),
	}
	return flags
}

func value(name, usage string, v cli.Generic) cli.Flag {
	return &cli.GenericFlag{Name: name, Usage: usage, Value: v}
}

func boolean(name, usage string, dst *bool) cli.Flag {
	return value(name, usage, toggle{func(on bool) { *dst = on }})
}

func (f *execFlags) mount(kind bundle.MountKind, usage string) cli.Flag {
	return value(kind.String(), usage, setter(func(s string) error {
		f.mounts = append(f.mounts, mountArg{kind, s})
		_, err := bundle.ParseMount(kind, s, f.callerDir)
		return err
	}))
}

// setter is a flag that is only ever set; it has no default to be shown.
type setter func(string) error

func (setter) String() string       { return "" }
func (s setter) Set(v string) error { return s(v) }

func str(dst *string) setter {
	return func(s string) error {
		if s == "" {
			return errors.New("the value is empty")
		}
		*dst = s
		return nil
	}
}

func number(dst *uint, most uint64) setter {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n > most {
			return fmt.Errorf("%q is not a number from 0 to %d", s, most)
		}
		*dst = uint(n)
		return nil
	}
}

func duration(dst *time.Duration) setter {
	return func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is not a duration such as 30s or 5m", s)
		}
		*dst = d
		return nil
	}
}

// toggle is a flag that needs no value.
type toggle struct{ set func(bool) }

func (toggle) String() string   { return "" }
func (toggle) IsBoolFlag() bool { return true }

func (t toggle) Set(s string) error {
	on, err := strconv.ParseBool(s)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", s)
	}
	t.set(on)
	return nil
}
