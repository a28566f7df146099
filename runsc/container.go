package runsc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// This file has the verbs of a container's life, in the order of that life.
// Those whose process is handed to somebody else, or waited for long, return an
// unstarted command; Client.Explain tells why such a one failed.

// CreateOpts are the options of CreateCommand.
type CreateOpts struct {
	// Bundle is the directory that holds config.json.
	Bundle string
	// PIDFile takes the pid of the sandbox; empty: none is written.
	PIDFile string
	// ConsoleSocket is the path of a Unix socket that gets the terminal of a
	// spec that asks for one.
	ConsoleSocket string
	// Inherit are files that runsc, but not the sandbox, gets and keeps open.
	Inherit []*os.File
	// Null is /dev/null. It makes a start faster (see stdioFD); nil: it does not.
	Null *os.File
}

func (o CreateOpts) args() []string {
	args := []string{"--bundle=" + o.Bundle}
	if o.ConsoleSocket != "" {
		args = append(args, "--console-socket="+o.ConsoleSocket)
	}
	if o.PIDFile != "" {
		args = append(args, "--pid-file="+o.PIDFile)
	}
	return args
}

// CreateCommand is `runsc create ID`, whose stdio will be the container's.
func (c Client) CreateCommand(id string, o CreateOpts) *exec.Cmd {
	cmd := c.Command(append(append([]string{"create"}, o.args()...), id)...)
	cmd.ExtraFiles = o.Inherit
	if o.Null != nil {
		cmd.ExtraFiles = withRoom(o.Inherit, o.Null)
	}
	return cmd
}

// DetachedOpts are the options of RunDetachedCommand.
type DetachedOpts struct {
	CreateOpts
	// PassFDs are descriptor numbers that the command and the container have in
	// common.
	PassFDs []int
}

func (o DetachedOpts) args() []string {
	args := append([]string{"--detach"}, o.CreateOpts.args()...)
	return append(args, passFDs(o.PassFDs)...)
}

func passFDs(fds []int) (args []string) {
	for _, fd := range fds {
		args = append(args, fmt.Sprintf("--pass-fd=%d:%d", fd, fd))
	}
	return args
}

// RunDetachedCommand is `runsc run --detach ID`: create and start in one.
func (c Client) RunDetachedCommand(id string, o DetachedOpts) *exec.Cmd {
	return c.Command(append(append([]string{"run"}, o.args()...), id)...)
}

// StartCommand is `runsc start ID`, whose stdio is that of a container in a
// sandbox that another has made.
func (c Client) StartCommand(id string) *exec.Cmd { return c.Command("start", id) }

// Wait waits for the end of a container and returns its status.
func (c Client) Wait(ctx context.Context, id string) (int, error) {
	out, err := c.output(ctx, "wait", id)
	if err != nil {
		return 0, err
	}
	var result struct{ ExitStatus int }
	if err := json.Unmarshal(out, &result); err != nil {
		return 0, fmt.Errorf("cannot read what runsc wait says: %w", err)
	}
	return result.ExitStatus, nil
}

// Start starts the command of a created container.
func (c Client) Start(ctx context.Context, id string) error {
	_, err := c.output(ctx, "start", id)
	return err
}

// RestoreOpts are the options of Restore.
type RestoreOpts struct {
	// Bundle is the directory that holds config.json.
	Bundle string
	// ImagePath is the directory of the checkpoint.
	ImagePath string
}

func (o RestoreOpts) args() []string {
	return []string{"--detach", "--bundle=" + o.Bundle, "--image-path=" + o.ImagePath}
}

// Restore starts a created container from a checkpoint.
func (c Client) Restore(ctx context.Context, id string, o RestoreOpts) error {
	_, err := c.output(ctx, append(append([]string{"restore"}, o.args()...), id)...)
	return err
}

// KillProcess sends sig to the process that is pid inside the sandbox.
func (c Client) KillProcess(ctx context.Context, id string, sig syscall.Signal, pid int) error {
	_, err := c.output(ctx, "kill", "--pid="+strconv.Itoa(pid), id, strconv.Itoa(int(sig)))
	return err
}

// ExecOpts are the options of ExecCommand.
type ExecOpts struct {
	// Process is the path of a file that holds a specs.Process. Only that form
	// keeps every argument as it is: `exec --detach` drops those that contain
	// "detach" (gVisor v0.0.0-20260905035102, cmd/exec.go).
	Process string
	// PIDFile takes the pid of the runsc process once the command runs, and
	// InternalPIDFile that of the command inside the sandbox.
	PIDFile, InternalPIDFile string
	// PassFDs maps the command's descriptor numbers to files of ours, 0, 1 and
	// 2 among them, so that runsc's own messages go elsewhere.
	PassFDs map[int]*os.File
}

func (o ExecOpts) args() (args []string, files []*os.File) {
	args = []string{"--process=" + o.Process}
	if o.PIDFile != "" {
		args = append(args, "--pid-file="+o.PIDFile)
	}
	if o.InternalPIDFile != "" {
		args = append(args, "--internal-pid-file="+o.InternalPIDFile)
	}
	more, files := passFiles(o.PassFDs)
	return append(args, more...), files
}

