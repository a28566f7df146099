package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// WaiterName is argv[0] of the process that stands on the host for a member of
// a pod. Engines want a pid that they can wait for, and runsc has none: the
// process of the sandbox is that of all its containers. A waiter ends when its
// container does, with its status. It also starts it: `runsc start` gives a
// member the standard descriptors that it has itself, where that of a container
// with its own sandbox are create's (gVisor v0.0.0-20260905035102).
const WaiterName = "gvisor-exec-waiter"

// The descriptors that a waiter inherits.
const (
	fdWaitOrder = 3 + iota
	fdWaitReady
)

// waitOrder is what a waiter does.
type waitOrder struct {
	ID    string
	Runsc runsc.Client
	// Sandbox is the process of the sandbox.
	Sandbox int
	// Gate is a FIFO on which wordGo comes when the container is to be started, and
	// Answer one that takes wordGo or wordNever: it has been started or not.
	Gate, Answer string
}

// The namespaces of a process are those of its main thread.
func init() {
	if len(os.Args) > 0 && os.Args[0] == WaiterName {
		runtime.LockOSThread()
	}
}

// startWaiter starts the waiter of a created container, as whose pid it counts
// from now on.
func (c *Container) startWaiter(o *CreateOptions) error {
	for _, name := range []string{gateName, answerName} {
		if err := unix.Mkfifo(c.path(name), 0o600); err != nil {
			return fmt.Errorf("cannot make a pipe: %w", err)
		}
	}
	order, orderW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer order.Close()
	defer orderW.Close()
	ready, readyW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer ready.Close()
	defer readyW.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{WaiterName}, Env: []string{}, Dir: "/",
		Stdin: o.stdio(0), Stdout: o.stdio(1), Stderr: o.stdio(2),
		ExtraFiles: []*os.File{order, readyW}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start a waiter: %w", err)
	}
	readyW.Close()
	fail := func(err error) error {
		cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	what := waitOrder{
		ID: c.runscID(), Runsc: c.Runsc, Sandbox: c.Pid, Gate: c.path(gateName), Answer: c.path(answerName),
	}
	what.Runsc.Global.Log = c.path(logName)
	if err := json.NewEncoder(orderW).Encode(what); err != nil {
		return fail(fmt.Errorf("cannot tell our waiter what to do: %w", err))
	}
	var answer string
	if err := json.NewDecoder(ready).Decode(&answer); err != nil {
		return fail(fmt.Errorf("cannot start a waiter: %w", err))
	}
	if answer != "" {
		return fail(errors.New(answer))
	}
	c.Pid = cmd.Process.Pid
	return nil
}

// Waiter is the life of a waiter. It returns the status to exit with.
func Waiter() int {
	var o waitOrder
	order, ready := os.NewFile(fdWaitOrder, "order"), os.NewFile(fdWaitReady, "ready")
	if err := json.NewDecoder(order).Decode(&o); err != nil {
		return 1 // who started us is gone
	}
	order.Close()
	// For both: then who opens the other end finds somebody as long as we live.
	// After join the paths lead nowhere.
	gate, err := os.OpenFile(o.Gate, os.O_RDWR, 0)
	toStart, answerErr := os.OpenFile(o.Answer, os.O_RDWR, 0)
	sandbox, sandboxErr := unix.PidfdOpen(o.Sandbox, 0)
	if err = errors.Join(err, answerErr, sandboxErr); err != nil {
		err = fmt.Errorf("cannot find the sandbox: %w", err)
	} else {
		err = o.join()
	}
	answer := ""
	if err != nil {
		answer = err.Error()
	}
	json.NewEncoder(ready).Encode(answer)
	ready.Close()
	if err != nil {
		return 1
	}
	ended := make(chan int, 1)
	started := make(chan struct{})
	go func() { ended <- o.follow(gate, toStart, started) }()
	dead := make(chan struct{})
	go func() { awaitEnd(sandbox); close(dead) }()
	select {
	case status := <-ended:
		return status
	case <-dead:
	}
	select {
	case <-started: // it ends with the connection to the sandbox, and may know more
		return <-ended
	default:
		return statusKilled
	}
}

// statusKilled is that of a container whose sandbox has ended.
const statusKilled = 128 + int(syscall.SIGKILL)

// join takes the main thread into the namespaces of the sandbox: who joins those
// of a container by its pid, as for `podman run --network container:NAME` or
// `podman cp`, is to come to the sandbox's, not to the host's.
func (o *waitOrder) join() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("cannot leave the namespaces of the host: %w", err)
	}
	namespaces := []struct {
		name string
		flag int
		fd   int
	}{{"net", unix.CLONE_NEWNET, -1}, {"ipc", unix.CLONE_NEWIPC, -1}, {"uts", unix.CLONE_NEWUTS, -1}, {"mnt", unix.CLONE_NEWNS, -1}}
	for i := range namespaces {
		n := &namespaces[i]
		path := fmt.Sprintf("/proc/%d/ns/%s", o.Sandbox, n.name)
		if sameNamespace(path, "/proc/self/ns/"+n.name) {
			continue // the host's, which a user may not enter again
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("cannot find the namespaces of the sandbox: %w", err)
		}
		defer unix.Close(fd)
		n.fd = fd
	}
	for _, n := range namespaces {
		if n.fd < 0 {
			continue
		}
		if err := unix.Setns(n.fd, n.flag); err != nil {
			return fmt.Errorf("cannot enter the %s namespace of the sandbox: %w", n.name, err)
		}
	}
	return nil
}

// follow starts the container when it is told to, closes started, and waits for
// its end. It runs on other threads than the main one, in the namespaces of create.
func (o *waitOrder) follow(gate, answer *os.File, started chan<- struct{}) int {
	word := make([]byte, len(wordGo))
	if _, err := gate.Read(word); err != nil || string(word) != wordGo {
		return statusKilled
	}
	gate.Close()
	if err := o.Runsc.StartWith(o.ID, [3]*os.File{os.Stdin, os.Stdout, os.Stderr}); err != nil {
		answer.WriteString(wordNever)
		return statusKilled
	}
	close(started)
	dropStdio()
	answer.WriteString(wordGo)
	answer.Close()
	runtime.LockOSThread() // for the signal comes when the thread ends
	client := o.Runsc
	client.Global.Log = "" // which is start's
	status, err := client.Wait(o.ID, runsc.WaitOpts{Attr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}})
	if err != nil {
		return statusKilled // the sandbox is gone
	}
	return status
}

// dropStdio lets go of the container's standard descriptors, whose end others wait
// for.
func dropStdio() {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	for fd := range 3 {
		unix.Dup3(null, fd, 0)
	}
	unix.Close(null)
}

// openGate lets the waiter start the container, and waits until it has.
func (c *Container) openGate() error {
	// It has a writer as long as the waiter lives, and then ends.
	answer, err := os.OpenFile(c.path(answerName), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("cannot start container %q: %w", c.ID, err)
	}
	defer answer.Close()
	if err := c.tell(gateName, wordGo); err != nil {
		return err
	}
	word := make([]byte, len(wordNever))
	n, _ := answer.Read(word)
	switch string(word[:n]) {
	case wordGo:
		return nil
	case wordNever:
		client := c.Runsc
		client.Global.Log = c.path(logName)
		if err := client.Logged("start"); err != nil {
			return err
		}
	}
	return fmt.Errorf("cannot start container %q: its waiter is gone", c.ID)
}

// awaitEnd returns when the process of a pidfd has ended.
func awaitEnd(pidfd int) {
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1); err != unix.EINTR {
			return
		}
	}
}
