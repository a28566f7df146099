// Bench measures cold starts, side by side in one run: gvisor-exec, the bare
// `runsc run` of an equal bundle in equal namespaces, `runsc --rootless do`,
// bubblewrap and firejail, as root and as an ordinary user.
//
// It prints medians and ratios and asserts nothing: the machines are noisy. The
// competitors take turns, so that what disturbs one disturbs all.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	bin := flag.String("bin", "bin", "directory of gvisor-exec and runsc")
	pairs := flag.Int("n", 30, "runs of each")
	who := flag.String("user", "", "measure as this ordinary user only (called by bench itself)")
	flag.Parse()
	// What our caller left open must reach nobody: a high number among them makes
	// runsc faster (runsc.stdioFD).
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err := run(*bin, *pairs, *who); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// contender is something whose wall clock is measured.
type contender struct {
	name string
	run  func() error
	skip string // why it cannot run here
	took []time.Duration
}

// command runs argv. Its stdio is /dev/null, as that of the bare runsc is.
func command(argv ...string) func() error {
	return func() error {
		if err := exec.Command(argv[0], argv[1:]...).Run(); err != nil {
			return fmt.Errorf("%s: %w", argv[0], err)
		}
		return nil
	}
}

func run(bin string, n int, who string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	if who == "" && os.Getuid() == 0 {
		if err := measure(bin, n, "root"); err != nil {
			return err
		}
		return asUser(bin, n)
	}
	return measure(bin, n, "an ordinary user")
}

// asUser runs this program again as the ordinary user of the tests.
func asUser(bin string, n int) error {
	const name = "gvisor-exec-test"
	u, err := user.Lookup(name)
	if err != nil {
		if out, err := exec.Command("useradd", "-m", name).CombinedOutput(); err != nil {
			return fmt.Errorf("useradd: %s", out)
		}
		if u, err = user.Lookup(name); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("/var/tmp", "gvisor-exec-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, f := range []string{self, filepath.Join(bin, "gvisor-exec"), filepath.Join(bin, "runsc")} {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), data, 0o755); err != nil {
			return err
		}
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	runtime := "/run/user/" + u.Uid
	if err := os.MkdirAll(runtime, 0o700); err != nil {
		return err
	}
	if err := os.Chown(runtime, uid, gid); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(dir, filepath.Base(self)), "-bin", dir, "-n", fmt.Sprint(n), "-user", name)
	cmd.Dir = u.HomeDir
	cmd.Env = []string{"HOME=" + u.HomeDir, "PATH=/usr/local/bin:/usr/bin:/bin", "XDG_RUNTIME_DIR=" + runtime}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd.Run()
}