// ExecCommand is `runsc exec ID`, which exits as the process in the sandbox does.
// Its own stdio is /dev/null; descriptor FirstPassFD is the lowest-numbered of
// the files that it passes.
func (c Client) ExecCommand(id string, o ExecOpts) *exec.Cmd {
	args, files := o.args()
	cmd := c.Command(append(append([]string{"exec"}, args...), id)...)
	cmd.ExtraFiles = files
	return cmd
}

// Process is a line of `runsc ps`, as far as --format=table has it.
type Process struct {
	UID, PID, PPID, PGID, C int
	TTY, STime, Time, Cmd   string
}

// Processes returns the processes of a container, with the pids inside.
func (c Client) Processes(ctx context.Context, id string) ([]Process, error) {
	out, err := c.output(ctx, "ps", "--format=table", id)
	if err != nil {
		return nil, err
	}
	// The JSON form has the pids alone (gVisor v0.0.0-20260905035102).
	return parseProcesses(string(out))
}

func parseProcesses(table string) ([]Process, error) {
	var list []Process
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		if i == 0 {
			continue // the heading
		}
		fields := strings.Fields(line)
		if len(fields) < 8 {
			return nil, fmt.Errorf("cannot read what runsc ps says: %q", line)
		}
		var p Process
		for j, dst := range []*int{&p.UID, &p.PID, &p.PPID, &p.PGID, &p.C} {
			n, err := strconv.Atoi(fields[j])
			if err != nil {
				return nil, fmt.Errorf("cannot read what runsc ps says: %q", line)
			}
			*dst = n
		}
		p.TTY, p.STime, p.Time, p.Cmd = fields[5], fields[6], fields[7], strings.Join(fields[8:], " ")
		list = append(list, p)
	}
	return list, nil
}

// Pause stops every process of a container.
func (c Client) Pause(ctx context.Context, id string) error {
	_, err := c.output(ctx, "pause", id)
	return err
}

// Resume lets a paused container go on.
func (c Client) Resume(ctx context.Context, id string) error {
	_, err := c.output(ctx, "resume", id)
	return err
}

// Update changes the limits of a container to those in resources, a JSON
// specs.LinuxResources.
func (c Client) Update(ctx context.Context, id string, resources io.Reader) error {
	_, err := c.outputFrom(ctx, resources, "update", "--resources=-", id)
	return err
}

// Stats returns the event `stats` of a container, in JSON.
func (c Client) Stats(ctx context.Context, id string) (json.RawMessage, error) {
	out, err := c.output(ctx, "events", "--stats", id)
	return bytes.TrimSpace(out), err
}

// CheckpointOpts are the options of Checkpoint.
type CheckpointOpts struct {
	// ImagePath is the directory that gets the checkpoint.
	ImagePath string
	// LeaveRunning lets the container go on afterwards.
	LeaveRunning bool
}

func (o CheckpointOpts) args() []string {
	args := []string{"--image-path=" + o.ImagePath}
	if o.LeaveRunning {
		args = append(args, "--leave-running")
	}
	return args
}

// Checkpoint writes the state of a container's processes to a directory.
func (c Client) Checkpoint(ctx context.Context, id string, o CheckpointOpts) error {
	_, err := c.output(ctx, append(append([]string{"checkpoint"}, o.args()...), id)...)
	return err
}

// DeleteOpts are the options of Delete.
type DeleteOpts struct {
	// Force kills what still runs.
	Force bool
}

func (o DeleteOpts) args() []string {
	if o.Force {
		return []string{"--force"}
	}
	return nil
}

// Delete removes what runsc keeps of a container.
func (c Client) Delete(ctx context.Context, id string, o DeleteOpts) error {
	_, err := c.output(ctx, append(append([]string{"delete"}, o.args()...), id)...)
	return err
}

// Explain returns why a command of verb that was run with c failed, given what
// waiting for it returned and the file that was its --log. Where runsc itself did
// not fail it returns the status that the command exited with.
func (c Client) Explain(verb string, waited error, state *os.ProcessState) (int, error) {
	if state == nil {
		return 0, fmt.Errorf("cannot run %s: %w", c.Path, waited)
	}
	if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		return 0, &Error{Verb: verb, Status: 128 + int(status.Signal()), Msg: "killed by " + status.Signal().String()}
	}
	code := state.ExitCode()
	if code == 0 {
		return 0, nil
	}
	return code, c.Logged(verb)
}

// Logged returns the failure of verb that is in the --log file; nil: there is
// none.
func (c Client) Logged(verb string) error {
	data, err := os.ReadFile(c.Global.Log)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("cannot read runsc's log: %w", err)
	}
	if msg := logged(data); msg != "" {
		return &Error{Verb: verb, Status: ownFailure, Msg: msg}
	}
	return nil
}
