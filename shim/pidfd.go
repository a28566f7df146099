package shim

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// sendPidfd sends a pidfd of pid to the Unix socket at path, as runc does.
func sendPidfd(path string, pid int) error {
	fail := func(err error) error { return fmt.Errorf("cannot send a pidfd to %s: %w", path, err) }
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(pidfd)
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(socket)
	if err := unix.Connect(socket, &unix.SockaddrUnix{Name: path}); err != nil {
		return fail(err)
	}
	if err := unix.Sendmsg(socket, []byte("pidfd"), unix.UnixRights(pidfd), nil, 0); err != nil {
		return fail(err)
	}
	return nil
}

// awaitEnd returns when the process of a pidfd has ended.
func awaitEnd(pidfd int) {
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1); err != unix.EINTR {
			return
		}
	}
}
