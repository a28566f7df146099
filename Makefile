# gvisor-exec. `make help` lists the targets.

SHELL   := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PREFIX  ?= /usr/local
DESTDIR ?=
GO      ?= go

VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# runsc is the unmodified gVisor binary, from the version that runsc/pinned
# names. Its stamp is a hash of all that shapes the build, so it is rebuilt when
# that changes and at no other time.
GVISOR        := $(shell awk '$$1 == "gvisor.dev/gvisor" {print $$2}' runsc/pinned/go.mod)
# The library's own man pages would start a Markdown parser with every run.
TAGS          := urfave_cli_no_docs
RUNSC_FLAGS   := -trimpath -ldflags '-s -w -X gvisor.dev/gvisor/runsc/version.version=$(GVISOR)'
RUNSC_STAMP   := bin/.runsc-$(shell { cat runsc/pinned/go.mod runsc/pinned/go.sum; $(GO) version; echo "$(GVISOR)"; } | sha256sum | cut -c1-16)

# The OCI's conformance programs, cached in the same way.
CONFORMANCE       := integration/conformance/tools
CONFORMANCE_STAMP := bin/.conformance-$(shell { cat $(CONFORMANCE)/go.mod $(CONFORMANCE)/go.sum; $(GO) version; } | sha256sum | cut -c1-16)

.PHONY: all build run test unit integration smoke examples bench conformance soak fuzz lint install clean help deps FORCE
.DEFAULT_GOAL := build

build: bin/gvisor-exec bin/runsc ## build bin/gvisor-exec and bin/runsc

bin/gvisor-exec: FORCE
	CGO_ENABLED=0 $(GO) build -tags $(TAGS) -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/gvisor-exec

bin/runsc: $(RUNSC_STAMP)
	@test -x $@

$(RUNSC_STAMP): $(if $(wildcard bin/runsc),,FORCE)
	@mkdir -p bin
	@echo "building runsc $(GVISOR): a minute or two, once"
	cd runsc/pinned && CGO_ENABLED=0 $(GO) build $(RUNSC_FLAGS) -o ../../bin/runsc gvisor.dev/gvisor/runsc
	@rm -f bin/.runsc-*
	@touch $@

run: build ## run a first command in a sandbox
	bin/gvisor-exec exec -- uname -a

test: deps lint build unit integration examples ## everything that CI runs

deps: ## install the Debian packages that the tests need, or name them
	@scripts/deps

unit: ## tests of pure code
	$(GO) test ./bundle/... ./cmd/... ./internal/... ./runsc ./shim/...

integration: build ## tests against the real runsc, as root and as an ordinary user
	GVISOR_EXEC_BIN=$(CURDIR)/bin $(GO) test -count=1 -timeout 25m ./integration/...

smoke: build ## one run of each of the main uses
	GVISOR_EXEC_BIN=$(CURDIR)/bin $(GO) test -count=1 -run 'TestExitStatus|TestCLIExamples' ./integration/...

examples: build ## run everything in examples/
	examples/run

bench: build ## cold starts side by side with runsc, bubblewrap and firejail
	$(GO) run ./integration/bench -bin bin
	$(GO) run ./integration/bench/verbs -bin bin

$(CONFORMANCE_STAMP):
	@mkdir -p bin/conformance
	@echo "building the conformance programs: half a minute, once"
	cd $(CONFORMANCE) && CGO_ENABLED=0 $(GO) build -o ../../../bin/conformance/ tool
	install -m 644 "$$(cd $(CONFORMANCE) && $(GO) list -m -f '{{.Dir}}' github.com/opencontainers/runtime-tools)/rootfs-$$($(GO) env GOARCH).tar.gz" bin/conformance/
	@rm -f bin/.conformance-*
	@touch $@

conformance: deps build $(CONFORMANCE_STAMP) ## the OCI's own tests, with runsc and runc beside; the table goes to docs/compatibility.md
	$(GO) run ./integration/conformance -write docs/compatibility.md

soak: deps build ## what takes longer than CI may: a thousand runs, a gibibyte each way
	GVISOR_EXEC_BIN=$(CURDIR)/bin GVISOR_EXEC_SOAK=1 $(GO) test -count=1 -tags soak -timeout 120m -run Soak -v ./integration/...

fuzz: ## every fuzz target for 30 s
	for target in FuzzParseMount FuzzEnv FuzzSpec; do $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime 30s ./bundle; done
	$(GO) test -run '^$$' -fuzz '^FuzzFlags$$' -fuzztime 30s ./cmd/gvisor-exec
	for target in FuzzDocker FuzzPodmanPath; do $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime 30s ./internal/register; done

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

install: build ## install under PREFIX (default /usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/gvisor-exec $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install bin/gvisor-exec $(DESTDIR)$(PREFIX)/bin/
	install bin/runsc $(DESTDIR)$(PREFIX)/libexec/gvisor-exec/
	bin/gvisor-exec generate man > $(DESTDIR)$(PREFIX)/share/man/man1/gvisor-exec.1
	bin/gvisor-exec generate bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/gvisor-exec
	bin/gvisor-exec generate zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_gvisor-exec
	bin/gvisor-exec generate fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/gvisor-exec.fish

clean: ## remove what was built
	rm -rf bin

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

FORCE:
