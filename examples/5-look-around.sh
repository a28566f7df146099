# What the sandbox is, seen from inside.
gvisor-exec -- sh -c '
	uname -r | grep -o gvisor
	hostname
	id -u
	echo "processes: $(ls /proc | grep -cE "^[0-9]+$")"
	echo "interfaces: $(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d " " | tr "\n" " ")"
	touch /root-of-the-host 2>/dev/null && echo "wrote to /"'
ls /root-of-the-host 2>/dev/null || echo "and the host has nothing of it"
