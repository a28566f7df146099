package shim

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is what /proc/PID/stat says of one.
type process struct {
	// dead: a zombie, or about to vanish.
	dead bool
	// stopped, as by SIGSTOP.
	stopped bool
	// start is when it started, in ticks after the boot of the host.
	start uint64
}

// The fields of /proc/PID/stat behind the name, counted from the state.
const fieldStart = 19

// isAlive reports whether pid is the process that started at start, and runs.
func isAlive(pid int, start uint64) bool {
	p, err := readProcess(pid)
	return err == nil && !p.dead && p.start == start
}

// dyingTimeout is how long kill waits for what it has killed to be gone.
const dyingTimeout = 2 * time.Second

// kill kills pid, and waits for its end, if it is the process that started at
// start, and no other that has got its number since.
func kill(pid int, start uint64) {
	if pid <= 0 {
		return
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(pidfd)
	if isAlive(pid, start) {
		unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
		// The call may be interrupted; what is left to wait is short then.
		unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(dyingTimeout.Milliseconds()))
	}
}

func readProcess(pid int) (process, error) {
	if pid <= 0 {
		return process{}, fmt.Errorf("no process %d", pid)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) <= fieldStart {
		return process{}, fmt.Errorf("cannot read /proc/%d/stat", pid)
	}
	p := process{dead: strings.ContainsAny(fields[0], "ZXx"), stopped: fields[0] == "T"}
	p.start, err = strconv.ParseUint(fields[fieldStart], 10, 64)
	return p, err
}