func measure(bin string, n int, who string) error {
	work, err := os.MkdirTemp("/var/tmp", "gvisor-exec-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	gvisorExec, runsc := filepath.Join(bin, "gvisor-exec"), filepath.Join(bin, "runsc")
	bare, end, err := bareRunsc(gvisorExec, runsc, work)
	if err != nil {
		return err
	}
	defer end()
	contenders := []*contender{
		{name: "gvisor-exec -- /bin/true", run: command(gvisorExec, "--", "/bin/true")},
		{name: "bare runsc run, equal bundle", run: bare("here")},
		{name: "the same, namespaces made by unshare(1)", run: bare("fresh")},
		{name: "runsc --rootless do", run: command(runsc, "--rootless", "--network=none", "do", "/bin/true")},
		{name: "bubblewrap", run: command("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/true")},
		{name: "firejail", run: command("firejail", "--quiet", "--noprofile", "--net=none", "/bin/true")},
	}
	const warmUp, settle = 2, 60 * time.Millisecond
	for i := range n + warmUp {
		// Every round in another order, and with a pause: what one leaves to the
		// kernel to take down, the next one would pay for.
		for _, j := range rand.Perm(len(contenders)) {
			c := contenders[j]
			if c.skip != "" {
				continue
			}
			time.Sleep(settle)
			began := time.Now()
			if err := c.run(); err != nil {
				c.skip = err.Error()
			} else if i >= warmUp {
				c.took = append(c.took, time.Since(began))
			}
		}
	}
	report(contenders, n, who)
	return nil
}

// report prints medians, and ratios to the bare runsc.
func report(contenders []*contender, n int, who string) {
	fmt.Printf("cold start of /bin/true as %s, median of %d, in turns\n", who, n)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight|tabwriter.TabIndent)
	fmt.Fprintln(w, "\tmedian ms\tmin ms\tratio to bare runsc\t")
	base := median(contenders[1].took)
	for _, c := range contenders {
		if c.skip != "" {
			fmt.Fprintf(w, "%s\tcannot run: %s\t\t\t\n", c.name, c.skip)
			continue
		}
		m := median(c.took)
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.2f\t\n", c.name, ms(m), ms(slices.Min(c.took)), float64(m)/float64(base))
	}
	w.Flush()
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// bareRunsc writes the bundle that gvisor-exec would and builds the same view in
// namespaces of the same kinds, with util-linux and a shell, outside of what is
// measured: what is measured is runsc alone. end takes it all down.
func bareRunsc(gvisorExec, runsc, work string) (run func(how string) func() error, end func(), err error) {
	out, err := exec.Command(gvisorExec, "-print-spec", "-terminal", "never", "--", "/bin/true").Output()
	if err != nil {
		return nil, nil, fmt.Errorf("-print-spec: %w", err)
	}
	var printed struct {
		Config json.RawMessage
		Runsc  []string
	}
	if err := json.Unmarshal(out, &printed); err != nil {
		return nil, nil, err
	}
	for _, dir := range []string{"bundle", "tree", "runsc", "overlay"} {
		if err := os.MkdirAll(filepath.Join(work, "RUN", dir), 0o700); err != nil {
			return nil, nil, err
		}
	}
	config := strings.ReplaceAll(string(printed.Config), `"RUN/`, `"`+work+`/RUN/`)
	if err := os.WriteFile(filepath.Join(work, "RUN/bundle/config.json"), []byte(config), 0o600); err != nil {
		return nil, nil, err
	}
	for i, arg := range printed.Runsc {
		printed.Runsc[i] = strings.ReplaceAll(arg, "RUN/", work+"/RUN/")
	}
	script := strings.NewReplacer("TREE", work+"/RUN/tree", "RUNSC", runsc+" '"+strings.Join(printed.Runsc[1:], "' '")+"'").Replace(`
set -e
mount -t tmpfs none TREE
mkdir TREE/root
cd TREE/root
for e in /*; do
	n=${e#/}
	case $n in proc|sys|dev|tmp) mkdir $n; continue;; esac
	if [ -L $e ]; then ln -s "$(readlink $e)" $n
	elif [ -d $e ]; then mkdir $n; mount --rbind $e $n
	else : > $n; mount --bind $e $n; fi
done
cd /
echo ready
while read how; do
	case $how in
	here) RUNSC 3</dev/null 4>/dev/null 5>/dev/null;;
	fresh) unshare --mount --pid --fork --mount-proc --propagation slave RUNSC 3</dev/null 4>/dev/null 5>/dev/null;;
	esac
	echo done
done
`)
	args := []string{"--mount", "--pid", "--fork", "--mount-proc", "--propagation", "slave", "/bin/sh", "-c", script}
	if os.Getuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	holder := exec.Command("unshare", args...)
	holder.Stderr = os.Stderr
	in, err := holder.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := holder.Start(); err != nil {
		return nil, nil, err
	}
	lines := bufio.NewScanner(stdout)
	expect := func(word string) error {
		if !lines.Scan() || lines.Text() != word {
			return fmt.Errorf("the namespaces of the bare runsc said %q, not %q", lines.Text(), word)
		}
		return nil
	}
	run = func(how string) func() error {
		return func() error {
			if _, err := fmt.Fprintln(in, how); err != nil {
				return err
			}
			return expect("done")
		}
	}
	end = func() {
		in.Close()
		holder.Wait()
	}
	return run, end, expect("ready")
}
