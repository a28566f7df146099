package shim

import (
	"encoding/json"
	"io"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gvisor-exec/gvisor-exec/bundle"
	"github.com/gvisor-exec/gvisor-exec/runsc"
)

// The descriptors that the keeper inherits from the front.
const (
	fdControl  = 3 + iota // a stream of messages, both ways
	fdLock                // the lock of the run's directory
	fdTerminal            // the caller's terminal, or /dev/null
	fdCommand             // the first of the command's own
)

// launch is what the keeper needs to start runsc. It comes alone and first: while
// runsc starts, the rest can be read and done.
type launch struct {
	// Dir is the run's directory.
	Dir string
	// Client calls runsc.
	Client runsc.Client
	// Guest numbers the descriptors of the command, from fdCommand on.
	Guest []int
	// SharePID says that there is no PID namespace of ours.
	SharePID bool
}

// order is the rest of what the front tells the keeper to do, once.
type order struct {
	// Config is what runs. The view may correct its destinations and its
	// working directory.
	Config bundle.Config
	// Rootfs is the host directory that is seen as the root.
	Rootfs string
	// ExplicitCwd says that the user named the working directory: it is an
	// error if the view has none such.
	ExplicitCwd bool
	// Terminal says that the keeper has the command's terminal as its own,
	// and at fdTerminal the caller's.
	Terminal bool
	// Settings of the caller's terminal, to be restored if the front cannot.
	Settings *unix.Termios
	// StartTimeout; 0: runsc may take as long as it likes.
	StartTimeout time.Duration
}

// instruction is what the front tells the keeper later on.
type instruction struct {
	// Signal to send to the command.
	Signal syscall.Signal
	// All sends it to every process of the sandbox.
	All bool
}

// report is what the keeper tells the front. One field is set.
type report struct {
	// Ready: the view is built, and runsc about to start.
	Ready bool
	// Warning for the user.
	Warning string
	// Suspended: the command was stopped from its terminal.
	Suspended bool
	// Failure, in place of a Status.
	Failure *failure
	// Status that the command exited with.
	Status *int
}

// failure is an error on its way to the front.
type failure struct {
	Msg, Hint string
	Kind      FailureKind
}

// messages sends and receives JSON values over one connection. Any goroutine may
// send; one receives, through dec.
type messages struct {
	mu  *sync.Mutex
	enc *json.Encoder
	dec *json.Decoder
}

func newMessages(conn io.ReadWriter) messages {
	return messages{mu: &sync.Mutex{}, enc: json.NewEncoder(conn), dec: json.NewDecoder(conn)}
}

func (m messages) send(value any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.enc.Encode(value)
}
