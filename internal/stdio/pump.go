package stdio

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const bufferSize = 128 << 10

// output carries what the sandbox writes to a pipe to the caller's descriptor,
// at the caller's offset.
type output struct {
	fd   int
	pipe *os.File
	err  error
}

func (o *output) run() {
	defer o.pipe.Close()
	buf := make([]byte, bufferSize)
	for {
		n, err := o.pipe.Read(buf)
		if n > 0 {
			if werr := writeAll(o.fd, buf[:n]); werr != nil {
				// Closing the pipe gives the command a SIGPIPE. A reader that
				// went away is no error of ours; a full disk is.
				if !errors.Is(werr, unix.EPIPE) {
					o.err = fmt.Errorf("cannot write to descriptor %d: %w", o.fd, werr)
				}
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// writeAll writes all of p to fd, which may be non-blocking.
func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			poll(Forever, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT})
		case err != nil:
			return err
		default:
			p = p[n:]
		}
	}
	return nil
}

// input carries the caller's descriptor into a pipe that the sandbox reads.
type input struct {
	fd   int
	pipe *os.File
	// start is the offset of a regular file at the beginning; -1: fd is none.
	start int64
	// turn is our turn to read it.
	turn    *turn
	done    chan struct{}
	written int64
}

func newInput(fd int, pipe *os.File) (*input, error) {
	in := &input{fd: fd, pipe: pipe, start: -1, done: make(chan struct{})}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		off, err := unix.Seek(fd, 0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		in.start = off
	}
	var err error
	in.turn, err = newTurn(fd)
	return in, err
}

func (in *input) run() {
	defer close(in.done)
	buf := make([]byte, bufferSize)
	for {
		n, err := in.read(buf)
		if n == 0 || err != nil {
			break
		}
		if !in.write(buf[:n]) {
			return // finish looks at the pipe
		}
	}
	if in.start < 0 {
		in.pipe.Close()
		return
	}
	// A file's pipe is needed for finish; EOF must come through all the same.
	in.dropWriter()
}

// dropWriter closes the writing end of the pipe, so that the sandbox sees the
// end of the file, and keeps a reading end, on which finish counts what is left.
func (in *input) dropWriter() {
	n, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", in.pipe.Fd()), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	reader := os.NewFile(uintptr(n), in.pipe.Name())
	in.pipe.Close()
	in.pipe = reader
}

// read reads a regular file without moving its offset, and anything else when
// there is something and, on a terminal, when it is our turn.
func (in *input) read(buf []byte) (int, error) {
	for {
		var n int
		var err error
		if in.start >= 0 {
			n, err = unix.Pread(in.fd, buf, in.start+in.written)
		} else {
			if !in.turn.await(nil) {
				return 0, nil
			}
			n, err = unix.Read(in.fd, buf)
		}
		if err != unix.EINTR && err != unix.EAGAIN {
			return n, err
		}
	}
}

// write counts exactly what went into the pipe.
func (in *input) write(p []byte) bool {
	for len(p) > 0 {
		n, err := in.pipe.Write(p)
		in.written += int64(n)
		if err != nil {
			return false
		}
		p = p[n:]
	}
	return true
}

// finish ends the pump and moves the offset of a regular file behind the last
// byte that the sandbox, which is gone, took out of the pipe.
func (in *input) finish() error {
	in.turn.end()
	<-in.done
	in.turn.close()
	defer in.pipe.Close()
	if in.start < 0 {
		return nil
	}
	left, err := unix.IoctlGetInt(int(in.pipe.Fd()), unix.TIOCINQ)
	if err != nil {
		return fmt.Errorf("cannot find out what was read of descriptor %d: %w", in.fd, err)
	}
	if _, err := unix.Seek(in.fd, in.start+in.written-int64(left), io.SeekStart); err != nil {
		return fmt.Errorf("cannot move the offset of descriptor %d: %w", in.fd, err)
	}
	return nil
}
