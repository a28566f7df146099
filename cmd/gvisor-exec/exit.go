package main

import (
	"errors"

	"github.com/gvisor-exec/gvisor-exec/shim"
)

// The exit statuses of our own, as env(1), timeout(1) and docker have them. Any
// other is the command's.
const (
	exitUsage         = 2
	exitTimeout       = 124
	exitBroken        = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

// exitStatus is the one place where an error becomes an exit status.
func exitStatus(err error) int {
	var usage *usageError
	var failure *shim.Failure
	var registering *installError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &registering):
		return exitFailed
	case errors.As(err, &failure) && failure.Kind == shim.NotFound:
		return exitNotFound
	case errors.As(err, &failure) && failure.Kind == shim.NotExecutable:
		return exitNotExecutable
	}
	return exitBroken
}

// hintOf is what the user can do about err; empty: nothing is known.
func hintOf(err error) string {
	var usage *usageError
	var failure *shim.Failure
	var hinted *hintedError
	switch {
	case errors.As(err, &usage):
		return usage.hint
	case errors.As(err, &hinted):
		return hinted.hint
	case errors.As(err, &failure):
		return failure.Hint
	}
	return ""
}

// hintedError is an error of this package with something to do about it.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }
