package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// result of one program with one runtime.
type result struct {
	ok, failed, skipped int
	planned             int // as the program announced; -1: not at all
	// failure is why the program itself failed; empty: it did not.
	failure        string
	failures       []string // the checks that failed
	took           time.Duration
	stdout, stderr string
}

var (
	tapCheck = regexp.MustCompile(`^(not )?ok\b\s*(\d*)\s*-?\s*(.*)$`)
	tapPlan  = regexp.MustCompile(`^1\.\.(\d+)`)
	tapError = regexp.MustCompile(`^\s+"error": "(.*)"`)
	tapSkip  = regexp.MustCompile(`(?i)# *skip`)
)

// parseTAP counts the checks of a program. One that is indented belongs to a
// runtimetest, whose result the program reports itself. The programs about hooks
// count no checks: they print an error where one fails, and end with status 0.
func parseTAP(out string) result {
	r := result{planned: -1}
	var errors []string
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if m := tapPlan.FindStringSubmatch(line); m != nil {
			r.planned, _ = strconv.Atoi(m[1])
		}
		if m := tapError.FindStringSubmatch(line); m != nil {
			errors = append(errors, m[1])
		}
		m := tapCheck.FindStringSubmatch(line)
		switch {
		case m == nil:
		case tapSkip.MatchString(line):
			r.skipped++
		case m[1] != "":
			r.failed++
			r.failures = append(r.failures, m[3])
		default:
			r.ok++
		}
	}
	if r.ok+r.failed+r.skipped == 0 {
		r.failed, r.failures = len(errors), errors
	}
	return r
}

// clean reports whether all that the program checked holds. One that expects a
// failure, as of create, checks nothing and ends with status 0.
func (r result) clean() bool {
	return r.failure == "" && r.failed == 0 && !r.short()
}

// short reports whether checks that were announced are missing. The suite
// announces 0 where it does not know yet.
func (r result) short() bool { return r.planned > r.ok+r.failed+r.skipped }

func (r result) String() string {
	total := r.ok + r.failed
	switch {
	case r.clean() && r.ok == 0 && r.skipped > 0:
		return "clean (skipped)"
	case r.clean():
		return "clean"
	case r.failed > 0:
		return fmt.Sprintf("%d of %d fail", r.failed, total)
	case r.failure != "":
		return r.failure
	}
	return fmt.Sprintf("ends after %d of %d", total, r.planned)
}
