# Two commands on a fresh machine: make demo, make test. PYTHON chooses another interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all check bench clean

demo: $(VENV)/ready
	$(BIN)/blemish demo -o blemish-demo

test: $(VENV)/ready-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow"

test-all: $(VENV)/ready-dev
	$(BIN)/python -m pytest

bench: $(VENV)/ready-dev
	$(BIN)/python benchmarks/run.py

$(VENV)/ready: pyproject.toml
	PYTHON="$(PYTHON)" sh setup.sh $(VENV) '.[train]' ready

$(VENV)/ready-dev: pyproject.toml
	PYTHON="$(PYTHON)" sh setup.sh $(VENV) '.[train,dev]' ready-dev

clean:
	rm -rf $(VENV) blemish-demo
