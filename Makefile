# The project's commands. `make` alone lists them; CI calls these same targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check --no-deps --require-hashes
LIBRARY := pynumdraw gateway trainer modelserver k8s data up.py
T ?= tests/unit tests/contract tests/browser

export PORT STORE RECIPE

help: ## this list
	@echo "pynumdraw: draw a digit, get an honest answer. Usage: make TARGET"; echo
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: install data ## install, fetch the data, train if there is no model yet, start everything, print the address (PORT=8080 STORE=models RECIPE=quick)
	@exec $(PY) up.py

install: $(VENV)/.programs ## the programs' requirements into .venv

data: $(VENV)/.programs ## the four raw MNIST files into data/, checked
	@$(PY) -m data.fetch

train: install data ## train and publish a new version (RECIPE=quick or best)
	@$(PY) -m trainer fit --data data --store $(or $(STORE),models) --recipe $(or $(RECIPE),quick)

test: test-install data ## every suite that needs no cluster (T=path runs one)
	@$(PY) -m pytest $(T)

test-install: $(VENV)/.tests ## what the tests need, a browser too
	@tests/browser/ensure-chromium

bench: test-install ## speed of the whole path and of its parts, as a table
	@$(PY) -m tests.bench

golden: test-install ## rewrite the golden frames; then read the diff
	@$(PY) -m tests.golden

screenshot: test-install ## the README's picture, from the real page
	@$(PY) -m tests.browser.screenshot docs/page.png

lint: $(VENV)/.lint ## ruff, types, imports
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache

fmt: $(VENV)/.lint ## format the code and mend what ruff can
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

protos: $(VENV)/.lint ## pynumdraw/wire/*_pb2.py from the .proto files
	@$(PY) -m grpc_tools.protoc -I. --python_out=. --pyi_out=. pynumdraw/wire/*.proto

lock: $(VENV)/.lint ## requirements/*.txt from requirements/*.in
	@requirements/lock $(VENV)/bin/uv

clean: ## remove build/ and the virtual environment; models/ and data/ stay
	rm -rf build $(VENV)

$(PY):
	@python=; for p in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	  if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then python=$$p; break; fi; done; \
	if [ -z "$$python" ]; then echo "make: needs Python 3.11, 3.12 or 3.13; found $$(python3 --version 2>&1 || echo none). Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	echo "Making a virtual environment with $$($$python --version)"; \
	$$python -m venv $(VENV) || { rm -rf $(VENV); echo "make: $$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.programs: requirements/gateway.txt requirements/trainer.txt | $(PY)
	@echo "Installing the programs' requirements (about 300 MB the first time, one to three minutes)"
	@$(PIP_INSTALL) -r requirements/gateway.txt -r requirements/trainer.txt
	@touch $@

$(VENV)/.tests: requirements/test.txt $(VENV)/.programs
	@echo "Installing what the tests need"
	@$(PIP_INSTALL) -r requirements/test.txt
	@touch $@

$(VENV)/.lint: requirements/lint.txt $(VENV)/.tests
	@echo "Installing the linters"
	@$(PIP_INSTALL) -r requirements/lint.txt
	@touch $@

.PHONY: help up install data train test test-install bench golden screenshot lint fmt protos lock clean
