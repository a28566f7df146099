// Conformance runs the OCI's own conformance programs, those of runtime-tools,
// against gvisor-exec, the bare runsc and runc, and prints a table. `make
// conformance` builds the programs (tools/go.mod) and calls it as root.
//
// A program is clean if it ends with status 0 and none of its checks fails.
// Each that is not clean with ours has its reason in reasons.txt. Start reading
// at measure.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	if os.Args[0] == initArg {
		os.Exit(initMain(os.Args[1:]))
	}
	o := options{}
	flag.StringVar(&o.bin, "bin", "bin", "directory of gvisor-exec and runsc")
	flag.StringVar(&o.programs, "programs", "bin/conformance", "directory of the programs, runtimetest and the rootfs")
	flag.StringVar(&o.runtimes, "runtimes", "gvisor-exec,runsc,runc", "which runtimes, of these three")
	flag.StringVar(&o.only, "run", ".", "only the programs that match this expression")
	flag.StringVar(&o.write, "write", "", "put the table between the markers in this file")
	flag.DurationVar(&o.limit, "timeout", 90*time.Second, "time limit of a program")
	flag.IntVar(&o.parallel, "parallel", 3, "programs at once; most of their time is waiting")
	flag.BoolVar(&o.verbose, "v", false, "print what the programs print, of those that are not clean")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

type options struct {
	bin, programs, runtimes, only, write string
	limit                                time.Duration
	parallel                             int
	verbose                              bool
}

// contender is a runtime that is measured.
type contender struct {
	name string
	argv []string // what goes before the verb
}

// contenders are all that there are. The bare runsc gets the one flag without
// which writes do not belong to the rootfs.
func contenders(bin, names string) ([]contender, error) {
	all := []contender{
		{"gvisor-exec", []string{filepath.Join(bin, "gvisor-exec")}},
		{"runsc", []string{filepath.Join(bin, "runsc"), "--overlay2=none"}},
		{"runc", []string{"runc"}},
	}
	var chosen []contender
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(c contender) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no runtime %q: want gvisor-exec, runsc or runc", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func run(o options) error {
	var err error
	for _, dir := range []*string{&o.bin, &o.programs} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	chosen, err := contenders(o.bin, o.runtimes)
	if err != nil {
		return err
	}
	programs, err := list(o.programs, only)
	if err != nil {
		return err
	}
	began := time.Now()
	results := measure(o, chosen, programs)
	reasons, err := parseReasons(reasonsFile)
	if err != nil {
		return err
	}
	t := table{chosen, programs, results, reasons}
	fmt.Print(t.text(o.verbose))
	fmt.Printf("\n%d programs, %v\n", len(programs), time.Since(began).Round(time.Second))
	if o.write != "" {
		if err := replaceBetween(o.write, t.markdown()); err != nil {
			return err
		}
	}
	return t.verdict()
}

// list names the programs.
func list(dir string, only *regexp.Regexp) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the programs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "runtimetest" && !strings.Contains(e.Name(), ".") && only.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// key of a result.
type key struct{ program, runtime string }

// measure runs every program with every runtime, a few at once. Those that name
// a cgroup all name the same, so one of them at a time.
func measure(o options, chosen []contender, programs []string) map[key]result {
	results := make(map[key]result)
	var mu, cgroups sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, o.parallel)
	for _, program := range programs {
		for _, c := range chosen {
			wg.Go(func() {
				if strings.Contains(program, "cgroups") || strings.HasPrefix(program, "delete_") {
					cgroups.Lock()
					defer cgroups.Unlock()
				}
				slots <- struct{}{}
				r := runProgram(o, c, program)
				<-slots
				mu.Lock()
				defer mu.Unlock()
				results[key{program, c.name}] = r
				fmt.Fprintf(os.Stderr, "%-12s %-32s %s (%v)\n", c.name, program, r.String(), r.took.Round(100*time.Millisecond))
			})
		}
	}
	wg.Wait()
	return results
}
