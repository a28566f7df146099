package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// CommandError says why a command cannot be started, in runc's words: engines
// read them and answer 127 for one that is missing and 126 for one that cannot
// be executed.
type CommandError struct {
	// Command as it was given.
	Command string
	// NotFound: there is no such file; otherwise it cannot be executed.
	NotFound bool
	why      string
}

func (e *CommandError) Error() string { return fmt.Sprintf("exec: %q: %s", e.Command, e.why) }

// errDenied is what a file that cannot be executed is told apart by.
var errDenied = errors.New("permission denied")

// CheckCommand says whether arg0 can be started with the environment env in the
// working directory cwd: a *CommandError, or nil, also where only the sandbox
// can tell.
func (t Tree) CheckCommand(arg0, cwd string, env []string) error {
	if strings.Contains(arg0, "/") {
		p := arg0
		if !path.IsAbs(p) {
			p = path.Join(cwd, p)
		}
		switch err := t.checkExecutable(p); {
		case errors.Is(err, fs.ErrNotExist):
			return &CommandError{arg0, true, "stat " + arg0 + ": no such file or directory"}
		case err == errDenied:
			return &CommandError{arg0, false, err.Error()}
		}
		return nil
	}
	denied := false
	for _, dir := range searchPath(env) {
		if !path.IsAbs(dir) {
			dir = path.Join(cwd, dir)
		}
		switch err := t.checkExecutable(path.Join(dir, arg0)); {
		case err == nil || errors.Is(err, ErrUnknown):
			return nil
		case err == errDenied:
			denied = true
		}
	}
	if denied {
		return &CommandError{arg0, false, errDenied.Error()}
	}
	return &CommandError{arg0, true, "executable file not found in $PATH"}
}

// searchPath returns the directories of the last PATH in env, which wins.
func searchPath(env []string) []string {
	var dirs []string
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			dirs = strings.Split(value, ":")
		}
	}
	return dirs
}

// checkExecutable finds out whether anybody may execute p; whether the
// container's user may is for its kernel to say.
func (t Tree) checkExecutable(p string) error {
	st, err := t.Stat(p)
	if errors.Is(err, unix.ENOTDIR) {
		return fs.ErrNotExist
	}
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR || st.Mode&0o111 == 0 {
		return errDenied
	}
	return nil
}
