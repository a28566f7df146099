package stdio

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// AttachTerminal connects our end of a pseudo-terminal that somebody else has
// made, and whose other end a command has, with the descriptors in and out. The
// Terminal owns the descriptor master.
func AttachTerminal(master, in, out int) (*Terminal, error) {
	// Its Read must end when the other end is closed, and its Close wake it.
	if err := unix.SetNonblock(master, true); err != nil {
		return nil, fmt.Errorf("cannot use the terminal: %w", err)
	}
	t := &Terminal{
		master: os.NewFile(uintptr(master), "console"), in: in, out: out,
		inDone: make(chan struct{}), outDone: make(chan struct{}),
	}
	var err error
	if t.turn, err = newTurn(in); err != nil {
		return nil, err
	}
	if settings, err := unix.IoctlGetTermios(in, unix.TCGETS); err == nil {
		t.before = settings
		if t.turn.foreground() {
			unix.IoctlSetTermios(master, unix.TCSETS, settings)
		}
	}
	t.Resize()
	return t, nil
}
