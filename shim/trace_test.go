package shim

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTracer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	var calls []string
	tr, err := newTracer(path, func(call string) { calls = append(calls, call) })
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "I0905 12:00:00.000000       1 "
	long := strings.Repeat("x", 3<<20)
	for _, line := range []string{
		prefix + "loader.go:1] booted",
		prefix + "strace.go:567] [   1:   1] true E one()",
		prefix + "strace.go:567] [   1:   1] a\nX E two()",
		prefix + "strace.go:567] [   1:   1] true E " + long,
		prefix + "strace.go:567] [   1:   1] true E three()",
	} {
		if _, err := log.WriteString(line + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	log.Close()
	tr.finish()
	if len(calls) != 4 || len(calls[2]) > maxCall {
		t.Fatalf("%d calls: %.300q", len(calls), calls)
	}
	calls[2] = calls[2][:30]
	want := []string{"[   1:   1] true E one()", `[   1:   1] a\nX E two()`, "[   1:   1] true E xxxxxxxxxxxx", "[   1:   1] true E three()"}
	want[2] = want[2][:30]
	if !slices.Equal(calls, want) {
		t.Errorf("got %q, want %q", calls, want)
	}
}
