# Build without trusting the build: what it writes is thrown away.
cd "$(mktemp -d -p /var/tmp)"
trap 'rm -r "$PWD"' EXIT
echo 'int main() { return 0; }' > main.c
printf 'main: main.c\n\tcc -o main main.c\n' > Makefile
gvisor-exec -bind "$PWD:/mnt" -cwd /mnt -- sh -c 'make && ls'
echo "on the host: $(ls | tr '\n' ' ')"
