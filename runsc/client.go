// Package runsc is a typed client of the runsc binary: where it is found,
// which flags it takes, and how it says that it failed.
//
// It knows nothing of bundles' contents, of namespaces or of terminals; it
// runs one command line and reports what came of it. No gVisor package is
// imported: their Go API is unstable, the command line is what they keep.
//
// Start reading at Client; Find is how one comes to its path.
package runsc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Client runs the verbs of one runsc binary with one set of global flags.
// The zero value of every field but Path is the default.
type Client struct {
	// Path of the runsc binary, absolute.
	Path string
	// Global are the flags given before the verb.
	Global GlobalFlags
}

// environment is all that runsc inherits. Anything more is a way in:
// GVISOR_SIDECAR_BINARIES_DIR, for one, redirects what runsc executes.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

// Command returns the unstarted command `runsc [global flags] args`, with a
// scrubbed environment and argv[0] "runsc": another name selects another
// program in runsc's multi-call binary. Its stdio is unset.
func (c Client) Command(args ...string) *exec.Cmd {
	return &exec.Cmd{
		Path: c.Path,
		Args: append(append([]string{"runsc"}, c.Global.args()...), args...),
		Env:  environment,
	}
}

// RunOpts are the options of Run.
type RunOpts struct {
	// Bundle is the directory that holds config.json.
	Bundle string
	// PassFDs maps the command's descriptor numbers to files of ours. The
	// numbers 0, 1 and 2 are allowed: they replace the stdio that the command
	// would otherwise share with runsc itself. The caller keeps ownership.
	PassFDs map[int]*os.File
	// Attr is the attribute set of the runsc process.
	Attr *syscall.SysProcAttr
}

// FirstPassFD is the descriptor number in runsc of the first passed file, that
// with the lowest number in the command.
const FirstPassFD = 3

func (o RunOpts) args() (args []string, files []*os.File) {
	passed, files := passFiles(o.PassFDs)
	return append([]string{"run", "--bundle=" + o.Bundle}, passed...), files
}

// passFiles are the flags that map files to the command's descriptor numbers.
func passFiles(fds map[int]*os.File) (args []string, files []*os.File) {
	for _, guest := range sortedKeys(fds) {
		args = append(args, fmt.Sprintf("--pass-fd=%d:%d", FirstPassFD+len(files), guest))
		files = append(files, fds[guest])
	}
	return args, files
}

// stdioFD is the first descriptor number that the sentry moves the command's
// descriptors to (boot.startingStdioFD, gVisor v0.0.0-20260905035102). In a
// process with threads a table of descriptors that must grow for that waits for
// an RCU grace period, 5 to 10 ms of a start. It need not grow where the process
// inherits a higher number: so runsc gets /dev/null at the one behind.
const stdioFD = 253

// withRoom adds null behind files at such a number, where the limit allows it.
func withRoom(files []*os.File, null *os.File) []*os.File {
	var l syscall.Rlimit
	if high := uint64(stdioFD + len(files)); syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil && l.Cur > high {
		files = append(append(files, make([]*os.File, stdioFD-FirstPassFD)...), null)
	}
	return files
}

// CommandLine returns the argv of Run.
func (c Client) CommandLine(id string, opts RunOpts) []string {
	args, _ := opts.args()
	return c.Command(append(args, id)...).Args
}

// Running is a started `runsc run`.
type Running struct {
	cmd    *exec.Cmd
	log    string   // the FIFO that is runsc's --log
	errors *os.File // its reading end, once released
	stderr bytes.Buffer
}

// Run starts `runsc run ID` with a --log of its own at the path log, and returns
// at once. runsc waits before it looks at the bundle until Release is called:
// its start, which takes some milliseconds, can go on while the bundle is still
// being made. runsc's own stdin and stdout are /dev/null and its stderr is kept
// for errors; the command has none of them, only opts.PassFDs.
func (c Client) Run(id, log string, opts RunOpts) (*Running, error) {
	// Opening a FIFO for writing waits for a reader, and opening its log is the
	// first thing that runsc does (gVisor v0.0.0-20260905035102, cli.Run).
	if err := unix.Mkfifo(log, 0o600); err != nil {
		return nil, fmt.Errorf("cannot make %s: %w", log, err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", c.Path, err)
	}
	defer null.Close()
	c.Global.Log = log
	args, files := opts.args()
	files = withRoom(files, null)
	r := &Running{cmd: c.Command(append(args, id)...), log: log}
	r.cmd.Stderr = &limitedWriter{w: &r.stderr, left: 64 << 10}
	r.cmd.ExtraFiles = files
	r.cmd.SysProcAttr = opts.Attr
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", c.Path, err)
	}
	return r, nil
}

// Release lets runsc go on: the bundle is ready.
func (r *Running) Release() (err error) {
	r.errors, err = os.OpenFile(r.log, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("cannot read runsc's log: %w", err)
	}
	return nil
}

