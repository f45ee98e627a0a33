# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv with pinned versions first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The oldest Python of setup.cfg, and where the lowest versions of everything else are installed beside it.
OLDEST_PYTHON ?= python3.10
LOWEST := $(VENV)-lowest
WORKERS ?= 2
MINUTES ?= 60
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
export OMP_NUM_THREADS ?= 1
# What somebody has set for a Python and pip of their own is not meant for these environments.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONSAFEPATH PYTHONOPTIMIZE PYTHONWARNINGS
export PIP_USER := 0

.PHONY: demo test test-slow lowest coverage faults check lint docs bench planted-errors clean

demo: $(VENV)/.demo
	$(BIN)/python examples/relax_molecule.py

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS)

test-slow: $(VENV)/.test
	$(INSTALL) --editable '.[pme,release]'
	$(INSTALL) --no-build-isolation torch-scatter || echo 'torch-scatter does not build here: its test is skipped'
	$(BIN)/python -m pytest -m slow

# The default suite with the lowest versions that setup.cfg allows.
lowest: $(LOWEST)/.test
	$(LOWEST)/bin/python -m pytest -n $(WORKERS)

# Lines that the default suite reaches; less than the floor of setup.cfg fails.
coverage: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term-missing:skip-covered

# Broken system calls need strace (a package of the system); without it these tests say so and are skipped.
faults: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) tests/faults -m 'slow or not slow' --budget-minutes $(MINUTES)

lint: $(VENV)/.test
	$(BIN)/ruff check molcalc tests examples benchmarks docs/*.py
	$(BIN)/ruff format --check molcalc tests examples benchmarks docs/*.py
	$(BIN)/mypy

check: lint test

# The site of docs/, with the reference made from the package; any warning is an error. Open build/site/index.html.
# Tutorials are run, which takes minutes, but for those that have not changed since (docs/tutorials).
docs: $(VENV)/.docs
	$(BIN)/sphinx-build -q -W --keep-going docs build/site

planted-errors: $(VENV)/.test
	$(BIN)/python tests/planted_errors.py

bench: $(VENV)/.peers
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf $(VENV) $(LOWEST) build docs/made docs/tutorials *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "$(PYTHON) is Python %d.%d: give a newer one, such as PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[aimnet2,fast]'
	touch $@

$(VENV)/.test: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[aimnet2,fast,test]'
	touch $@ $(VENV)/.demo

$(LOWEST)/.test: setup.cfg tests/helpers/lowest_versions.py
	$(OLDEST_PYTHON) -m venv --clear $(LOWEST)
	$(OLDEST_PYTHON) tests/helpers/lowest_versions.py setup.cfg > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/lowest.txt \
		--editable '.[aimnet2,fast,test]'
	touch $@

$(VENV)/.docs: $(VENV)/.test
	$(INSTALL) --editable '.[docs]'
	touch $@

$(VENV)/.peers: $(VENV)/.test
	$(INSTALL) --editable '.[peers]'
	touch $@
