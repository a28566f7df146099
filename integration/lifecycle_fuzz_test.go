package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
)

// step is a verb, called for one container of both runtimes.
type step struct {
	id   string
	args []string // ID stands for the id
}

func (s step) String() string {
	return strings.ReplaceAll(strings.Join(s.args, " "), "ID", s.id)
}

// verbs of the random sequences.
var verbs = [][]string{
	{"create"}, {"start", "ID"}, {"state", "ID"}, {"list"},
	{"kill", "ID", "TERM"}, {"kill", "ID", "SIGKILL"}, {"kill", "ID", "9"}, {"kill", "ID"}, {"kill", "ID", "0"}, {"kill", "ID", "NONSENSE"}, {"kill", "--all", "ID", "KILL"},
	{"delete", "ID"}, {"delete", "ID"}, {"delete", "--force", "ID"},
	{"exec", "ID", "sh", "-c", "exit 7"}, {"exec", "ID", "true"}, {"exec", "ID", "no-such-command"},
	{"pause", "ID"}, {"resume", "ID"}, {"ps", "ID"},
}

// onwards are verbs that fit a container's status. Without them nearly all
// steps would meet a container that is not there.
var onwards = map[string][][]string{
	"":        {{"create"}},
	"created": {{"start", "ID"}},
	"running": {{"pause", "ID"}, {"exec", "ID", "sh", "-c", "exit 7"}, {"ps", "ID"}, {"pause", "ID"}, {"list"}},
	"paused":  {{"resume", "ID"}, {"state", "ID"}, {"list"}, {"kill", "ID", "TERM"}, {"kill", "ID", "KILL"}},
	"stopped": {{"delete", "ID"}},
}

// pick is what to do with a container.
func pick(random *rand.Rand, id, status string) step {
	from := verbs
	if random.IntN(5) < 3 {
		from = onwards[status]
	}
	return step{id, from[random.IntN(len(from))]}
}

// difference is one between ours and runc that is meant or cannot be helped.
type difference struct {
	status, verb string // the container's status before, "*": any; the verb's first words
	why          string
}

var differences = []difference{
	{"created", "exec", "the sandbox has not started its init process; runc execs beside it"},
	{"created", "pause", "a sandbox that has not started cannot be paused"},
}

func allowed(status string, s step) string {
	for _, d := range differences {
		if (d.status == "*" || d.status == status) && strings.HasPrefix(strings.Join(s.args, " ")+" ", d.verb+" ") {
			return d.why
		}
	}
	return ""
}

// TestLifecycleFuzz calls random verbs of ours and of runc, and compares exit
// status and state after each. GVISOR_EXEC_SEED repeats a sequence.
func TestLifecycleFuzz(t *testing.T) { fuzzLifecycle(t, 60) }

func fuzzLifecycle(t *testing.T, steps int) {
	probe.Skip(t, probe.Root())
	probe.Skip(t, ociProbe("runc"))
	seed, err := strconv.ParseUint(os.Getenv("GVISOR_EXEC_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("GVISOR_EXEC_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f := &lifecycleFuzz{t: t, runc: newOCI(t, callers[0], lookPath(t, "runc")), ours: newOCI(t, callers[0], ociRuntime())}
	ids := []string{"a", "ab", "b"} // one is a prefix of another
	for _, o := range []*oci{f.runc, f.ours} {
		for _, id := range ids {
			o.bundle(id, []string{"sh", "-c", forever}, nil)
			defer o.verb("delete", "--force", id)
		}
	}
	for i := range steps {
		id := ids[random.IntN(len(ids))]
		before := f.runc.state(id)
		f.step(i, pick(random, id, before.Status), before)
	}
	if len(f.ran) < steps/4 {
		t.Errorf("only %d steps did anything", len(f.ran))
	}
}

type lifecycleFuzz struct {
	t          *testing.T
	runc, ours *oci
	ran        []string // the steps that did not fail with runc
}

// step runs one step with both and compares. After a difference the container
// is removed on both sides, so that one is not reported twice.
func (f *lifecycleFuzz) step(i int, s step, before state) {
	f.t.Logf("step %d: %s (%s)", i, s, before.Status)
	want, got := call(f.runc, s, before), call(f.ours, s, before)
	if want.status == 0 {
		f.ran = append(f.ran, s.String())
	}
	what := ""
	if want.status != got.status {
		what = fmt.Sprintf("status %d, runc %d", got.status, want.status)
	}
	if s.args[0] == "list" && what == "" {
		if a, b := listed(f.runc), listed(f.ours); !slices.Equal(a, b) {
			what = fmt.Sprintf("list %v, runc %v", b, a)
		}
	}
	if a, b, same := f.settle(s); what == "" && !same {
		what = fmt.Sprintf("then state %+v, runc %+v", b, a)
	}
	if what == "" {
		return
	}
	if why := allowed(before.Status, s); why != "" {
		f.t.Logf("step %d: %s of a container that is %q: %s (allowed: %s)", i, s, before.Status, what, why)
	} else {
		f.t.Errorf("step %d: %s of a container that is %q: %s\nours: %+v\nrunc: %+v", i, s, before.Status, what, got, want)
	}
	for _, o := range []*oci{f.runc, f.ours} {
		o.verb("delete", "--force", s.id)
	}
}

// call runs a step; one that starts the container waits for its first word.
func call(o *oci, s step, before state) outcome {
	if s.args[0] == "create" {
		if before.Status != "" { // its output file is in use
			return o.verb("create", "--bundle", o.dir+"/"+s.id, s.id)
		}
		return o.create(s.id)
	}
	args := make([]string, len(s.args))
	for i, a := range s.args {
		if args[i] = a; a == "ID" {
			args[i] = s.id
		}
	}
	out := o.verb(args...)
	if args[0] == "start" && out.status == 0 {
		o.says(s.id, "ready")
	}
	return out
}

// settle waits until both have the same state, for as long as a signal may take.
// After a kill, also one that waited for resume, the state must last a while:
// neither may have come to handle the signal.
func (f *lifecycleFuzz) settle(s step) (runc, ours state, same bool) {
	lasts := time.Duration(0)
	if s.args[0] == "kill" || s.args[0] == "resume" {
		lasts = 250 * time.Millisecond
	}
	end, since := time.Now().Add(3*time.Second), time.Now()
	for {
		runc, ours = f.runc.state(s.id), f.ours.state(s.id)
		same = runc.Status == ours.Status && (runc.Pid == 0) == (ours.Pid == 0) && runc.ID == ours.ID
		if !same {
			since = time.Now()
		}
		if same && time.Since(since) >= lasts || time.Now().After(end) {
			return runc, ours, same
		}
		time.Sleep(10 * time.Millisecond) // a poll: nothing announces it
	}
}

// listed are ids and statuses.
func listed(o *oci) []string {
	var states []state
	out := o.verb("list", "--format", "json")
	if err := json.Unmarshal([]byte(out.stdout), &states); err != nil {
		o.t.Errorf("list: %v: %+v", err, out)
	}
	var all []string
	for _, s := range states {
		all = append(all, s.ID+" "+s.Status)
	}
	slices.Sort(all)
	return all
}
