# Needs Python 3.11 or newer, make and a package registry; everything else comes into .venv.
#   make demo     the whole way on this machine, with a bad link that dies half-way
#   make test     what CI runs
#   make check    the wheel, installed afresh, runs the demo in an empty folder
#   make bench    the figures of docs/benchmarks.md
#   make nightly  what needs root or a long time, then check
#   make venv     only the environment; PYTHON=python3.12 chooses another Python
#   make clean    takes all of that away again

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --no-input -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo test check bench nightly clean

help:
	@sed -n 's/^#   //p' Makefile

venv: $(STAMP)

# The stamp is written last: a venv that failed half-way (Debian without python3-venv leaves one) is made again.
# pip comes first: an old one knows no build constraints, and would build with whatever setuptools is newest.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Titian needs Python 3.11 or newer; '$(PYTHON)' is not, or is not there. Try: make PYTHON=python3.12 $(or $(MAKECMDGOALS),venv)" >&2; exit 1; }
	@echo "titian: making .venv with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv --clear .venv || { \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "titian: installing the pinned packages (about 50, half a minute) ..."
	@$(PIP) --upgrade pip
	@PYTHONWARNINGS=ignore $(PIP) --build-constraint constraints.txt -e '.[dev]'
	@touch $@
	@echo "titian: .venv is ready"

demo: $(STAMP)
	@$(BIN)/titian demo

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not nightly" -rs -n auto --dist worksteal --durations=40 --durations-min=5

check: $(STAMP)
	$(BIN)/python tests/check_wheel.py

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks.run

# It installs what it needs: Debian's packages where it may, and the drivers of PostgreSQL and of a browser into .venv. What a machine
# cannot do is skipped, with why. pytest ends with 5 where it finds nothing to run: no failure, but said.
nightly: $(STAMP)
	@[ "$$(id -u)" = 0 ] || echo "nightly: not root; what needs root is skipped, and said below"
	@tests/nightly/install.sh
	@PYTHONWARNINGS=ignore $(PIP) --build-constraint constraints.txt -e '.[dev,postgresql,browser]'
	$(BIN)/python -m pytest -m nightly -rs || [ $$? = 5 ]
	TEST_EFFORT=4 $(BIN)/python -m pytest -n auto -rs tests/scenarios/test_any_announced.py \
	  tests/scenarios/test_any_interleaving.py tests/scenarios/test_any_rebuild.py
	$(MAKE) check

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
