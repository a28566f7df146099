package runsc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestContainerArgs(t *testing.T) {
	create := CreateOpts{Bundle: "/b", PIDFile: "/p", ConsoleSocket: "/c"}
	for _, tt := range []struct {
		name string
		got  []string
		want string
	}{
		{"create", create.args(), "--bundle=/b --console-socket=/c --pid-file=/p"},
		{"create, zero", CreateOpts{}.args(), "--bundle="},
		{"detached", DetachedOpts{CreateOpts: create, PassFDs: []int{3, 4}}.args(), "--detach --bundle=/b --console-socket=/c --pid-file=/p --pass-fd=3:3 --pass-fd=4:4"},
		{"restore", RestoreOpts{Bundle: "/b", ImagePath: "/i"}.args(), "--detach --bundle=/b --image-path=/i"},
		{"checkpoint", CheckpointOpts{ImagePath: "/i", LeaveRunning: true}.args(), "--image-path=/i --leave-running"},
		{"checkpoint, zero", CheckpointOpts{}.args(), "--image-path="},
		{"delete", DeleteOpts{Force: true}.args(), "--force"},
		{"delete, zero", DeleteOpts{}.args(), ""},
	} {
		if got := strings.Join(tt.got, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	exec := Client{Path: "/x"}.ExecCommand("id", ExecOpts{
		Process: "/p", PIDFile: "/pid", InternalPIDFile: "/in", PassFDs: map[int]*os.File{4: os.Stderr, 0: os.Stdin},
	})
	want := []string{"runsc", "exec", "--process=/p", "--pid-file=/pid", "--internal-pid-file=/in", "--pass-fd=3:0", "--pass-fd=4:4", "id"}
	if !slices.Equal(exec.Args, want) || len(exec.ExtraFiles) != 2 || exec.ExtraFiles[0] != os.Stdin {
		t.Errorf("%q, %v", exec.Args, exec.ExtraFiles)
	}
}

func TestContainerVerbs(t *testing.T) {
	ctx := context.Background()
	c := fake(t, `echo "$*" >> ${0%/*}/argv
case "$*" in
ps*) printf 'UID PID PPID PGID C TTY STIME TIME CMD\n0 1 0 1 0 ? 06:14 0s my sleep\n7 12 1 1 3 pts/0 06:15 2s sh\n';;
update*) cat >> ${0%/*}/argv;;
wait*) echo '{"id":"id","exitStatus":9}';;
events*) echo '{"type":"stats"}';;
esac`)
	if err := errors.Join(
		c.Start(ctx, "id"), c.Pause(ctx, "id"), c.Resume(ctx, "id"), c.KillProcess(ctx, "id", syscall.SIGHUP, 7),
		c.Update(ctx, "id", strings.NewReader("{}\n")), c.Checkpoint(ctx, "id", CheckpointOpts{ImagePath: "/i"}),
		c.Restore(ctx, "id", RestoreOpts{Bundle: "/b", ImagePath: "/i"}), c.Delete(ctx, "id", DeleteOpts{Force: true}),
	); err != nil {
		t.Error(err)
	}
	list, err := c.Processes(ctx, "id")
	if err != nil || len(list) != 2 || list[0].Cmd != "my sleep" || list[1] != (Process{7, 12, 1, 1, 3, "pts/0", "06:15", "2s", "sh"}) {
		t.Errorf("%+v, %v", list, err)
	}
	if stats, err := c.Stats(ctx, "id"); err != nil || !strings.Contains(string(stats), "stats") {
		t.Errorf("%s, %v", stats, err)
	}
	if status, err := c.Wait(ctx, "id"); err != nil || status != 9 {
		t.Errorf("%d, %v", status, err)
	}
	argv, _ := os.ReadFile(filepath.Join(filepath.Dir(c.Path), "argv"))
	want := "start id\npause id\nresume id\nkill --pid=7 id 1\nupdate --resources=- id\n{}\ncheckpoint --image-path=/i id\n" +
		"restore --detach --bundle=/b --image-path=/i id\ndelete --force id\nps --format=table id\nevents --stats id\nwait id\n"
	if string(argv) != want {
		t.Errorf("argv %q, want %q", argv, want)
	}
}

func TestParseProcesses(t *testing.T) {
	for _, bad := range []string{"h\n1 2", "h\na 1 1 1 1 ? 1 1 x"} {
		if list, err := parseProcesses(bad); err == nil {
			t.Errorf("%q: %+v", bad, list)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		script string
		status int
		err    string
	}{
		{"exit 0", 0, ""}, {"exit 3", 3, ""}, {"exit 128", 128, ""}, {"kill -9 $$", 0, "killed"},
		{`echo '{"msg":"no","level":"error"}' > $LOG; exit 128`, 0, "runsc exec: no"},
	} {
		log := filepath.Join(t.TempDir(), "log")
		c := fake(t, "LOG="+log+"\n"+tt.script)
		c.Global.Log = log
		cmd := c.ExecCommand("id", ExecOpts{})
		err := cmd.Run()
		status, err := c.Explain("exec", err, cmd.ProcessState)
		if status != tt.status && tt.err == "" || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d, %v", tt.script, status, err)
		}
	}
	missing := Client{Path: "/nonexistent"}
	cmd := missing.CreateCommand("id", CreateOpts{})
	err := cmd.Run()
	if _, err = missing.Explain("create", err, cmd.ProcessState); err == nil || !strings.Contains(err.Error(), "cannot run /nonexistent") {
		t.Error(err)
	}
}
