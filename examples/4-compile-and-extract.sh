# And take the artifact out, through a pipe.
cd "$(mktemp -d -p /var/tmp)"
trap 'rm -r "$PWD"' EXIT
printf '#include <stdio.h>\nint main() { puts("built in a sandbox"); }\n' > main.c
gvisor-exec -ro-bind "$PWD:/mnt" -cwd /tmp -- sh -c 'cp /mnt/*.c . && cc *.c -o out && tar c out' | tar x
./out
