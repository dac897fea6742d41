# From nothing but Python 3.11 and make. Stamp files keep repeated calls quick.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 2
EVENTS ?= 1000000

.DEFAULT_GOAL := help
.PHONY: help run install dev test reliability lint bench docs lock clean

help:
	@echo "make run      start everything with a demo account, at http://127.0.0.1:8080"
	@echo "make install  make $(BIN)/commandpost"
	@echo "make test     run all tests; what needs MariaDB, RabbitMQ or Redis runs where they answer"
	@echo "make reliability   kill every process, the broker and the database while mail flows, for a quarter of an hour"
	@echo "make lint     style, types and import contracts"
	@echo "make bench    measure accepting, delivering and reading (EVENTS=10000000 for the full size)"
	@echo "make docs     write the generated pages under docs/"
	@echo "make lock     pin the dependencies of setup.cfg anew"
	@echo "make clean    remove the environment and caches; data in var/ stays"

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not there; name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.developing: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

install: $(VENV)/.installed

dev: $(VENV)/.developing

run: $(VENV)/.installed
	$(BIN)/commandpost migrate
	exec $(BIN)/commandpost serve --demo

test: $(VENV)/.developing
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal

reliability: $(VENV)/.developing
	COMMANDPOST_TEST_LONG=1 $(BIN)/python -m pytest tests/reliability

lint: $(VENV)/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.developing
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.events --events $(EVENTS)

docs: $(VENV)/.installed
	$(BIN)/commandpost settings --markdown > docs/settings.md
	$(BIN)/python -m web.pages docs

# Only names and versions go into the lock files: no index, host or path of the machine that made them.
PIP_COMPILE = CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links --no-emit-options

lock: | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools
	$(PIP_COMPILE) --output-file requirements.txt setup.cfg
	$(PIP_COMPILE) --allow-unsafe --extra dev --constraint requirements.txt --output-file requirements-dev.txt setup.cfg
	@! grep -nE '^-|://|@ |^ *# +via +-[^c]|/' requirements.txt requirements-dev.txt || { echo "make: a lock file names a place" >&2; exit 1; }

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
