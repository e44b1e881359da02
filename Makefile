# Everything a person or a CI machine does with this project. A fresh Debian or Ubuntu with Python 3.11+ and make is
# enough: each target installs what it needs, in .venv (pinned and hashed by requirements.lock and .make/*.lock) or by apt.
#
# Variables: ARGS      more arguments for `run`, `demo` and the benches, e.g. make run ARGS="--log-format json"
#            TESTS     what `make test` runs, e.g. make test TESTS=tests/core
#            JOBS      test processes side by side (3)
#            PYTHON    the Python that makes .venv (the newest python3 from 3.11 on)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
DATA := .spendgate
JOBS ?= 3
unexport PYTHONDONTWRITEBYTECODE # without compiled files beside the source every start compiles the whole program
TESTS ?= tests
PYTHON ?=
ARGS ?=

.PHONY: help install dev run demo test lint format types pytest lock docker-lint docker-steps \
        bench bench-overshoot bench-admission bench-inprocess bench-memory bench-forecast bench-status bench-dashboard clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

# --- environment: each stamp is made again only when what it was made from has changed ------------------------------

$(BIN)/python:
	@PYTHON="$(PYTHON)" .make/make-venv .venv

.venv/.installed: requirements.lock .make/build.lock pyproject.toml .make/make-venv | $(BIN)/python
	@PYTHON="$(PYTHON)" .make/make-venv .venv
	@echo "Installing spendgate into .venv (once) ..."
	@$(PIP) install --require-hashes -r requirements.lock -r .make/build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .make/dev.lock .venv/.installed
	@echo "Installing the test tools into .venv (once) ..."
	@$(PIP) install --require-hashes -r .make/dev.lock
	@touch $@

.venv/.system: .make/system-packages | $(BIN)/python
	@.make/system-packages redis-server curl node npm chromium fonts-noto-cjk
	@touch $@

tests/node/node_modules/.installed: tests/node/package.json tests/node/package-lock.json .venv/.system
	@cd tests/node && npm ci --no-audit --no-fund --silent
	@touch $@

install: .venv/.installed ## make .venv with what the proxy needs
dev: .venv/.dev .venv/.system tests/node/node_modules/.installed ## ... and with what the tests need

# --- use --------------------------------------------------------------------------------------------------------------

run: .venv/.installed ## start the proxy on 127.0.0.1:8080 with ./rules.yaml (Ctrl-C drains and stops it)
	@exec $(BIN)/spendgate serve --rules rules.yaml --data $(DATA) $(ARGS)

demo: .venv/.installed ## the whole story in a minute, without any account
	@exec $(BIN)/spendgate demo $(ARGS)

# --- checks -----------------------------------------------------------------------------------------------------------

test: ## everything: format, lint, types, tests
	@$(MAKE) -j2 dev # pip beside apt and npm
	@$(MAKE) lint
	@$(MAKE) -j2 types pytest # the types beside the tests: whichever fails, the other one is run to its end, and make fails

lint: .venv/.dev
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/ruff check --quiet .

types: .venv/.dev
	@$(BIN)/mypy

pytest: dev
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder $(TESTS)

format: .venv/.dev ## write the source the way `make lint` wants it
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docker-lint: .venv/.dev ## lint the Dockerfile
	@$(BIN)/hadolint Dockerfile

docker-steps: .venv/.installed ## run the Dockerfile's steps by hand, in a folder of their own
	@$(BIN)/python .make/docker_steps.py $(ARGS)

# --- pins -------------------------------------------------------------------------------------------------------------
# The dev lock is resolved first; the two smaller ones are cut out of it, so that all three agree. `hatchling` builds the
# project and `editables` lets it be installed in place; both are pinned because installing runs without build isolation.

COMPILE = UV_SYSTEM_CERTS=1 UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
          --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links

lock: .venv/.dev ## pin every dependency anew: requirements.lock, .make/*.lock
	@$(PIP) install uv
	@printf 'hatchling>=1.27\neditables>=0.5\n' > .venv/build.in
	@$(COMPILE) --upgrade pyproject.toml --group dev .venv/build.in -o .make/dev.lock
	@$(COMPILE) pyproject.toml -c .make/dev.lock -o requirements.lock
	@$(COMPILE) .venv/build.in -c .make/dev.lock -o .make/build.lock

# --- measurements -----------------------------------------------------------------------------------------------------

bench: .venv/.installed ## requests a second and CPU a request, beside nginx, nginx + Lua + Redis and hardcap
	@.make/system-packages nginx nginx-lua wrk taskset
	@$(BIN)/python bench/throughput.py $(ARGS)

bench-overshoot: .venv/.installed ## 128 streams a budget through three proxies: overspend and usable share
	@$(BIN)/python bench/overshoot.py $(ARGS)

bench-admission: .venv/.installed ## what one admit + settle costs
	@$(BIN)/python bench/admission.py $(ARGS)

bench-inprocess: .venv/.installed ## 1 000 decorated calls in one Python process, and the check alone
	@$(BIN)/python bench/inprocess.py $(ARGS)

bench-status: .venv/.installed ## a budget's status after thirteen months and a million calls
	@$(BIN)/python bench/status.py $(ARGS)

bench-dashboard: .venv/.installed ## the first screen after a year, and 200 open dashboards beside paid traffic
	@$(BIN)/python bench/dashboard.py $(ARGS)

bench-memory: .venv/.installed ## 1 GiB up and down: memory; CPU for one streamed chunk
	@$(BIN)/python bench/memory.py $(ARGS)

bench-forecast: .venv/.installed ## errors and intervals of the forecast, on made-up series or those of ARGS=FOLDER
	@$(BIN)/python bench/forecast.py $(ARGS)

clean: ## remove what was installed and built here (never .spendgate: it holds the counters)
	@rm -rf .venv dist bench/.cache bench/results tests/node/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find proxy tests bench .make -name __pycache__ -type d -prune -exec rm -rf {} +
