# clockarbiter: make demo, make test, make check. "make help" lists everything.

SHELL := /bin/bash
GO ?= go
FUZZTIME ?= 1m
FUZZCORPUS ?= $(HOME)/.cache/clockarbiter/fuzz

version := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
tools_dir := $(CURDIR)/build/tools
lint := $(GO) tool -modfile=$(CURDIR)/tools/go.mod golangci-lint

# Go would ask git for a stamp, and git refuses a checkout that somebody else owns.
export GOFLAGS += -buildvcs=false

# chronyd and ptp4l, where they had to be unpacked, and where Debian keeps daemons and Go.
export CLOCKARBITER_TOOLS := $(tools_dir)
export PATH := $(tools_dir)/usr/sbin:$(tools_dir)/usr/bin:$(PATH):/usr/sbin:/sbin:/usr/local/go/bin

# What needs root, namespaces or quiet runs alone, after all others: these packages, and the tests
# of the engines that are named TestReal.
engines := ./chrony ./ptp
# One goroutine and hours of simulated time: nothing for the race detector to see, at ten times the cost.
simulated := ./integration/sim/... ./integration/scenarios
real := ./integration/namespaces ./integration/e2e ./integration/faults

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check build lint fmt vet race real bench bench-peers soak fuzz nightly cover tools root clean test-vm vm-short vm-setup

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: root ## two minutes: one ptp4l, three chronyd, the arbiter, and what goes wrong between them (root)
	@scripts/tools.sh $(tools_dir) chronyd ptp4l setpriv
	$(GO) build -ldflags '-X main.version=$(version)' -o bin/ ./cmd/clockarbiter ./integration/demo
	@exec bin/demo -clockarbiter bin/clockarbiter

test: root ## set up and test everything: lint, race detector, real daemons in namespaces, a virtual machine (root)
	@scripts/tools.sh $(tools_dir) chronyd ptp4l setpriv gcc systemd-analyze
	@$(MAKE) --no-print-directory check real vm-short

check: lint vet race build ## format, lint, race tests, build: what needs no root

build: ## bin/clockarbiter
	$(GO) build -ldflags '-X main.version=$(version)' -o bin/ ./cmd/clockarbiter

lint: ## format and rules, with the pinned golangci-lint
	$(lint) run ./...

fmt: ## format in place
	$(lint) fmt ./...

vet:
	$(GO) vet ./...

race:
	$(GO) test -race -timeout 20m -skip '^TestReal' $$($(GO) list ./... | grep -vE '^clockarbiter/integration/(namespaces|e2e|faults|scenarios|sim.*)$$')
	$(GO) test -timeout 20m $(simulated)

# One package at a time: these measure clocks to microseconds, and a busy neighbour is noise.
real: root build ## only the tests with real daemons in namespaces (root)
	$(GO) test -race -count=1 -p 1 -timeout 5m -run '^TestReal' $(engines)
	$(GO) test -race -count=1 -p 1 -timeout 5m $(real)

test-vm: vm-setup ## every story of a whole host in a virtual machine: kernel clock, PHCs, systemd, Ansible (root, 12 minutes)
	CLOCKARBITER_VM=1 $(GO) test -count=1 -v -p 1 -timeout 60m ./integration/vm ./integration/vm/peers

vm-short: vm-setup ## the stories of test-vm that no change may break, as make test runs them (root, minutes)
	CLOCKARBITER_VM=1 $(GO) test -count=1 -short -timeout 30m ./integration/vm

vm-setup: root ## build the patched QEMU and the guest into ~/.cache/clockarbiter (once, minutes)
	@scripts/tools.sh $(tools_dir) patch perl
	@JOBS=$$(nproc) integration/vm/setup/qemu.sh make
	@integration/vm/setup/guest.sh make

bench: ## the figures of docs/benchmark.md: estimator and discipline beside the peers (10 minutes)
	$(GO) test ./integration/sim -run TestFigures -v -count=1 -timeout 60m -seeds 20 -hours 4

bench-peers: vm-setup ## docs/benchmark-peers.md: beside timemaster, phc2sys and chronyd in the virtual machine (root, twenty minutes)
	CLOCKARBITER_VM=1 $(GO) test ./integration/vm/peers -run '^(TestBenchmark|TestReport)$$' -v -count=1 -timeout 6h -parallel 2 \
		-runs $(CURDIR)/build/peers -docs $(CURDIR)/docs

soak: root ## another 30,000 random hosts in the simulator, and half an hour of faults on real daemons (root)
	$(GO) test ./integration/scenarios -run Random -count=1 -random.first 10001 -random.count 30000 -timeout 60m
	$(GO) test -race ./integration/faults -count=1 -faults.seed 0 -faults.for 30m -faults.kills 200 -timeout 90m

nightly: soak ## the long forms: soak, and every fuzz target for two minutes (root, three hours)
	@$(MAKE) --no-print-directory fuzz FUZZTIME=2m

# What fuzzing found interesting is kept in FUZZCORPUS and is where the next run begins; an input that breaks
# something is in testdata/fuzz of its package, to be committed with the cure.
fuzz: ## every fuzz target for FUZZTIME each, from the corpora in FUZZCORPUS on
	@set -e; grown=$$($(GO) env GOCACHE)/fuzz/clockarbiter; mkdir -p $(FUZZCORPUS) "$$grown"; \
	cp -r $(FUZZCORPUS)/. "$$grown"; trap 'cp -r "$$grown"/. $(FUZZCORPUS)' EXIT; \
	for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

# Each package by the tests of its own, then what real chronyd and ptp4l reach of it.
cover: root ## coverage of supervisor, clock, chrony and ptp, and of the last two by real daemons alone (root)
	@mkdir -p build/cover
	@for package in supervisor clock chrony ptp; do \
		$(GO) test -count=1 -skip '^TestReal' -coverpkg ./$$package/... -coverprofile build/cover/$$package.out ./$$package/... >build/cover/$$package.log || \
			{ cat build/cover/$$package.log; exit 1; }; \
		printf '%-28s %s\n' $$package "$$($(GO) tool cover -func build/cover/$$package.out | sed -n 's/^total:.*[[:space:]]//p')"; \
	done
	@rm -f build/cover/*-inside.out
	@for package in chrony ptp; do \
		CLOCKARBITER_COVER_INSIDE=$(CURDIR)/build/cover/$$package-inside.out \
		$(GO) test -count=1 -run '^TestReal' -coverpkg ./$$package -coverprofile build/cover/$$package-real.out ./$$package >build/cover/$$package-real.log || \
			{ cat build/cover/$$package-real.log; exit 1; }; \
		[[ ! -e build/cover/$$package-inside.out ]] || mv build/cover/$$package-inside.out build/cover/$$package-real.out; \
		printf '%-28s %s\n' "$$package, real daemons" "$$($(GO) tool cover -func build/cover/$$package-real.out | sed -n 's/^total:.*[[:space:]]//p')"; \
	done

tools: ## chronyd and ptp4l for the tests, unpacked where they are not installed
	scripts/tools.sh $(tools_dir) chronyd ptp4l setpriv gcc systemd-analyze

root:
	@[[ $$(id -u) -eq 0 ]] || { \
		echo "This makes network, mount and PID namespaces and needs root: sudo make $(or $(MAKECMDGOALS),test)" >&2; \
		echo "Without root, 'make check' runs everything that does not need them." >&2; \
		exit 1; }

clean: ## remove what make made
	rm -rf bin build
