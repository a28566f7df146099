// Package stdio connects a command in a sandbox with the descriptors of its
// caller, so that neither notices the sentry in between.
//
// A Set is for files, pipes and devices; a Terminal for a command that has one.
// The sentry makes every descriptor it is given non-blocking, reads and writes
// regular files at an offset of its own and knows no job control of the host;
// so most descriptors are not passed on as they are. Start reading at Prepare.
package stdio

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Set is what a command gets for some of its caller's descriptors.
type Set struct {
	// Files maps the descriptors to what the sandbox gets in their place. They
	// belong to the Set.
	Files map[int]*os.File

	inputs   []*input
	outputs  []*output
	blocking []int // passed on as they are, and blocking before
	started  bool
	pumps    sync.WaitGroup
}

// Prepare decides for each of fds, by what it is open on. One that is closed is
// left out. After Start and Finish nothing of the Set remains.
func Prepare(fds []int) (*Set, error) {
	s := &Set{Files: map[int]*os.File{}}
	for _, fd := range fds {
		if err := s.add(fd); err != nil {
			s.closeFiles()
			return nil, fmt.Errorf("cannot pass on descriptor %d: %w", fd, err)
		}
	}
	return s, nil
}

func (s *Set) add(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil // closed
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		// The sentry takes none; read(2) fails on it in both places.
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err == nil {
			s.Files[fd] = null
		}
		return err
	}
	mode := flags & unix.O_ACCMODE
	tty := st.Mode&unix.S_IFMT == unix.S_IFCHR && term.IsTerminal(fd)
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFREG && mode == unix.O_RDWR && fd > 2:
		return s.dup(fd)
	case st.Mode&unix.S_IFMT == unix.S_IFREG:
		if mode == unix.O_RDONLY || mode == unix.O_RDWR && fd == 0 {
			return s.addInput(fd)
		}
		return s.addOutput(fd)
	case tty && fd == 0:
		// Only we may read it: the kernel stops us where we are in the
		// background, and could not stop the sandbox.
		return s.addInput(fd)
	case tty:
		return s.reopen(fd, unix.O_WRONLY, unix.O_WRONLY)
	case st.Mode&unix.S_IFMT == unix.S_IFIFO:
		return s.reopen(fd, mode, mode)
	}
	return s.share(fd)
}

// share passes on what the caller has. The sentry makes it non-blocking, which
// shows in what the caller shares with others, until Finish.
func (s *Set) share(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	if flags&unix.O_NONBLOCK == 0 {
		s.blocking = append(s.blocking, fd)
	}
	return s.dup(fd)
}

// pass makes f what the sandbox gets for fd. The sentry takes the O_NONBLOCK of
// a host descriptor for the command's own wish, so it must not be set.
func (s *Set) pass(fd int, f *os.File) error {
	s.Files[fd] = f
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		return fmt.Errorf("cannot make it blocking: %w", err)
	}
	return nil
}

func (s *Set) dup(fd int) error {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	s.Files[fd] = os.NewFile(uintptr(n), fmt.Sprintf("descriptor %d", fd))
	return nil
}

// reopen gives the sandbox an open file description of its own on the same
// pipe or terminal: it will make it non-blocking, and that must not show in
// what the caller shares with others. Where that cannot be, for a pipe of another
// user, as under su, or one that nobody reads any more, output has a pump, and
// input is shared: a pump would read ahead of the command.
func (s *Set) reopen(fd, flags, mode int) error {
	n, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return s.pass(fd, os.NewFile(uintptr(n), fmt.Sprintf("descriptor %d", fd)))
	case mode == unix.O_RDONLY:
		return s.share(fd)
	default:
		return s.addOutput(fd)
	}
}

func (s *Set) addInput(fd int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	in, err := newInput(fd, w)
	if err != nil {
		r.Close()
		w.Close()
		return err
	}
	s.inputs = append(s.inputs, in)
	return s.pass(fd, r)
}

func (s *Set) addOutput(fd int) error {
	// Descriptors that share one open file, as after 2>&1, share one pipe, so
	// that what is written keeps its order.
	for _, out := range s.outputs {
		if sameFile(out.fd, fd) {
			return s.dupFile(fd, s.Files[out.fd])
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	s.outputs = append(s.outputs, &output{fd: fd, pipe: r})
	return s.pass(fd, w)
}

func (s *Set) dupFile(fd int, f *os.File) error {
	n, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	s.Files[fd] = os.NewFile(uintptr(n), f.Name())
	return nil
}

// sameFile reports whether a and b are one open file description, by kcmp(2);
// where that is not allowed, whether they are at one place of one file.
func sameFile(a, b int) bool {
	const kcmpFile = 0
	pid := uintptr(os.Getpid())
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, kcmpFile, uintptr(a), uintptr(b), 0)
	if errno == 0 {
		return r == 0
	}
	var sa, sb unix.Stat_t
	if unix.Fstat(a, &sa) != nil || unix.Fstat(b, &sb) != nil || sa.Dev != sb.Dev || sa.Ino != sb.Ino {
		return false
	}
	offA, errA := unix.Seek(a, 0, unix.SEEK_CUR)
	offB, errB := unix.Seek(b, 0, unix.SEEK_CUR)
	flA, _ := unix.FcntlInt(uintptr(a), unix.F_GETFL, 0)
	flB, _ := unix.FcntlInt(uintptr(b), unix.F_GETFL, 0)
	return errA == nil && errB == nil && offA == offB && flA == flB
}

// Start begins to carry data. Files are closed on our side: whoever is to have
// them has been started.
func (s *Set) Start() {
	s.closeFiles()
	s.started = true
	for _, in := range s.inputs {
		go in.run()
	}
	for _, out := range s.outputs {
		s.pumps.Go(out.run)
	}
}

// Resume is to be called after we were stopped: we may be in the foreground of
// a terminal or not.
func (s *Set) Resume() {
	for _, in := range s.inputs {
		in.turn.poke()
	}
}

// Finish carries what the sandbox, which is gone, has written last; puts the
// offsets of files that it read to where it stopped; and returns the first
// write that failed. It may be called without Start: nothing was carried then.
// Output that nobody takes within patience is lost.
func (s *Set) Finish(patience time.Duration) error {
	s.closeFiles()
	if !s.started {
		for _, in := range s.inputs {
			close(in.done)
		}
		for _, out := range s.outputs {
			out.pipe.Close()
		}
	}
	done := make(chan struct{})
	go func() {
		s.pumps.Wait()
		close(done)
	}()
	var errs []error
	if within(patience, done) {
		for _, out := range s.outputs {
			errs = append(errs, out.err)
		}
	}
	for _, in := range s.inputs {
		errs = append(errs, in.finish())
	}
	for _, fd := range s.blocking {
		unix.SetNonblock(fd, false)
	}
	return errors.Join(errs...)
}

// Forever is the patience that never ends.
const Forever time.Duration = -1

// within waits for done, for patience at most, and reports whether it came.
func within(patience time.Duration, done <-chan struct{}) bool {
	if patience == Forever {
		<-done
		return true
	}
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}

func (s *Set) closeFiles() {
	for _, f := range s.Files {
		f.Close()
	}
	clear(s.Files)
}
