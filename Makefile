# Everything that is done by hand more than once. `make` lists it.

FUZZTIME ?= 1m
BENCHTIME ?= 1s
PLAIN = ./proof ./token ./replay/... ./internal/strictjson

.DEFAULT_GOAL := help
.PHONY: help test race short fuzz bench bench-http bench-growth lint vectors run ci

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

test: ## all tests; those that need a peer you lack say so and skip
	go test ./...

race: ## all tests under the race detector
	go test -race -timeout 25m ./...

short: ## the packages that know nothing of Caddy
	go test $(PLAIN)

fuzz: ## every fuzz target, FUZZTIME (1m) each
	@for package in $$(grep -rl --include='*_test.go' --exclude-dir=node_modules '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

bench: ## benchmarks in process, BENCHTIME (1s) each
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) . $(PLAIN)

bench-http: ## a running Caddy with and without dpop; BENCHFLAGS, such as -peers
	go run ./internal/bench/http $(BENCHFLAGS)

bench-growth: ## the curves of docs/performance.md
	go run ./internal/bench/growth -out docs/performance $(BENCHFLAGS)

lint: ## gofmt, go vet and golangci-lint
	@test -z "$$(git ls-files '*.go' | xargs gofmt -l)" || { git ls-files '*.go' | xargs gofmt -l; exit 1; }
	go vet ./...
	.ci/golangci.sh $(CURDIR)/bin
	bin/golangci-lint run

vectors: ## write testdata/vectors/proof and the answers of the attack catalogue again
	go run ./testdata/vectors/generate
	go test ./integration/attacks -run '^TestCatalogue$$' -update
	go test ./internal/house -run '^TestDecisions$$' -update

run: ## the demo at http://localhost:8080
	go run ./cmd/caddy run --config example.Caddyfile

ci: ## what GitHub runs; installs its peers on Debian
	.ci/run
