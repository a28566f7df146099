// Verbs measures what each verb of the OCI runtime costs over the bare runsc verb
// that it ends in: the same bundle, the same flags, by turns. Run it as root.
//
// It prints medians and asserts nothing: the machines are noisy.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func main() {
	bin := flag.String("bin", "bin", "directory of gvisor-exec and runsc")
	rounds := flag.Int("n", 20, "rounds")
	flag.Parse()
	if err := run(*bin, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "verbs:", err)
		os.Exit(1)
	}
}

// contender is a runtime, and what each of its verbs took.
type contender struct {
	name string
	argv []string
	took map[string][]time.Duration
}

// verbs of a life, with their arguments behind the id.
var verbs = []struct {
	name        string
	flags, args []string
}{
	{"create", []string{"--bundle"}, nil}, {"state", nil, nil}, {"start", nil, nil}, {"exec", nil, []string{"/busybox", "true"}},
	{"pause", nil, nil}, {"resume", nil, nil}, {"ps", nil, nil}, {"kill", nil, []string{"KILL"}}, {"delete", []string{"--force"}, nil},
}

func run(bin string, rounds int) (err error) {
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	// State is on a tmpfs, as it is in use: a disk would be measured else.
	dir, err := os.MkdirTemp("/run", "gvisor-exec-verbs-")
	if err != nil {
		return err
	}
	bundle := filepath.Join(dir, "bundle")
	if err := makeBundle(bundle); err != nil {
		return err
	}
	null := filepath.Join(dir, "runsc/null-netns")
	defer func() {
		exec.Command("umount", null).Run() // runsc pins a namespace there
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	contenders := []*contender{
		{name: "gvisor-exec", argv: []string{filepath.Join(bin, "gvisor-exec"), "--root", dir + "/ours"}},
		{name: "runsc", argv: []string{filepath.Join(bin, "runsc"), "--root=" + dir + "/runsc", "--overlay2=none", "--host-settings=ignore", "--network=none"}},
	}
	for _, c := range contenders {
		c.took = map[string][]time.Duration{}
	}
	for range rounds {
		for _, c := range contenders {
			if err := c.live(bundle); err != nil {
				return err
			}
		}
	}
	report(contenders)
	return nil
}

// live leads a container through its life.
func (c *contender) live(bundle string) error {
	for _, v := range verbs {
		argv := append(slices.Clone(c.argv), v.name)
		argv = append(argv, v.flags...)
		if v.name == "create" {
			argv = append(argv, bundle)
		}
		argv = append(append(argv, "bench"), v.args...)
		cmd := exec.Command(argv[0], argv[1:]...)
		began := time.Now()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%q: %w", argv, err)
		}
		c.took[v.name] = append(c.took[v.name], time.Since(began))
	}
	return nil
}

func makeBundle(dir string) error {
	root := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	config, err := json.Marshal(specs.Spec{
		Version: specs.Version, Root: &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: []string{"/busybox", "sleep", "1000"}, Cwd: "/"},
		Linux:   &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.NetworkNamespace}, {Type: specs.PIDNamespace}}},
	})
	return errors.Join(err, os.WriteFile(filepath.Join(root, "busybox"), data, 0o755), os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644))
}

func report(contenders []*contender) {
	w := tabwriter.NewWriter(os.Stdout, 8, 1, 2, ' ', 0)
	fmt.Fprintln(w, "verb\tgvisor-exec\trunsc\tdifference")
	for _, v := range verbs {
		ours, bare := median(contenders[0].took[v.name]), median(contenders[1].took[v.name])
		fmt.Fprintf(w, "%s\t%.1f ms\t%.1f ms\t%+.1f ms\n", v.name, ms(ours), ms(bare), ms(ours-bare))
	}
	w.Flush()
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
