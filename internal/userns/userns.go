// Package userns starts our own binary again inside namespaces of our own:
// user, mount and PID, with the ids mapped.
//
// It is not a container runtime: it makes namespaces and nothing in them.
// Start reading at Start.
package userns

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options of Start.
type Options struct {
	// Args is the argv of the new process; Args[0] tells it what it is.
	Args []string
	// Files become the descriptors 3, 4, … of the new process.
	Files []*os.File
	// User asks for a user namespace in which the caller's ids are 0.
	User bool
	// Ranges are the subordinate ids mapped from 1 on; none: only the caller's
	// own ids exist in the namespace.
	Ranges Ranges
	// UIDs and GIDs, if any, are the mappings in place of all that.
	UIDs, GIDs []Map
	// SharePID leaves out the PID namespace.
	SharePID bool
	// Terminal is the descriptor in the new process of its controlling
	// terminal; 0: it has none.
	Terminal int
	// Death is the signal that the new process gets when the calling thread
	// ends; the caller keeps that thread locked.
	Death syscall.Signal
}

// Start runs /proc/self/exe with Args in a new session and new namespaces.
// The process has no environment, and /dev/null as its stdio.
func Start(o Options) (*exec.Cmd, error) {
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: o.Args, Env: []string{}, ExtraFiles: o.Files}
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS,
		Pdeathsig:  o.Death,
		Setsid:     true,
		Setctty:    o.Terminal != 0,
		Ctty:       o.Terminal,
	}
	if !o.SharePID {
		attr.Cloneflags |= unix.CLONE_NEWPID
	}
	maps := o.maps()
	switch {
	case o.User && maps == nil:
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	case o.User:
		// The mapping is written by newuidmap, after the exec; until then the
		// process is nobody, and only ambient capabilities survive an exec by
		// nobody.
		attr.Cloneflags |= unix.CLONE_NEWUSER
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			attr.AmbientCaps = append(attr.AmbientCaps, c)
		}
	}
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		var errno syscall.Errno
		if o.User && errors.As(err, &errno) {
			return nil, &Error{Errno: errno}
		}
		return nil, fmt.Errorf("cannot create namespaces: %w", err)
	}
	if o.User && maps != nil {
		if err := maps.apply(cmd.Process.Pid); err != nil {
			cmd.Process.Kill()
			cmd.Wait()
			return nil, err
		}
	}
	return cmd, nil
}

// BecomeRoot takes the ids 0 of a namespace whose mapping came after the exec.
// It does nothing where the process has them.
func BecomeRoot() error {
	if os.Getuid() == 0 && os.Getgid() == 0 {
		return nil
	}
	if err := syscall.Setresgid(0, 0, 0); err != nil {
		return fmt.Errorf("cannot become the namespace's group 0: %w", err)
	}
	if err := syscall.Setgroups([]int{0}); err != nil {
		return fmt.Errorf("cannot leave the caller's groups: %w", err)
	}
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return fmt.Errorf("cannot become the namespace's user 0: %w", err)
	}
	return nil
}

// Error says that this host gives the caller no user namespace.
type Error struct{ Errno syscall.Errno }

func (e *Error) Error() string { return "cannot create a user namespace: " + e.Errno.Error() }

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Ranges are the subordinate ids of a user, as /etc/subuid and /etc/subgid
// grant them.
type Ranges struct{ UIDs, GIDs Range }

// Range is Size ids from First on.
type Range struct{ First, Size int }

func (r Ranges) empty() bool { return r.UIDs.Size == 0 || r.GIDs.Size == 0 }

// SubordinateRanges reads the ranges of the calling user. An error says which
// file grants none.
func SubordinateRanges() (Ranges, error) {
	uid := strconv.Itoa(os.Getuid())
	names := []string{uid}
	if u, err := user.LookupId(uid); err == nil {
		names = append(names, u.Username)
	}
	var r Ranges
	for _, f := range []struct {
		path string
		dst  *Range
	}{{"/etc/subuid", &r.UIDs}, {"/etc/subgid", &r.GIDs}} {
		file, err := os.Open(f.path)
		if err != nil {
			return Ranges{}, fmt.Errorf("cannot map subordinate ids: %w", err)
		}
		*f.dst = parseRange(file, names)
		file.Close()
		if f.dst.Size == 0 {
			return Ranges{}, fmt.Errorf("cannot map subordinate ids: %s grants none to %s", f.path, names[len(names)-1])
		}
	}
	return r, nil
}

// parseRange finds the first range of any of names in a subuid(5) file.
func parseRange(file io.Reader, names []string) Range {
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		fields := strings.Split(strings.TrimSpace(scanner.Text()), ":")
		if len(fields) != 3 {
			continue
		}
		for _, name := range names {
			first, err1 := strconv.Atoi(fields[1])
			size, err2 := strconv.Atoi(fields[2])
			if fields[0] == name && err1 == nil && err2 == nil && size > 0 {
				return Range{First: first, Size: size}
			}
		}
	}
	return Range{}
}
