package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/internal/hostfs"
	"github.com/gvisor-exec/gvisor-exec/internal/probe"
	"github.com/gvisor-exec/gvisor-exec/internal/userns"
)

// StageName is argv[0] of a process that is to become runsc inside a user
// namespace of ours. The namespace lives as long as the sandbox in it.
const StageName = "gvisor-exec-stage"

// The descriptors that a stage inherits: its order, then those of runsc, from 0
// on.
const (
	fdStageOrder = 3 + iota
	fdStageFiles
)

// stageOrder is what a stage executes.
type stageOrder struct {
	Path      string
	Args, Env []string
	// Files is the number of descriptors of runsc.
	Files int
	// Log takes an error of the stage, as runsc's own log would.
	Log string
}

// startStage starts cmd in a user namespace with the mappings that the spec
// asked for. It returns the process to wait for.
func startStage(cmd *exec.Cmd, log string, a *bundle.Adapted) (*exec.Cmd, error) {
	files := []*os.File{cmd.Stdin.(*os.File), cmd.Stdout.(*os.File), cmd.Stderr.(*os.File)}
	files = append(files, cmd.ExtraFiles...)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer r.Close()
	defer w.Close()
	opts := userns.Options{Args: []string{StageName}, Files: append([]*os.File{r}, files...), User: true, SharePID: true}
	if err := mapIDs(&opts, a); err != nil {
		return nil, err
	}
	stage, err := userns.Start(opts)
	if err != nil {
		return nil, explainStage(err, a)
	}
	err = json.NewEncoder(w).Encode(stageOrder{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Files: len(files), Log: log})
	if err != nil {
		stage.Process.Kill()
		stage.Wait()
		return nil, fmt.Errorf("cannot tell our stage what to do: %w", err)
	}
	return stage, nil
}

// explainStage says what can be done where a user namespace cannot be made.
func explainStage(err error, a *bundle.Adapted) error {
	var closed *userns.Error
	switch {
	case errors.As(err, &closed):
		return &Failure{err: err, Hint: probe.UserNamespaces().Fix}
	case len(a.UIDs)+len(a.GIDs) > 0:
		return &Failure{err: err, Hint: hintRanges}
	}
	return err
}

// mapIDs chooses the mappings of the namespace: the spec's, or the caller as 0
// and from 1 on the ids that are subordinate to him, if there are any.
func mapIDs(opts *userns.Options, a *bundle.Adapted) error {
	if len(a.UIDs) > 0 || len(a.GIDs) > 0 {
		opts.UIDs, opts.GIDs = idMaps(a.UIDs), idMaps(a.GIDs)
		return nil
	}
	if ranges, err := userns.SubordinateRanges(); err == nil {
		opts.Ranges = ranges
	}
	return nil
}

func idMaps(list []specs.LinuxIDMapping) (maps []userns.Map) {
	for _, m := range list {
		maps = append(maps, userns.Map{Inside: int(m.ContainerID), Outside: int(m.HostID), Size: int(m.Size)})
	}
	return maps
}

// Stage is the life of a stage. It returns only if it failed, and its caller
// exits with the status that is returned.
func Stage() int {
	var order stageOrder
	if err := json.NewDecoder(os.NewFile(fdStageOrder, "order")).Decode(&order); err != nil {
		return 1 // who started us is gone
	}
	err := order.become()
	line, _ := json.Marshal(map[string]any{"level": "error", "msg": err.Error(), "time": time.Now()})
	os.WriteFile(order.Log, line, 0o600)
	return 1
}

// become turns the process into runsc.
func (o *stageOrder) become() error {
	if err := userns.BecomeRoot(); err != nil {
		return err
	}
	if err := hostfs.Private(); err != nil {
		return err
	}
	// Each descriptor is moved down over one that is not needed any more.
	for fd := range o.Files {
		if err := unix.Dup3(fdStageFiles+fd, fd, 0); err != nil && err != unix.EBADF { // some are not open
			return fmt.Errorf("cannot move descriptor %d: %w", fd, err)
		}
	}
	unix.CloseRange(uint(o.Files), ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	return fmt.Errorf("cannot run %s: %w", o.Path, syscall.Exec(o.Path, o.Args, o.Env))
}
