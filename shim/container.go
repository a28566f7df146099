package shim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/internal/bridge"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// Status is where a container is in its life, in runc's words.
type Status string

// The statuses of a container.
const (
	Creating Status = "creating"
	Created  Status = "created"
	Running  Status = "running"
	Paused   Status = "paused"
	Stopped  Status = "stopped"
)

// Container is an OCI container, from its create to its delete. Each verb is a
// process of its own, so everything that a later one needs is on disk, in the
// container's directory:
//
//	state.json   what this file says of it
//	bundle/      the adapted config.json
//	runsc/       runsc's own state: a root per container, so that no id is
//	             ever taken for the beginning of another
//
// Load a Container, or Create one.
type Container struct {
	saved
	dir string
	// held says that this process has the container's lock.
	held bool
}

// saved is state.json.
type saved struct {
	OCIVersion  string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Owner       string            `json:"owner"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Pid is the sandbox's process, and PidStart tells it from a later one
	// with the same number.
	Pid      int    `json:"pid"`
	PidStart uint64 `json:"pidStart"`
	// Creator is the process of create, as long as it makes the container.
	Creator      int    `json:"creator,omitempty"`
	CreatorStart uint64 `json:"creatorStart,omitempty"`
	// Status is that of the last verb; a sandbox whose process is gone is
	// stopped, whatever it says. InDoubt: a verb was about to change it, and
	// did not come to write the outcome.
	Status  Status `json:"status"`
	InDoubt bool   `json:"inDoubt,omitempty"`
	// Runsc has the binary and the flags that create chose.
	Runsc runsc.Client `json:"runsc"`
	// AutoNetwork: what the network namespace has decides at start.
	AutoNetwork bool `json:"autoNetwork,omitempty"`
	// Proxied: somebody may publish ports from inside the network namespace,
	// which is the one at NetworkPath; Bridges are what that took. See ports.go.
	Proxied     bool            `json:"proxied,omitempty"`
	NetworkPath string          `json:"networkPath,omitempty"`
	Bridges     *bridge.Bridges `json:"bridges,omitempty"`
	// Cgroup is the one that is made for the container; see cgroup.go.
	Cgroup string `json:"cgroup,omitempty"`
	// NoCgroups says why cgroups are left alone; empty: they are not.
	NoCgroups string `json:"noCgroups,omitempty"`
	// Sandbox is the container whose sandbox this one shares; see pod.go.
	Sandbox string `json:"sandbox,omitempty"`
	// Inner is runsc's id of it, if that is another.
	Inner string `json:"inner,omitempty"`
	// NoProcess: there is nothing to start.
	NoProcess bool `json:"noProcess,omitempty"`
	// Waiting is the pid of a `runsc run` that waits for start; see preserve.go.
	Waiting int `json:"waiting,omitempty"`
	// Pending are signals for a paused container.
	Pending []int `json:"pending,omitempty"`
	// Hooks that are still to run, and Process, of which exec takes what it is
	// not told.
	Hooks   specs.Hooks    `json:"hooks"`
	Process *specs.Process `json:"process"`
}

// State is what the verbs state and list print: runc's fields.
type State struct {
	OCIVersion  string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      Status            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

// The names in a container's directory.
const (
	stateName   = "state.json"
	bundleName  = "bundle"
	runscName   = "runsc"
	emptyName   = "empty" // a file that masks others
	pidName     = "pid"   // what runsc writes of its sandbox
	logName     = "log"   // runsc's errors during create
	readyName   = "ready" // for these two see preserve.go
	releaseName = "release"
)

// sharedName is what runsc shares between the containers of a root; no id
// contains an @.
const sharedName = "@shared"

// containersName is the directory of the containers in our state directory,
// which the sweep of fresh sandboxes leaves alone.
const containersName = "oci"

// ContainersRoot returns the directory of the containers of the caller, unless
// --root says another; it makes none but its own parents.
func ContainersRoot(h Host) (string, error) {
	state, once, err := stateDir(h)
	switch {
	case err != nil:
		return "", err
	case once:
		os.Remove(state)
		return "", errors.New("cannot keep containers in /tmp: set XDG_RUNTIME_DIR or give --root")
	}
	return filepath.Join(state, containersName), nil
}

// NotExistError says that there is no container of this name.
type NotExistError struct{ ID string }

// Error has the words that callers of runc look for.
func (e *NotExistError) Error() string { return fmt.Sprintf("container %q does not exist", e.ID) }

// validID is what runc takes, but for a dash at the beginning, which runsc would
// take for a flag.
var validID = regexp.MustCompile(`^[\w+.][\w+\-.]*$`)

func checkID(id string) error {
	if id == "." || id == ".." || !validID.MatchString(id) || len(id) > 255 {
		return fmt.Errorf("invalid container ID format: %q", id)
	}
	return nil
}

// Load finds the container id in root.
func Load(root, id string) (*Container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if err := checkRoot(root); err != nil {
		return nil, err
	}
	c := &Container{dir: filepath.Join(root, id)}
	data, err := os.ReadFile(c.path(stateName))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, &NotExistError{ID: id}
	case err != nil:
		return nil, fmt.Errorf("cannot load container %q: %w", id, err)
	}
	if err := json.Unmarshal(data, &c.saved); err != nil {
		return nil, fmt.Errorf("cannot load container %q: %w", id, err)
	}
	return c, nil
}

// List returns the containers in root, by name.
func List(root string) ([]*Container, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the containers: %w", err)
	}
	var list []*Container
	for _, e := range entries {
		if checkID(e.Name()) != nil {
			continue
		}
		// One that is just being made or removed is none.
		if c, err := Load(root, e.Name()); err == nil {
			list = append(list, c)
		}
	}
	return list, nil
}

func (c *Container) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// inner is runsc's id of the container.
func (c *Container) inner() string { return cmp.Or(c.Inner, c.ID) }

// save writes state.json, for others at once or not at all.
func (c *Container) save() error {
	data, err := json.Marshal(c.saved)
	if err == nil {
		err = writeAtomic(c.path(stateName), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot save the state of container %q: %w", c.ID, err)
	}
	return nil
}

// writeAtomic makes path a file with data, or leaves it as it was.
func writeAtomic(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// alive reports whether the sandbox's process runs. One that nobody has waited
// for yet, as under a lazy init, is dead; runsc calls it running.
func (c *Container) alive() bool { return isAlive(c.Pid, c.PidStart) }

// status is where the container is now.
func (c *Container) status() Status {
	if c.saved.Status == Creating {
		if !c.held && c.locked() {
			return Creating
		}
		return Stopped // its create was killed
	}
	if c.saved.Status == Stopped || !c.alive() {
		return Stopped
	}
	if c.InDoubt {
		// A verb was killed half way. runsc knows how far it came.
		if s, err := c.Runsc.Status(context.Background(), c.inner()); err == nil {
			return Status(s)
		}
	}
	return c.saved.Status
}

// State describes the container.
func (c *Container) State() State {
	s := State{
		OCIVersion: c.OCIVersion, ID: c.ID, Pid: c.Pid, Status: c.status(), Bundle: c.Bundle, Rootfs: c.Rootfs,
		Created: c.Created, Annotations: c.Annotations, Owner: c.Owner,
	}
	if s.Status == Stopped {
		s.Pid = 0
	}
	return s
}

// change runs do, which makes the container's status s if it succeeds.
func (c *Container) change(s Status, do func() error) error {
	c.InDoubt = true
	if err := c.save(); err != nil {
		return err
	}
	if err := do(); err != nil {
		// It is what it was, as far as a failure lets one know.
		return errors.Join(err, c.settle(c.saved.Status))
	}
	return c.settle(s)
}

func (c *Container) settle(s Status) error {
	c.saved.Status, c.InDoubt = s, false
	return c.save()
}

// lock keeps other verbs that change the container out until the file is closed,
// and reads what the last of them has written.
func (c *Container) lock() (*os.File, error) {
	f, err := lockIn(c.dir, 0, unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotExistError{ID: c.ID}
	}
	if err != nil {
		return nil, err
	}
	now, err := Load(filepath.Dir(c.dir), c.ID)
	if err != nil {
		f.Close()
		return nil, err
	}
	c.saved, c.held = now.saved, true
	return f, nil
}

// locked reports whether a verb is at work on the container.
func (c *Container) locked() bool {
	f, err := lockIn(c.dir, 0, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, unix.EWOULDBLOCK)
}
