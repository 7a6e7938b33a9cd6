# `make` without a target lists the targets.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

COMMIT ?= $(shell git describe --tags --always --dirty 2>/dev/null || true)
TOOL := go tool -modfile=tools/go.mod

# Which packages, benchmarks and fuzz functions; how long and how often.
PKG ?= ./...
BENCH ?= .
FUZZ ?= .
COUNT ?= 1
FUZZTIME ?= 10s
ARGS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Build and start a server to try (ARGS='--addr 127.0.0.1:0' and the like)
	@scripts/setup run
	@$(MAKE) --no-print-directory build
	@exec bin/countersign dev $(ARGS)

.PHONY: build
build: ## Build bin/countersign, static, with its commit in it
	CGO_ENABLED=0 go build -trimpath -ldflags '-X github.com/countersign-mfa/countersign/internal/cli.Commit=$(COMMIT)' -o bin/countersign ./cmd/countersign

.PHONY: release
release: ## Make the archives, packages, checksums and bills of materials of a release in bin/release
	@go -C tools/release build -o $(CURDIR)/bin/make-release .
	@bin/make-release $(ARGS)

.PHONY: test
test: ## Install what the tests need, run them all, search their logs for secrets
	@scripts/setup test
	scripts/test

.PHONY: check
check: setup lint test ## Everything that a change must pass: format, vet, lint, test

.PHONY: setup
setup: # before lint, because Vale is built with a C compiler
	@scripts/setup test

.PHONY: lint
lint: prose ## Only formatting, go vet, staticcheck and prose
	@unformatted=$$(gofmt -l .); if [[ -n $$unformatted ]]; then \
		echo 'not formatted (run gofmt -w on them):'; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go -C test vet ./...
	go -C tools/release vet ./...
	go -C tools/chart vet ./...
	go -C test/conformance/go vet ./...
	$(TOOL) staticcheck ./...
	cd test && go tool -modfile=../tools/go.mod staticcheck ./...
	cd tools/release && go tool -modfile=../go.mod staticcheck ./...

.PHONY: prose
prose: ## The English of comments and documents, by the rules in tools/vale
	$(TOOL) vale --no-global --output=line $$(git ls-files '*.go' '*.md')

.PHONY: measure
measure: ## Print figures of the shape of the code: functions, interfaces, arrows between files
	@go -C tools run ./measure

.PHONY: bench
bench: build ## Measure the server against bare net/http, in some minutes (ARGS); docs/performance.md
	@mkdir -p .cache/bench
	@go build -o .cache/bench/bench ./internal/tools/bench
	@.cache/bench/bench $(ARGS)

.PHONY: bench-full
bench-full: ## The same in an hour: overload, 10 million factors, steady load
	@$(MAKE) --no-print-directory bench ARGS='-full $(ARGS)'

.PHONY: microbench
microbench: ## Run the Go benchmarks (PKG, BENCH, COUNT); with COUNT=10, summed up by benchstat
	@mkdir -p .cache
	@go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG) | tee .cache/microbench.txt
	@if [[ $(COUNT) -gt 1 ]]; then $(TOOL) benchstat .cache/microbench.txt; fi

.PHONY: fuzz
fuzz: ## Run each Fuzz function for FUZZTIME (10s), or those that match FUZZ
	@go test -list '^Fuzz' $(PKG) \
	| awk '/^Fuzz/ { names[n++] = $$1; next } $$1 == "ok" { for (i = 0; i < n; i++) print $$2, names[i]; n = 0 }' \
	| { grep -E -e '$(FUZZ)' || { echo 'no such Fuzz function' >&2; exit 1; }; } \
	| while read -r package name; do \
		echo "$$name in $$package"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null; \
	done

.PHONY: conformance
conformance: ## Drive the built server with client libraries, old and new; print the table
	@scripts/setup test
	@mkdir -p .cache && rm -f .cache/conformance.txt
	@echo 'driving the built server with every client; this takes some minutes'
	@COUNTERSIGN_CONFORMANCE_TABLE=$(CURDIR)/.cache/conformance.txt scripts/test ./test/conformance \
		|| { cat .cache/conformance.txt 2>/dev/null; exit 1; }
	@cat .cache/conformance.txt

.PHONY: docs
docs: ## Write the generated parts of docs/ again: settings, clients, screenshots
	go test -run TestOperatingListsEverySetting ./internal/cli -update
	@scripts/setup test
	scripts/test -run 'TestClients|Examples' ./test/conformance -update
	scripts/test -run 'TestConsole$$|TestLanding$$' ./test/conformance -screenshots

.PHONY: site
site: ## Build the site of the documents in .cache/site (SITE_BASE=/path/)
	@cd tools/site && { [[ node_modules -nt package-lock.json ]] || npm ci --loglevel=error; }
	node tools/site/build.mjs .cache/site

.PHONY: site-versions
site-versions: ## Build the sites of this version and of all released ones (SITE_BASE=/path/)
	@cd tools/site && { [[ node_modules -nt package-lock.json ]] || npm ci --loglevel=error; }
	node tools/site/versions.mjs .cache/site

.PHONY: clean
clean: ## Remove what was built and installed here
	rm -rf bin .cache test/conformance/*/node_modules test/conformance/*/libraries internal/delivery/sms/smpp/smpptest/node_modules internal/pgtest/postgres18/node_modules tools/site/node_modules
