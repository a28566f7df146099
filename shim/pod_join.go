package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
)

// mayJoin says why a container is not to share the sandbox that its spec asks
// for; empty: it is to. In one of its own it is shut in all the better. Where a
// pod has no infra container, podman names a sandbox that nobody has made.
func mayJoin(o *CreateOptions, a *bundle.Adapted) (why string, err error) {
	first, err := Load(o.Root, a.Sandbox)
	var unknown *NotExistError
	switch {
	case errors.As(err, &unknown):
		return err.Error(), nil
	case err != nil:
		return "", fmt.Errorf("cannot join the pod's sandbox: %w", err)
	case first.status() == Stopped:
		return "", nil // which is for join to say
	}
	path := networkPath(a.Spec)
	if networkNamespace(a.Spec) < 0 {
		path = ownNetwork
	}
	if !sameNamespace(path, fmt.Sprintf("/proc/%d/ns/net", first.Pid)) {
		return "its network is another, and a sandbox has but one", nil
	}
	return "", nil
}

// The namespaces of a process are those of its main thread.
func init() {
	if len(os.Args) > 0 && os.Args[0] == WaiterName {
		runtime.LockOSThread()
	}
}

// enterNamespaces takes the main thread, which calls it, into the namespaces of
// the process sandbox. Who joins those of a container by its pid, as `podman cp`
// and `podman run --network container:NAME` do, is to come to the sandbox's: in
// the waiter's own podman cp would read and write the host's files. The other
// threads stay where they are.
func enterNamespaces(sandbox int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("cannot leave the namespaces of the host: %w", err)
	}
	var fds, flags []int
	for _, n := range []struct {
		name string
		flag int
	}{{"net", unix.CLONE_NEWNET}, {"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS}, {"mnt", unix.CLONE_NEWNS}} {
		path := fmt.Sprintf("/proc/%d/ns/%s", sandbox, n.name)
		if sameNamespace(path, "/proc/self/ns/"+n.name) {
			continue // the host's, which a user may not enter again
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("cannot find the namespaces of the sandbox: %w", err)
		}
		defer unix.Close(fd)
		fds, flags = append(fds, fd), append(flags, n.flag)
	}
	for i, fd := range fds {
		if err := unix.Setns(fd, flags[i]); err != nil {
			return fmt.Errorf("cannot enter the namespaces of the sandbox: %w", err)
		}
	}
	return nil
}

// tellCreate tells create, at the other end of a pipe, whether the waiter is where it
// is to be.
func tellCreate(pipe *os.File, err error) {
	answer := ""
	if err != nil {
		answer = err.Error()
	}
	json.NewEncoder(pipe).Encode(answer)
	pipe.Close()
}

// awaitReport is the other end of tellCreate.
func awaitReport(pipe *os.File) error {
	var answer string
	if err := json.NewDecoder(pipe).Decode(&answer); err != nil {
		return fmt.Errorf("cannot start a waiter: %w", err)
	}
	if answer != "" {
		return errors.New(answer)
	}
	return nil
}
