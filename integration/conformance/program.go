package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// initArg is argv[0] of this program as PID 1 of a program's namespaces.
const initArg = "conformance-init"

// runProgram runs a program in mount and PID namespaces of its own, so that
// whatever it leaves, processes and mounts, ends with it; its directory and
// cgroups are removed here.
func runProgram(o options, c contender, program string) result {
	dir, err := workDir(o, c)
	if err != nil {
		return result{failure: err.Error()}
	}
	defer os.RemoveAll(dir) // no mount of the program's reaches our namespace
	before := cgroups()
	defer func() { removeCgroups(before, dir) }()

	ctx, cancel := context.WithTimeout(context.Background(), o.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", filepath.Join(o.programs, program))
	cmd.Args[0] = initArg
	cmd.Dir = dir
	cmd.Env = []string{"RUNTIME=" + filepath.Join(dir, "runtime"), "TMPDIR=" + filepath.Join(dir, "tmp"),
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// Pdeathsig follows the thread that forked.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := time.Now()
	err = cmd.Run()
	r := parseTAP(stdout.String())
	r.took = time.Since(began)
	r.stdout, r.stderr = stdout.String(), stderr.String()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		r.failure = "time limit"
	case errors.As(err, &exit):
		r.failure = fmt.Sprintf("status %d", exit.ExitCode())
	case err != nil:
		r.failure = err.Error()
	}
	return r
}

// workDir makes what a program wants in its working directory, and the runtime:
// a script that adds the flags, with a root directory of its own.
func workDir(o options, c contender) (string, error) {
	dir, err := os.MkdirTemp("/var/tmp", "gvisor-exec-conformance-")
	if err != nil {
		return "", err
	}
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = create ] && for id; do :; done && echo \"$id\" >> %[1]s/ids\nexec %[2]s --root %[1]s/root \"$@\"\n",
		dir, strings.Join(c.argv, " "))
	rootfs := "rootfs-" + runtime.GOARCH + ".tar.gz"
	// The programs copy runtimetest, a link as a link.
	test, err := os.ReadFile(filepath.Join(o.programs, "runtimetest"))
	return dir, errors.Join(err,
		os.Chmod(dir, 0o755), // a container's root in a user namespace looks up its rootfs too
		os.Mkdir(filepath.Join(dir, "tmp"), 0o755),
		os.WriteFile(filepath.Join(dir, "runtime"), []byte(script), 0o755),
		os.Symlink(filepath.Join(o.programs, rootfs), filepath.Join(dir, rootfs)),
		os.WriteFile(filepath.Join(dir, "runtimetest"), test, 0o755),
	)
}

// initMain is PID 1: it runs argv, buries the orphans, and ends with argv's
// status. A runtime takes a container whose zombie nobody buries for running.
func initMain(argv []string) int {
	err := errors.Join(
		unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
		unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot mount /proc:", err)
		return 125
	}
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 127
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			fmt.Fprintln(os.Stderr, "cannot wait:", err)
			return 125
		case pid == p.Pid && status.Signaled():
			return 128 + int(status.Signal())
		case pid == p.Pid:
			return status.ExitStatus()
		}
	}
}

// cgroups are the directories of all hierarchies.
func cgroups() map[string]bool {
	found := make(map[string]bool)
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			found[path] = true
		}
		return nil
	})
	return found
}

// removeCgroups removes those that the program in dir left: new ones that have
// the name of one of its containers or of the suite. Colleagues make cgroups
// at the same time.
func removeCgroups(before map[string]bool, dir string) {
	ids, _ := os.ReadFile(filepath.Join(dir, "ids"))
	names := append(strings.Fields(string(ids)), "cgrouptest", "testdir", "container")
	var left []string
	for path := range cgroups() {
		for _, name := range names {
			if !before[path] && strings.Contains(path+"/", "/"+name+"/") {
				left = append(left, path)
				break
			}
		}
	}
	// Children have longer names than their parents.
	for len(left) > 0 {
		longest := 0
		for i, path := range left {
			if len(path) > len(left[longest]) {
				longest = i
			}
		}
		unix.Rmdir(left[longest])
		left = append(left[:longest], left[longest+1:]...)
	}
}
