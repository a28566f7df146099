package stdio

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Terminal is a pseudo-terminal between the command and the caller's terminal.
// The command never holds the caller's own: it could read, in the background,
// what is typed for the shell.
type Terminal struct {
	// Command is the command's end. It belongs to the Terminal.
	Command *os.File

	master  *os.File
	in, out int
	turn    *turn
	inDone  chan struct{}
	outDone chan struct{}

	before *unix.Termios // of in, from the beginning; nil: it is no terminal

	started bool

	mu   sync.Mutex
	raw  bool
	done bool
}

// OpenTerminal makes a pseudo-terminal whose input comes from descriptor in and
// whose output goes to out. If in is a terminal, its settings and size are
// taken over.
func OpenTerminal(in, out int) (*Terminal, error) {
	master, command, err := openPty()
	if err != nil {
		return nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	t := &Terminal{
		Command: command, master: master, in: in, out: out,
		inDone: make(chan struct{}), outDone: make(chan struct{}),
	}
	if t.turn, err = newTurn(in); err != nil {
		master.Close()
		command.Close()
		return nil, err
	}
	// In the background the settings are those of the shell's line editor, and
	// a new terminal's own are better.
	if settings, err := unix.IoctlGetTermios(in, unix.TCGETS); err == nil {
		t.before = settings
		if t.turn.foreground() {
			unix.IoctlSetTermios(int(command.Fd()), unix.TCSETS, settings)
		}
	}
	t.Resize()
	return t, nil
}

// openPty makes our end non-blocking, so that closing it ends a read and hangs
// the other end up; pty.Open leaves it blocking.
func openPty() (master, command *os.File, err error) {
	opened, command, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	defer opened.Close()
	fd, err := unix.FcntlInt(opened.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		command.Close()
		return nil, nil, err
	}
	return os.NewFile(uintptr(fd), opened.Name()), command, nil
}

// Resize gives the command's end the size of the caller's terminal.
func (t *Terminal) Resize() {
	for _, fd := range []int{t.in, t.out} {
		if size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
			t.onMaster(func(fd int) { unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
			return
		}
	}
}

// Start begins to carry data. The command's end is closed on our side.
func (t *Terminal) Start() {
	t.Command.Close()
	t.started = true
	go t.carryIn()
	go t.carryOut()
}

// Before returns the settings of the caller's terminal as they were; nil if it
// is none.
func (t *Terminal) Before() *unix.Termios { return t.before }

// Raw hands every key to the command. In the background it does nothing; we
// come back to it in the foreground.
func (t *Terminal) Raw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done || t.raw || t.before == nil || !t.turn.foreground() {
		return
	}
	if _, err := term.MakeRaw(t.in); err == nil {
		t.raw = true
	}
}

// Resume takes the caller's terminal again after a Cooked, in the foreground.
func (t *Terminal) Resume() {
	t.Raw()
	t.Resize()
	t.turn.poke()
}

// Cooked gives the caller's terminal the settings that it had before Raw.
func (t *Terminal) Cooked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.raw {
		Restore(t.in, t.before)
		t.raw = false
	}
}

// Restore sets the terminal tty to settings.
func Restore(tty int, settings *unix.Termios) {
	// TCSETSW would wait for output that nobody may ever take.
	unix.IoctlSetTermios(tty, unix.TCSETS, settings)
}

func (t *Terminal) carryIn() {
	defer close(t.inDone)
	buf := make([]byte, bufferSize)
	for {
		if !t.turn.await(t.Raw) {
			return
		}
		n, err := unix.Read(t.in, buf)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if n <= 0 || err != nil {
			t.end()
			return
		}
		if _, err := t.master.Write(buf[:n]); err != nil {
			return
		}
	}
}

// end passes the end of the caller's input on. A terminal that is gone hangs up
// the command's. A pipe that feeds it ends as when somebody types the
// end-of-file character.
func (t *Terminal) end() {
	if _, err := unix.IoctlGetTermios(t.in, unix.TCGETS); t.before != nil && err != nil {
		t.master.Close()
		return
	}
	var settings *unix.Termios
	t.onMaster(func(fd int) { settings, _ = unix.IoctlGetTermios(fd, unix.TCGETS) })
	if settings != nil {
		t.master.Write(settings.Cc[unix.VEOF : unix.VEOF+1])
	}
}

// onMaster calls f with the descriptor of our end. File.Fd would make it
// blocking, and then Close could not end a Read.
func (t *Terminal) onMaster(f func(fd int)) {
	if conn, err := t.master.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { f(int(fd)) })
	}
}

func (t *Terminal) carryOut() {
	defer close(t.outDone)
	buf := make([]byte, bufferSize)
	broken := false
	for {
		// EIO when nobody has the command's end any more.
		n, err := t.master.Read(buf)
		if n > 0 && !broken {
			broken = writeAll(t.out, buf[:n]) != nil
		}
		if err != nil {
			return
		}
	}
}

// Finish carries the last output of the sandbox, which is gone, and gives the
// caller's terminal back as it was. It may be called without Start. Output that
// nobody takes within patience is lost.
func (t *Terminal) Finish(patience time.Duration) {
	t.Command.Close()
	done := true
	if t.started {
		done = within(patience, t.outDone)
	}
	t.Close()
	if !done {
		return // what is stuck in there ends with our process
	}
	if t.started {
		<-t.inDone
	}
	t.master.Close()
	t.turn.close()
}

// Close gives the caller's terminal back, and wakes what waits for it.
func (t *Terminal) Close() {
	t.Cooked()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.done {
		t.done = true
		t.turn.end()
	}
}
