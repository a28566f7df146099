// Package nofile knows the limit of open descriptors that this process was
// started with. The Go runtime raises the soft one when package syscall is
// initialised (Go 1.19 and later), and keeps to itself what it was.
//
// Packages are initialised in the order of their import paths, as far as their
// imports allow (The Go Programming Language Specification, Program
// initialization). This one imports nothing, so that it is ready at once, and
// its path sorts before "syscall". Hence the assembly: any package that makes a
// system call imports syscall.
package nofile

// limit is struct rlimit of getrlimit(2).
type limit struct{ soft, _ uint64 }

// get is getrlimit(RLIMIT_NOFILE, l); the limit has been there since 4.2BSD, and
// the call cannot fail.
func get(l *limit)

var started = func() (l limit) {
	get(&l)
	return l
}()

// Soft is the soft limit that this process was started with.
func Soft() uint64 { return started.soft }
