package shim

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"

	"golang.org/x/sys/unix"
)

// tracer carries the lines of system calls out of the sentry's log, which is a
// FIFO, while the command runs.
type tracer struct {
	fifo *os.File
	out  io.Writer
	done chan struct{}
}

func newTracer(path string, out io.Writer) (*tracer, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("cannot trace: %w", err)
	}
	// For writing too: it is not at its end before anybody has opened it.
	fifo, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot trace: %w", err)
	}
	t := &tracer{fifo: fifo, out: out, done: make(chan struct{})}
	go t.run()
	return t, nil
}

// systemCall matches a line that --strace logs, after the sentry's log prefix:
// "I0905 12:00:00.000000       1 strace.go:567] [   1:   1] true E execve(…".
var systemCall = regexp.MustCompile(`strace\.go:\d+\] (\[.*)$`)

func (t *tracer) run() {
	defer close(t.done)
	scanner := bufio.NewScanner(t.fifo)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := scanner.Text()
		if line == traceEnd {
			return
		}
		if m := systemCall.FindStringSubmatch(line); m != nil {
			fmt.Fprintln(t.out, m[1])
		}
	}
}

// traceEnd is what we write behind the sentry's last line.
const traceEnd = "gvisor-exec: end of trace"

func (t *tracer) finish() {
	fmt.Fprintf(t.fifo, "\n%s\n", traceEnd)
	<-t.done
	t.fifo.Close()
}
