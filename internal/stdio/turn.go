package stdio

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// turn waits for the moment to read a descriptor: there is something to read,
// or its end, and, if it is a terminal, we are in its foreground. The kernel
// would stop us otherwise, also where the command reads nothing.
type turn struct {
	fd  int
	tty bool
	// r ends a wait when something is written to w, or w is closed.
	r, w *os.File
}

func newTurn(fd int) (*turn, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &turn{fd: fd, tty: term.IsTerminal(fd), r: r, w: w}, nil
}

// backgroundWait is how often a process in the background of its terminal
// looks whether it has come to the foreground; no event says so.
const backgroundWait = 100 * time.Millisecond

// await waits for the turn, and reports false when end was called. Whenever it
// finds us in the foreground it calls entered, which may be nil.
func (t *turn) await(entered func()) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(t.r.Fd()), Events: unix.POLLIN}}
		timeout := backgroundWait
		if t.foreground() {
			if entered != nil {
				entered()
			}
			fds = append(fds, unix.PollFd{Fd: int32(t.fd), Events: unix.POLLIN})
			timeout = Forever
		}
		poll(timeout, fds...)
		if fds[0].Revents&unix.POLLIN != 0 {
			var pokes [16]byte
			t.r.Read(pokes[:])
			continue
		}
		if fds[0].Revents != 0 {
			return false
		}
		if len(fds) > 1 && fds[1].Revents != 0 && t.foreground() {
			return true
		}
	}
}

// poke makes await look again whether we are in the foreground.
func (t *turn) poke() { t.w.Write([]byte{0}) }

// end makes await report false, now and later.
func (t *turn) end() { t.w.Close() }

// close is the last call.
func (t *turn) close() { t.r.Close() }

// foreground reports whether reading would not stop us: it is no terminal of
// ours, or we are its foreground.
func (t *turn) foreground() bool {
	if !t.tty {
		return true
	}
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// poll waits for one of fds, which it changes, for timeout at most.
func poll(timeout time.Duration, fds ...unix.PollFd) {
	ms := -1
	if timeout != Forever {
		ms = int(timeout.Milliseconds())
	}
	for {
		if _, err := unix.Poll(fds, ms); err != unix.EINTR {
			return
		}
	}
}

// Foreground reports whether the calling process is in the foreground of its
// controlling terminal: what a key sends there, all of its group get.
func Foreground() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
