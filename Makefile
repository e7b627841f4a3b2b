# Everything a developer runs by name. `verify` never writes, `fix` and `docs` do, `test` does its own set-up.

SHELL := /bin/sh
CARGO ?= cargo
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
# This machine's own kind, named: with a target given, the flag below is not for build scripts and macros.
STATIC = $(shell rustc -vV | sed -n 's/^host: //p')
TARGET := $(or $(CARGO_TARGET_DIR),target)
DENY_VERSION := 0.20.2
# Each test has a process of its own: some count what their process holds or how it keeps up.
NEXTEST_VERSION := 0.9.143

.PHONY: help test verify fix docs bench bench-answer bench-peers bench-registrator bench-instructions image demo demo-down tools

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | column -t -s '|'

test: tools ## all tests, on the real Docker Engine; installs the Debian packages and the runner they need
	tests/docker/build.sh
	$(CARGO) test --workspace --doc --quiet
	@$(CARGO) nextest --version >/dev/null 2>&1 || \
		$(CARGO) install --locked cargo-nextest --version $(NEXTEST_VERSION)
	$(CARGO) nextest run --workspace

tools: ## the programs that tests call
	@tests/tools.sh

verify: ## formatting, lints, dependencies, generated pages; writes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	@$(CARGO) deny --version 2>/dev/null | grep -q . || \
		$(CARGO) install --locked cargo-deny --version $(DENY_VERSION)
	$(CARGO) deny --log-level error check --hide-inclusion-graph bans licenses sources
	$(CARGO) test --quiet --test tidy
	$(CARGO) test --quiet --workspace --lib --bins docs

fix: ## what verify asks for and a program can do
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

docs: ## the generated pages of docs/
	REWRITE=1 $(CARGO) test --quiet --workspace --lib --bins docs

bench: bench-answer bench-peers ## all figures of docs/performance.md that compare with others

bench-answer: tools ## from the return of `docker run -dP` to the first 200, in three cases
	tests/docker/build.sh whoami
	$(CARGO) bench --bench first_answer

bench-peers: ## Lictor beside HAProxy and nginx; CASES="small tls" chooses, CASES=--list tells which there are
	@tests/packages.sh haproxy:haproxy nginx:nginx-light wrk:wrk h2load:nghttp2-client curl:curl taskset:util-linux
	$(CARGO) bench --bench peers -- $(CASES)

bench-registrator: tools ## 500 containers: how soon they are registered, what they cost while nothing happens
	tests/docker/build.sh whoami
	$(CARGO) bench --bench five_hundred

bench-instructions: ## how many of them lookups and requests take: figures that repeat, also on a busy machine
	@tests/packages.sh valgrind:valgrind haproxy:haproxy nginx:nginx-light taskset:util-linux
	$(CARGO) bench --bench instructions

image: ## the image lictor: FROM scratch around one static binary
	RUSTFLAGS=-Ctarget-feature=+crt-static $(CARGO) build --release --target $(STATIC)
	mkdir -p $(TARGET)/image
	cp docker/Dockerfile $(TARGET)/image/
	cp $(TARGET)/$(STATIC)/release/lictor $(TARGET)/image/
	DOCKER_BUILDKIT=0 docker build --quiet --tag lictor $(TARGET)/image

demo: image ## Lictor, two web servers and a redis, by docker-compose
	tests/docker/build.sh redis whoami
	$(COMPOSE) -f docker/compose.yml up -d
	@echo
	@echo 'Lictor runs. Try:'
	@echo '  curl 127.0.0.1:9999/web                                     # one of two web servers, by its tag'
	@echo '  curl 127.0.0.1:8500/v1/catalog/service/redis?pretty         # the catalog'
	@echo '  dig @127.0.0.1 -p 8600 web.service.consul SRV               # DNS'
	@echo '  redis-cli -p 6380 PING                                      # through a TCP route'
	@echo 'and end it with: make demo-down'

demo-down: ## the end of the demo
	$(COMPOSE) -f docker/compose.yml down
