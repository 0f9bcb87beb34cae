# Everything a fresh checkout needs is python 3.11 (or newer), git and make.
#
#   make demo       set up, then train, generate and measure one seed of a part of Table 1a
#   make test       set up, then run the quick tests
#   make test-all   the quick and the slow tests
#   make test-cpus  the numeric tests under every instruction set the processor has
#   make lint type  style and types
#   make venv       set up only

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_ALL := $(VENV)/.ready-all
WORKERS ?= 2
LIMIT ?=

# One thread in each process, and threads that sleep while they wait: see bench/environment.py.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

# The tests sync thousands of small files. Where memory can hold them (the tests leave about 1 GB),
# a slow disk does not count.
SCRATCH := $(shell test -w /dev/shm && [ "$$(df -Pk /dev/shm | awk 'NR==2 {print $$4}')" -gt 4000000 ] \
    && echo /dev/shm || echo "$${TMPDIR:-/tmp}")

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-cpus lint type venv

help:
	@sed -n 's/^#   //p' Makefile

venv: $(READY)

# The stamp is written last: an installation that was cut short is taken up again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "found $$($(PYTHON) --version); Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[metrics,dev]"
	@touch $@

# What only slow tests need.
$(READY_ALL): $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[metrics,ray,dev]"
	@touch $@

# A control that must improve, shortened, and a method beside the base; then what three and eight
# seeds could see.
demo: $(READY)
	$(BIN)/python -m bench run --table 1a --rows base,ddspo,sft-truth-small --cols GE $(if $(LIMIT),--limit $(LIMIT))
	@echo
	$(BIN)/python -m bench plan --table 1a --cols GE --power --seeds 0,1,2,3,4,5,6,7

test: $(READY)
	TMPDIR=$(SCRATCH) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-all: $(READY_ALL)
	TMPDIR=$(SCRATCH) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-cpus: $(READY)
	TMPDIR=$(SCRATCH) $(BIN)/python -m tests.processors --workers $(WORKERS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(READY)
	$(BIN)/mypy
