package shim

import (
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/gvisor-exec/gvisor-exec/internal/stdio"
)

// openStdio decides what the command gets for the caller's descriptors.
func (f *front) openStdio() (err error) {
	fds := []int{0, 1, 2}
	if f.Terminal {
		fds = nil
		if !term.IsTerminal(2) && term.IsTerminal(0) {
			fds = []int{2}
		}
	}
	fds = append(fds, f.Inherited...)
	if f.set, err = stdio.Prepare(fds); err != nil {
		return err
	}
	f.files = f.set.Files
	if f.Terminal {
		if f.terminal, err = stdio.OpenTerminal(0, 1); err != nil {
			return errors.Join(err, f.closeStdio())
		}
		// runsc has but one file for all three where the spec says terminal.
		f.console = f.files[2] == nil
		f.files[0], f.files[1] = f.terminal.Command, f.terminal.Command
		if f.console {
			f.files[2] = f.terminal.Command
		}
	}
	if f.Trace != nil {
		if f.trace, err = newTracer(f.path("log.boot"), f.Trace); err != nil {
			return errors.Join(err, f.closeStdio())
		}
	}
	return nil
}

// lastOutput is how long the last output of a command that was killed may take
// on its way: its reader may never read it.
const lastOutput = 2 * time.Second

// closeStdio carries the last output and gives the caller's descriptors back.
func (f *front) closeStdio() error {
	patience := stdio.Forever
	if f.killed {
		patience = lastOutput
	}
	if f.terminal != nil {
		f.terminal.Finish(patience)
	}
	if f.trace != nil {
		f.trace.finish()
	}
	return f.set.Finish(patience)
}

// callersTerminal opens, for the keeper to restore, the terminal that we make
// raw; /dev/null stands in where there is none.
func (f *front) callersTerminal() (*os.File, error) {
	if f.terminal == nil || !term.IsTerminal(0) {
		return os.Open(os.DevNull)
	}
	fd, err := syscall.Dup(0)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "terminal"), nil
}

// forwarded are the signals that reach the command through us.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1,
	syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT,
}

// catch catches the forwarded signals, for attend.
func (f *front) catch() {
	f.signals = make(chan os.Signal, 64)
	for _, s := range forwarded {
		// What the caller ignores, as under nohup, we ignore for the command.
		if !signal.Ignored(s) {
			signal.Notify(f.signals, s)
		}
	}
}

// fatal are the forwarded signals that end a run which has not begun.
var fatal = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// attend is the front's part while the command runs.
func (f *front) attend() (Result, error) {
	defer signal.Stop(f.signals)
	reports := make(chan report)
	go f.listen(reports)
	var timeout, kill <-chan time.Time
	if f.Timeout > 0 {
		timeout = time.After(f.Timeout)
	}
	var result Result
	for {
		select {
		case r, ok := <-reports:
			if !ok {
				return result, f.ended(result)
			}
			if err := f.take(r, &result); err != nil || r.Status != nil {
				f.end()
				return result, err
			}
		case s := <-f.signals:
			if s := s.(syscall.Signal); f.ready || !slices.Contains(fatal, s) {
				f.handle(s)
			} else {
				// Nobody is there yet who could do anything else about it.
				result.Status, f.killed = 128+int(s), true
				f.keeper.Process.Kill()
			}
		case <-timeout:
			result.TimedOut, f.killed = true, true
			f.instruct(instruction{Signal: syscall.SIGTERM})
			kill = time.After(f.KillAfter)
		case <-kill:
			f.keeper.Process.Kill()
		}
	}
}

// listen receives reports until the keeper is gone.
func (f *front) listen(reports chan<- report) {
	defer close(reports)
	for {
		var r report
		if f.msgs.dec.Decode(&r) != nil {
			return
		}
		reports <- r
	}
}

// end waits for the keeper, and so for everything in its PID namespace.
func (f *front) end() {
	f.conn.Close()
	<-f.gone
}

// ended explains a keeper that is gone without a word.
func (f *front) ended(r Result) error {
	f.end()
	if f.killed {
		return nil
	}
	return &Failure{err: errors.New("cannot go on: the sandbox's keeper was killed")}
}

// take acts on a report.
func (f *front) take(r report, result *Result) error {
	if r.Ready || r.Failure != nil && r.Failure.Kind != noProc {
		f.tell()
	}
	switch {
	case r.Ready:
		// Not earlier: what is carried in is gone if the run has to be tried again.
		f.ready = true
		f.set.Start()
		if f.terminal != nil {
			f.terminal.Start()
			f.terminal.Raw()
		}
	case r.Warning != "" && f.Warn != nil:
		f.Warn("%s", r.Warning)
	case r.Suspended:
		f.suspend()
		f.instruct(instruction{Signal: syscall.SIGCONT, All: true})
	case r.Failure != nil:
		return &Failure{Kind: r.Failure.Kind, Hint: r.Failure.Hint, err: errors.New(r.Failure.Msg)}
	case r.Status != nil:
		result.Status = *r.Status
	}
	return nil
}

func (f *front) instruct(i instruction) {
	// An error means that the keeper is gone, which listen reports.
	f.msgs.send(i)
}

// handle brings a signal that we got to the command.
func (f *front) handle(s syscall.Signal) {
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT:
		// As a key it is for the whole foreground group, and there is but the
		// sandbox to stand for it.
		f.instruct(instruction{Signal: s, All: f.terminal == nil && stdio.Foreground()})
	case syscall.SIGWINCH:
		if f.terminal != nil {
			f.terminal.Resize() // and the kernel signals whom it concerns
			return
		}
		f.instruct(instruction{Signal: s})
	case syscall.SIGTSTP:
		f.instruct(instruction{Signal: s, All: true})
		f.suspend()
		f.instruct(instruction{Signal: syscall.SIGCONT, All: true})
	case syscall.SIGCONT:
		// After a suspend its own instruction was sent; somebody may have
		// stopped us with SIGSTOP.
		f.resume()
		f.instruct(instruction{Signal: s, All: true})
	default:
		f.instruct(instruction{Signal: s})
	}
}

// suspend stops us, as the command has been stopped, and returns when somebody
// continues us: the shell that started us sees a stopped job.
func (f *front) suspend() {
	if f.terminal != nil {
		f.terminal.Cooked()
	}
	syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	f.resume()
}

func (f *front) resume() {
	if f.terminal != nil {
		f.terminal.Resume()
	}
	f.set.Resume()
}
