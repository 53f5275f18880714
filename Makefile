# Two commands do all the set-up on a machine that has only Python >= 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Branch coverage in per cent that `make coverage` and `.ci/run` ask for. It does not fall: raise it when coverage rises.
COVERAGE_FLOOR ?= 95
PYTEST_ARGS ?=
# Tests run in one process per core; a process takes one thread (tests/conftest.py).
PYTEST_WORKERS ?= auto

.PHONY: demo test test-slow coverage lint format notebook bench bench-quality clean help

help:
	@echo "make demo | test | test-slow | coverage | lint | format | notebook | bench | bench-quality"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("demure needs Python >= 3.11, found %d.%d: set PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/demure demo

test: $(STAMP)
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --maxprocesses 8 --dist worksteal $(PYTEST_ARGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

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
	rm -rf $(VENV) build dist *.egg-info
