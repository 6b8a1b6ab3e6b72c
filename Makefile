# Everything a person needs, from a clone: make demo, make test, make serve. `make help` lists the rest.
SHELL := /bin/sh
VENV ?= .venv
PY := $(VENV)/bin/python
MODEL ?= mnist
MAR_DIR ?= build/model-store
PROTOCOL ?= v1
URL ?= http://127.0.0.1:8080
# Passed to a model that fetches its weights: FETCH=--random-weights where there is no internet.
FETCH ?=

# What of the models is not in the repository.
fetch_weights = for model in $(MODEL); do \
    folder=model-archiver/model-store/$$model; \
    if [ -f $$folder/fetch.py ] && [ ! -f $$folder/$$model.pt ]; then \
        $(PY) $$folder/fetch.py $(FETCH) || exit 1; \
    fi; \
done

.DEFAULT_GOAL := help
.PHONY: help env demo serve try mar model-store test unit serving test-stock image-steps image coverage bench soak audit release newcomer lint clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

env:  ## create .venv with pinned dependencies (once; every other target does it by itself)
	@python=$$(sh scripts/find_python.sh) && "$$python" -m scripts.bootstrap --venv $(VENV)

demo: env  ## the document's walk-through on real TorchServe; exit 0 only if every answer is right
	@$(PY) -m scripts.demo

serve: env  ## TorchServe and wrapper in the foreground on the document's ports, until Ctrl-C
	@$(fetch_weights)
	@$(PY) -m kserve_wrapper.commands.main serve $(foreach model,$(MODEL),model-archiver/model-store/$(model)) \
	    --ts_config config/config.properties --store build/model-store --host 0.0.0.0 --verbose \
	    --set disable_token_authorization=true

try: env  ## a page in the browser to try the models of a running server with: URL=http://HOST:PORT (default `make serve`'s)
	@$(PY) -m kserve_wrapper.commands.main try $(URL)

mar: env  ## build the archives of MODEL (default mnist; several by blanks) into MAR_DIR (default build/model-store)
	@$(fetch_weights)
	@$(PY) -m kserve_wrapper.commands.main build $(foreach model,$(MODEL),model-archiver/model-store/$(model)) \
	    --out $(MAR_DIR)

model-store: mar  ## write and check the directory that KServe mounts: OUT=DIR [MODEL=…] [PROTOCOL=v1|v2|grpc-v2]
	@test -n "$(OUT)" || { echo "model-store: say where: make model-store OUT=DIR" >&2; exit 2; }
	@$(PY) -m kserve_wrapper.modelstore write $(OUT) $(foreach model,$(MODEL),--mar $(MAR_DIR)/$(model).mar) \
	    --protocol $(PROTOCOL)

test: env lint  ## lint and every test, the stock environment included where it can be built; what CI runs
	@$(PY) -m pytest -n 2 --dist loadfile
	@$(MAKE) --no-print-directory test-stock

unit: env  ## the tests that need no server (some minutes)
	@$(PY) -m pytest tests/unit

serving: env  ## the tests against real TorchServe
	@$(PY) -m pytest tests/serving

image: env  ## build the image and try it, with docker or podman: NAME=REGISTRY/ts-kserve-wrapper:0.1.0
	@test -n "$(NAME)" || { echo "image: say which: make image NAME=REGISTRY/ts-kserve-wrapper:VERSION" >&2; exit 2; }
	@$(PY) -m scripts.image $(NAME)

coverage: env  ## which lines and branches the unit tests reach; the page is build/coverage/html/index.html
	@mkdir -p build/coverage
	@$(PY) -m coverage run -m pytest tests/unit
	@$(PY) -m coverage html --quiet
	@$(PY) -m coverage report

test-stock:  ## the serving tests in the stock image's environment (needs Python 3.9; says so when it skips)
	@sh scripts/test_stock.sh

image-steps: env  ## run the image's steps whole, without a container engine, and serve a model from the result (5 GB)
	@IMAGE=full $(PY) -m pytest -rs tests/serving/test_whole_image.py

bench: env  ## ours against TorchServe alone, a few cases, under 5 minutes (needs wrk; h2load for gRPC)
	@$(PY) -m benchmarks serving --short

soak: env  ## the long forms of the fault tests (about an hour); writes docs/reliability.md
	@rm -f docs/reliability.json
	@SOAK=1 $(PY) -m pytest tests/faults tests/security tests/unit/fuzz tests/serving/test_alone_is_together.py
	@$(PY) -m tests.faults.figures

audit: env  ## known faults of the pinned packages, by pip-audit (needs its data from the internet)
	@$(PY) -m pip install --quiet pip-audit
	@AUDIT=required PATH="$(abspath $(VENV))/bin:$$PATH" $(PY) -m pytest -rs tests/unit/security/test_code.py -k known_faults

release: env  ## sdist and wheel in dist/, checked: PROJECT_URL=https://… where README's links shall lead
	@$(PY) -m pip install --quiet build twine
	@$(PY) -m scripts.release $(if $(PROJECT_URL),--project-url $(PROJECT_URL))

newcomer: env  ## in an empty environment elsewhere: install the wheel, new, build, serve, ask; says how long it took
	@$(PY) -m scripts.newcomer

lint: env  ## ruff, mypy --strict, and the order of the rooms
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo --no-cache

clean:  ## remove what was built (not .venv)
	rm -rf build dist logs .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -exec rm -rf {} +
