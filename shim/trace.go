package shim

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// tracer carries the lines of system calls out of the sentry's log, which is a
// FIFO, while the command runs.
type tracer struct {
	fifo, keep *os.File
	out        func(call string)
	done       chan struct{}
}

func newTracer(path string, out func(call string)) (*tracer, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("cannot trace: %w", err)
	}
	fifo, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot trace: %w", err)
	}
	// A writer of ours: the FIFO is at its end when all others and finish have
	// closed theirs, not before the first has opened it.
	keep, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		fifo.Close()
		return nil, fmt.Errorf("cannot trace: %w", err)
	}
	t := &tracer{fifo: fifo, keep: keep, out: out, done: make(chan struct{})}
	go t.run()
	return t, nil
}

// logLine matches the prefix of a line of the sentry's log, and systemCall one
// that --strace logs: "I0905 12:00:00.000000       1 strace.go:567] [   1:   1]
// true E execve(…".
var (
	logLine    = regexp.MustCompile(`^[A-Z]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.]+:\d+\] `)
	systemCall = regexp.MustCompile(`strace\.go:\d+\] (\[.*)$`)
)

// maxCall is where a line is cut: the command chooses how long its calls are.
const maxCall = 16 << 10

// run reads to the end, whatever is in the log: a full FIFO would stop the
// sentry.
func (t *tracer) run() {
	defer close(t.done)
	in := bufio.NewReaderSize(t.fifo, maxCall)
	call := ""
	for {
		line, more, err := in.ReadLine()
		if err != nil {
			break
		}
		text := string(line)
		for more && err == nil {
			_, more, err = in.ReadLine() // too long: the rest of it is dropped
		}
		// A name of the command's choice may hold a newline: what follows is no
		// line of its own.
		if !logLine.MatchString(text) && call != "" {
			call = cut(call + "\n" + text)
			continue
		}
		t.tell(call)
		call = text
	}
	t.tell(call)
}

func cut(s string) string { return s[:min(len(s), maxCall)] }

// tell passes line on if it is a system call.
func (t *tracer) tell(line string) {
	if m := systemCall.FindStringSubmatch(strings.ReplaceAll(line, "\n", `\n`)); m != nil {
		t.out(m[1])
	}
}

// finish waits until all has been told. The sandbox is gone.
func (t *tracer) finish() {
	t.keep.Close()
	<-t.done
	t.fifo.Close()
}
