# Two commands do all the set-up on a machine that has only Python >= 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Branch coverage in per cent that `make coverage` and `.ci/run` ask for. It does not fall: raise it when coverage rises.
COVERAGE_FLOOR ?= 95.5
PYTEST_ARGS ?=
# The oldest and the newest Python that `make test-lowest` runs on, and a folder for their environments.
OLDEST_PYTHON ?= 3.11
NEWEST_PYTHON ?= 3.13
LOWEST ?= .venv-lowest
# Tests run in one process per core; a process takes one thread (tests/conftest.py).
PYTEST_WORKERS ?= auto

.PHONY: demo test test-slow test-lowest coverage lint format notebook bench bench-quality clean help

help:
	@echo "make demo | test | test-slow | test-lowest | coverage | lint | format | notebook | bench | bench-quality"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("demure needs Python >= 3.11, found %d.%d: set PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/demure demo

test: $(STAMP)
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --maxprocesses 8 --dist worksteal $(PYTEST_ARGS)

test-slow: $(STAMP) test-lowest
	$(BIN)/python -m pytest -m slow

# The lowest versions that pyproject.toml allows and that have a wheel for that Python.
test-lowest: $(STAMP)
	for python in $(OLDEST_PYTHON) $(NEWEST_PYTHON); do \
	  $(BIN)/uv venv --quiet --allow-existing --python $$python $(LOWEST)/$$python && \
	  $(BIN)/uv pip install --python $(LOWEST)/$$python --resolution lowest-direct --only-binary :all: \
	    --requirements pyproject.toml --extra dev && \
	  PYTHONPATH=.ci/names $(LOWEST)/$$python/bin/python -m pytest --ignore=tests/guards $(PYTEST_ARGS) || exit 1; \
	done

coverage:
	$(MAKE) test PYTEST_ARGS="--cov --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE_FLOOR)"

lint: $(STAMP)
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebook: $(STAMP)
	$(BIN)/jupyter execute --inplace docs/quickstart.ipynb

bench: $(STAMP)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/evaluation.py speed
	$(BIN)/python benchmarks/evaluation.py memory

bench-quality: $(STAMP)
	$(BIN)/python benchmarks/quality.py

clean:
	rm -rf $(VENV) $(LOWEST) build dist *.egg-info
