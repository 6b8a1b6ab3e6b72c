# Everything a person needs, from a clone: make demo, make test, make serve. `make help` lists the rest.
SHELL := /bin/sh
VENV ?= .venv
PY := $(VENV)/bin/python
MODEL ?= mnist
MAR_DIR ?= build/model-store

.DEFAULT_GOAL := help
.PHONY: help env demo serve mar test unit serving lint clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

env:  ## create .venv with pinned dependencies (once; every other target does it by itself)
	@python=$$(sh scripts/find_python.sh) && "$$python" scripts/bootstrap.py --venv $(VENV)

demo: env  ## the document's walk-through on real TorchServe; exit 0 only if every answer is right
	@$(PY) scripts/demo.py

serve: env  ## TorchServe and wrapper in the foreground on the document's ports, until Ctrl-C
	@$(PY) scripts/serve.py

mar: env  ## build MODEL's archive (default mnist) into MAR_DIR (default build/model-store)
	@$(PY) model-archiver/build_mar.py --model $(MODEL) --out $(MAR_DIR)

test: env lint  ## lint and every test; what CI runs
	@$(PY) -m pytest

unit: env  ## the tests that need no server (seconds)
	@$(PY) -m pytest tests/unit

serving: env  ## the tests against real TorchServe
	@$(PY) -m pytest tests/serving

lint: env  ## ruff and mypy --strict
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

clean:  ## remove what was built (not .venv)
	rm -rf build logs .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -exec rm -rf {} +
