# SPDX-License-Identifier: Apache-2.0
# Everything runs in .venv, which the first target that needs it sets up; nothing outside this folder is touched.

PYTHON  ?= $(shell for p in python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
WORKERS ?= 2
MODEL   ?= pinn_mlp
ARGS    ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test deep lint types fmt rules rules-deep conformance bench build clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: .venv/.stamp-export ## optimize the example model and write a report to out/
	@echo "demo: optimizing examples/models/$(MODEL).jaxexport; the report goes to out/report.html"
	@mkdir -p out
	@$(BIN)/egraph-opt optimize examples/models/$(MODEL).jaxexport -o out/$(MODEL).jaxexport --report out/report.html --json out/report.json

test: .venv/.stamp-test ## run the tests (minutes); ARGS="-k name" narrows them
	@echo "test: running the tests that are not slow with $(WORKERS) workers"
	@$(BIN)/python -m pytest -q -m "not slow" -n $(WORKERS) --dist worksteal $(ARGS)

deep: .venv/.stamp-test ## run the slow checks with many random cases (an hour or so)
	@echo "deep: running every test, slow ones too, with the nightly profile"
	@XLA_FLAGS= HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

lint: .venv/.stamp-lint ## check style and formatting
	@echo "lint: checking style and formatting"
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .

types: .venv/.stamp-lint ## check types
	@echo "types: checking types"
	@$(BIN)/mypy

fmt: .venv/.stamp-lint ## format the code and repair what can be repaired
	@echo "fmt: formatting"
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

rules: .venv/.stamp-export ## check that the rule files are well formed and sound
	@echo "rules: checking rules/"
	@$(BIN)/egraph-opt rules lint rules && $(BIN)/egraph-opt rules check rules

rules-deep: .venv/.stamp-export ## check every rule on 2000 random instances (half an hour or so)
	@echo "rules-deep: checking rules/ with 2000 instances each"
	@$(BIN)/egraph-opt rules check rules --trials 2000 --jobs $(WORKERS)

conformance: .venv/.stamp-test ## run the ONNX standard's own tests of backends and write docs/onnx-conformance.md (minutes)
	@echo "conformance: running the standard's tests"
	@$(BIN)/python -m egraph_opt.frontends.onnx.conformance --jobs $(WORKERS) --write docs/onnx-conformance.md

bench: .venv/.stamp-test ## run a quick benchmark into out/bench.jsonl; ARGS="algebra" or other names choose
	@echo "bench: running the benchmarks; the numbers go to out/bench.jsonl"
	@mkdir -p out
	@$(BIN)/python -m benchmarks.run $(ARGS) --json out/bench.jsonl

build: .venv/.stamp-lint ## build the wheel into dist/
	@echo "build: building the wheel into dist/"
	@$(PIP) wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove .venv, caches and everything built
	@echo "clean: removing .venv, caches and build outputs"
	@rm -rf .venv out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp a set of extras, so that the demo need not wait for what only the tests use.
.venv/.stamp-%: pyproject.toml constraints.txt | .venv/bin/python
	@echo "setup: installing egraph_opt[$*] into .venv (the first time takes a minute or two)"
	@$(PIP) install --quiet --editable ".[$*]" --constraint constraints.txt
	@touch $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "setup: Python 3.11 or newer is needed and none was found; set PYTHON=..." >&2; exit 2; }
	@echo "setup: creating .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 2; }
