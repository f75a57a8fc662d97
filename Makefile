# Two commands on a fresh machine: make demo, make test. PYTHON chooses another interpreter,
# WORKERS how many processes share the tests.
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# File by file (tests/conftest.py) in their order: the longest are among the first.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist=loadscope --no-loadscope-reorder

.PHONY: demo test test-all check bench clean

demo: $(VENV)/ready
	$(BIN)/blemish demo -o blemish-demo

test: $(VENV)/ready-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(PYTEST) -m "not slow"

test-all: $(VENV)/ready-dev
	$(PYTEST)

bench: $(VENV)/ready-dev
	$(BIN)/python benchmarks/run.py

$(VENV)/ready: pyproject.toml
	PYTHON="$(PYTHON)" sh setup.sh $(VENV) '.[train]' ready

$(VENV)/ready-dev: pyproject.toml
	PYTHON="$(PYTHON)" sh setup.sh $(VENV) '.[train,dev]' ready-dev

clean:
	rm -rf $(VENV) blemish-demo
