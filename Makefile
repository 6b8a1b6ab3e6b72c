# Everything a person needs, from a clone: make demo, make test, make serve. `make help` lists the rest.
SHELL := /bin/sh
VENV ?= .venv
PY := $(VENV)/bin/python
MODEL ?= mnist
MAR_DIR ?= build/model-store

.DEFAULT_GOAL := help
.PHONY: help env demo serve mar test unit serving test-stock lint clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

env:  ## create .venv with pinned dependencies (once; every other target does it by itself)
	@python=$$(sh scripts/find_python.sh) && "$$python" scripts/bootstrap.py --venv $(VENV)

demo: env  ## the document's walk-through on real TorchServe; exit 0 only if every answer is right
	@$(PY) -m scripts.demo

serve: env  ## TorchServe and wrapper in the foreground on the document's ports, until Ctrl-C
	@$(PY) -m scripts.serve

mar: env  ## build MODEL's archive (default mnist) into MAR_DIR (default build/model-store)
	@$(PY) model-archiver/build_mar.py --model $(MODEL) --out $(MAR_DIR)

test: env lint  ## lint and every test, the stock environment included where it can be built; what CI runs
	@$(PY) -m pytest
	@$(MAKE) --no-print-directory test-stock

unit: env  ## the tests that need no server (seconds)
	@$(PY) -m pytest tests/unit

serving: env  ## the tests against real TorchServe
	@$(PY) -m pytest tests/serving

test-stock:  ## the serving tests in the stock image's environment (needs Python 3.9; says so when it skips)
	@sh scripts/test_stock.sh

lint: env  ## ruff and mypy --strict
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

clean:  ## remove what was built (not .venv)
	rm -rf build logs .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -exec rm -rf {} +
