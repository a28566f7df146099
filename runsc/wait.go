package runsc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"syscall"
)

// WaitOpts are the options of Wait.
type WaitOpts struct {
	// Attr is the attribute set of the runsc process.
	Attr *syscall.SysProcAttr
}

// Wait waits for the end of a started container's first process and returns its
// status, 128+N when signal N ended it. It fails when the sandbox ends before.
func (c Client) Wait(id string, o WaitOpts) (int, error) {
	cmd := c.Command("wait", id)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &limitedWriter{w: &stderr, left: 64 << 10}
	cmd.SysProcAttr = o.Attr
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot run %s: %w", c.Path, err)
	}
	if err := cmd.Wait(); err != nil {
		return 0, &Error{Verb: "wait", Status: cmd.ProcessState.ExitCode(), Stderr: stderr.String()}
	}
	var result struct{ ExitStatus int }
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		return 0, fmt.Errorf("cannot read what runsc wait says: %w", err)
	}
	return result.ExitStatus, nil
}
