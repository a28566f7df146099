# Real input: this repository, built by Go in the sandbox from binds of the
# checkout and of the module cache, without a network; the binary comes out.
cd "$(dirname "$0")/.."
out=$(mktemp -d -p /var/tmp)
trap 'rm -r "$out"' EXIT
go mod download
# Throwing HOME away would throw the configuration away too: say what is used.
gvisor-exec -bind "$PWD:/src" -cwd /src -bind "$(go env GOMODCACHE):/modcache" -bind "$(go env GOROOT):/go" \
	-env GOMODCACHE=/modcache -env GOCACHE=/tmp/cache -env GOPATH=/tmp/go -env GOFLAGS=-mod=mod -env GOPROXY=off -env GOTOOLCHAIN=local -env CGO_ENABLED=0 \
	-- sh -c '/go/bin/go build -buildvcs=false -o /tmp/gvisor-exec ./cmd/gvisor-exec && cat /tmp/gvisor-exec' > "$out/gvisor-exec"
chmod +x "$out/gvisor-exec"
"$out/gvisor-exec" --version | tail -n 1
