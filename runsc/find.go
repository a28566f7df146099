package runsc

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// EnvPath is the environment variable that names the runsc binary.
const EnvPath = "GVISOR_EXEC_RUNSC"

// LibexecDir is where `make install` puts runsc, relative to the prefix.
const LibexecDir = "libexec/gvisor-exec"

// oldest is the date of the oldest gVisor whose command line this client
// speaks: --pass-fd with the numbers of stdio and root:dir= overlays.
const oldest = "20260413"

// NotFoundError says that no usable runsc was found, and where it was sought.
type NotFoundError struct{ Tried []string }

func (e *NotFoundError) Error() string {
	return "cannot find runsc: tried " + strings.Join(e.Tried, ", ")
}

// Find returns the path of the runsc binary: explicit, which is the -runsc
// flag, then $GVISOR_EXEC_RUNSC, then beside self, then under
// ../libexec/gvisor-exec from there, then in $PATH. One that is named but
// unusable is an error, never a reason to look further. self is the path of
// our own binary.
func Find(explicit, self string) (string, error) {
	for _, named := range []struct{ from, path string }{
		{"-runsc", explicit},
		{"$" + EnvPath, os.Getenv(EnvPath)},
	} {
		if named.path == "" {
			continue
		}
		path, err := filepath.Abs(named.path)
		if err != nil {
			return "", fmt.Errorf("cannot use runsc from %s: %w", named.from, err)
		}
		if err := executable(path); err != nil {
			return "", fmt.Errorf("cannot use runsc from %s: %w", named.from, err)
		}
		return path, nil
	}
	dir := filepath.Dir(self)
	tried := []string{filepath.Join(dir, "runsc"), filepath.Join(filepath.Dir(dir), LibexecDir, "runsc")}
	for _, path := range tried {
		if executable(path) == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath("runsc"); err == nil {
		return filepath.Abs(path)
	}
	return "", &NotFoundError{Tried: append(tried, "$PATH")}
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not an executable file", path)
	}
	return nil
}

// releaseDate finds the date in a runsc version: "release-20260413.0" as
// gVisor tags it, or "v0.0.0-20260413194555-…" as the Go module proxy does.
var releaseDate = regexp.MustCompile(`(?:release-|v0\.0\.0-)(\d{8})`)

// Check says whether the binary is runsc and new enough. A Go build says so in
// its build info, which is read in a millisecond; a release binary, which
// Bazel links without, is asked for its --version.
func (c Client) Check(ctx context.Context) error {
	version, err := builtFrom(c.Path)
	if err != nil {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		version, err = Client{Path: c.Path}.Version(ctx)
	}
	var failed *Error
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%s is not runsc: it does not know --version", c.Path)
	case err != nil:
		return err
	}
	switch date := releaseDate.FindStringSubmatch(version); {
	case date == nil:
		return fmt.Errorf("cannot tell how old %s is: it calls itself version %q", c.Path, version)
	case date[1] < oldest:
		return fmt.Errorf("%s is too old: version %s, and gvisor-exec needs one of %s or later", c.Path, version, oldest)
	}
	return nil
}

// builtFrom returns the version of the gVisor module that path was built from.
func builtFrom(path string) (string, error) {
	const module, command = "gvisor.dev/gvisor", "gvisor.dev/gvisor/runsc"
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", err
	}
	if info.Path != command {
		return "", fmt.Errorf("%s is not runsc: it is built from %s", path, info.Path)
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module {
			return m.Version, nil
		}
	}
	return "", fmt.Errorf("%s does not say which gVisor it is built from", path)
}