// Abandon ends a runsc that was never released.
func (r *Running) Abandon() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

// Pid is the process id of `runsc run`, as the caller's PID namespace has it.
func (r *Running) Pid() int { return r.cmd.Process.Pid }

// Wait waits for the end of the sandbox and returns the command's exit status,
// 128+N when signal N ended it. An *Error says that runsc itself failed: it
// exits 128 then, as the command could, and its log tells one from the other.
func (r *Running) Wait() (int, error) {
	defer r.errors.Close()
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, fmt.Errorf("cannot wait for runsc: %w", err)
	}
	state := r.cmd.ProcessState
	if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		return 0, &Error{Verb: "run", Status: 128 + int(status.Signal()), Msg: "was killed (" + unix.SignalName(status.Signal()) + ")"}
	}
	code, msg := state.ExitCode(), ""
	switch code {
	case ownFailure:
		msg = logged(drain(r.errors))
	case misused:
		msg = ownWords(r.stderr.String())
	}
	if msg == "" {
		return code, nil
	}
	return 0, &Error{Verb: "run", Status: code, Msg: msg, Stderr: r.stderr.String()}
}

// drain reads what is in a FIFO, and waits for no more: children of runsc may
// still have it open.
func drain(fifo *os.File) []byte {
	var data []byte
	conn, err := fifo.SyscallConn()
	if err != nil {
		return nil
	}
	conn.Read(func(fd uintptr) bool {
		buf := make([]byte, 64<<10)
		for {
			n, err := unix.Read(int(fd), buf)
			if n <= 0 || err != nil {
				return true
			}
			data = append(data, buf[:n]...)
		}
	})
	return data
}

const (
	// ownFailure is the status that runsc exits with for failures of its own.
	ownFailure = 128
	// misused is the status of a Go program that panicked, or got wrong flags.
	misused = 2
)

// ownWords returns what runsc said, which no command does there, when it panicked
// or got wrong flags.
func ownWords(stderr string) string {
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.Contains(line, " flag -") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// logged returns the last error in the JSON objects of a --log file, which
// runsc writes one after the other without a separator.
func logged(log []byte) string {
	var last string
	dec := json.NewDecoder(bytes.NewReader(log))
	for {
		var entry struct{ Msg, Level string }
		if err := dec.Decode(&entry); err != nil {
			return last
		}
		if entry.Level == "error" && entry.Msg != "" {
			last = entry.Msg
		}
	}
}

// Kill sends signal sig to the first process of sandbox id, or, with all, to
// every process in it.
func (c Client) Kill(ctx context.Context, id string, sig syscall.Signal, all bool) error {
	args := []string{"kill"}
	if all {
		args = append(args, "--all")
	}
	_, err := c.output(ctx, append(args, id, fmt.Sprint(int(sig)))...)
	return err
}

// StatusRunning is the Status of a sandbox whose command has been started.
const StatusRunning = "running"

// Status returns the status in `runsc state ID`.
func (c Client) Status(ctx context.Context, id string) (string, error) {
	out, err := c.output(ctx, "state", id)
	if err != nil {
		return "", err
	}
	var state struct{ Status string }
	if err := json.Unmarshal(out, &state); err != nil {
		return "", fmt.Errorf("cannot read what runsc state says: %w", err)
	}
	return state.Status, nil
}

// Exec runs argv in sandbox id and returns its standard output.
func (c Client) Exec(ctx context.Context, id string, argv ...string) ([]byte, error) {
	return c.output(ctx, append([]string{"exec", id}, argv...)...)
}

// Version returns what `runsc --version` names, such as
// "gvisor-exec-v0.0.0-20260905035102-160fafc42237".
func (c Client) Version(ctx context.Context) (string, error) {
	out, err := c.output(ctx, "--version")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(out), "\n")
	version, ok := strings.CutPrefix(first, "runsc version ")
	if !ok {
		return "", fmt.Errorf("%s is not runsc: it calls itself %q", c.Path, first)
	}
	return version, nil
}

func (c Client) output(ctx context.Context, args ...string) ([]byte, error) {
	return c.outputFrom(ctx, nil, args...)
}

// outputFrom runs a verb whose standard input is stdin; nil: /dev/null.
func (c Client) outputFrom(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := c.Command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", c.Path, err)
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, &Error{Verb: args[0], Status: cmd.ProcessState.ExitCode(), Stderr: stderr.String()}
	}
	return stdout.Bytes(), nil
}

// limitedWriter keeps the first bytes and swallows the rest: what writes to it
// must neither block nor fill our memory.
type limitedWriter struct {
	w    io.Writer
	left int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	keep := p[:min(len(p), l.left)]
	l.left -= len(keep)
	if _, err := l.w.Write(keep); err != nil {
		return 0, err
	}
	return len(p), nil
}
