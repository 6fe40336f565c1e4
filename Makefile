# Needs python3 (3.11 or later) with venv, and the package registries; everything else is set up in .venv by itself.

PYTHON ?= python3
FOCUS_PYTHON ?= python3.12
T      ?= tests

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint format bench lock audit focus-validate clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: .venv/runtime.stamp ## make .venv with the remit command

demo: .venv/runtime.stamp ## run the whole system on a generated workload, in about half a minute
	@$(BIN)/remit demo

test: .venv/dev.stamp ## run the tests; T=path runs a part of them
	@$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(T)

lint: .venv/dev.stamp ## style, format, types and import direction, all findings at once
	@status=0; \
	$(BIN)/ruff check --quiet --output-format concise . || status=1; \
	$(BIN)/ruff format --quiet --check . || status=1; \
	$(BIN)/mypy --strict --no-error-summary src tests/tidy || status=1; \
	$(BIN)/lint-imports --no-logo > .venv/lint-imports.txt || { cat .venv/lint-imports.txt; status=1; }; \
	test $$status != 0 || echo "lint: no findings"; exit $$status

format: .venv/dev.stamp ## rewrite the files the way `make lint` wants them
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

bench: .venv/dev.stamp ## measure requests per second and added latency on this machine
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.capabilities
	@$(BIN)/python -m bench.breaker
	@$(BIN)/python -m bench.ledger

lock: .venv/dev.stamp ## rewrite requirements/*.txt from their inputs; UPGRADE=1 takes the newest versions
	@$(COMPILE) --extra server --extra archive --extra metrics pyproject.toml requirements/build.in -o requirements/runtime.txt
	@$(COMPILE) --extra server --extra archive --extra metrics --extra exact-tokens --extra sheet pyproject.toml requirements/build.in requirements/dev.in -o requirements/dev.txt
	@$(COMPILE) requirements/audit.in -o requirements/audit.txt
	@$(subst 3.11,3.12,$(COMPILE)) requirements/focus.in -o requirements/focus.txt

audit: .venv/audit.stamp ## look the locked versions up in a vulnerability database (asks the network)
	@for set in runtime dev; do \
		.venv/audit/bin/pip-audit --require-hashes --disable-pip -r requirements/$$set.txt || exit 1; done

focus-validate: .venv/dev.stamp .venv/focus.stamp ## check the FOCUS export with focus-validator; FOCUS_PYTHON is 3.12 or later
	@$(BIN)/python -m tests.reports.official .venv/focus

clean: ## remove .venv, builds and caches; data under .remit stays
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests $(wildcard bench) -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment. The development set contains the runtime set, so the stamps follow each other, also under -j.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python 3.11 or later is needed: make PYTHON=...")'
	@$(PYTHON) -m venv .venv

.venv/runtime.stamp: requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo "setting up .venv: runtime"
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: requirements/dev.txt .venv/runtime.stamp
	@echo "setting up .venv: development"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

.venv/audit.stamp: requirements/audit.txt | $(BIN)/python
	@echo "setting up .venv/audit"
	@$(BIN)/python -m venv .venv/audit
	@.venv/audit/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/audit.txt
	@touch $@

.venv/focus.stamp: requirements/focus.txt | $(BIN)/python
	@echo "setting up .venv/focus"
	@$(FOCUS_PYTHON) -m venv .venv/focus
	@.venv/focus/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/focus.txt
	@touch $@
