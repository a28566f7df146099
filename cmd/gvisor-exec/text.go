package main

// description is what help and man page say before they list the flags.
const description = "Runs a command under gVisor's user-space kernel instead of the host's. It sees the host's files, but for " +
	"/tmp, /proc, /sys and /dev; what it writes is thrown away, its network is empty, and nothing is left behind. " +
	"What follows the -- is the command, verbatim. Flags take one dash or two."

// verbsIntro is what the man page says before it lists the verbs.
const verbsIntro = "With one of these verbs gvisor-exec is an OCI runtime with runc's command line, for podman, docker and scripts. " +
	"Flags may follow the ID, except those of exec and ps. Install and uninstall make podman and docker know it. The exit status is 0 or 1; that of run and of exec is the process's, and 255 where exec failed."

// statuses are the exit statuses that users are promised.
var statuses = []struct{ status, meaning string }{
	{"N", "the command's own; 128+N when signal N killed it"},
	{"2", "wrong usage"},
	{"124", "the command was stopped by -timeout"},
	{"125", "the sandbox could not be started"},
	{"126", "the command cannot be executed"},
	{"127", "the command is not found in the sandbox"},
}

// uses are what people do with it.
var uses = []struct{ task, command string }{
	{"is it really another kernel?", "gvisor-exec -- uname -a"},
	{"a script from a pipe", "cat script.sh | gvisor-exec -- /bin/sh"},
	{"build without trusting the build", `gvisor-exec -bind "$PWD:/mnt" -cwd /mnt -- make`},
	{"an interactive shell", "gvisor-exec -- bash"},
}
