# Two commands: make demo, make test. Each sets up its own environment first; Python 3.11 or later, pip and make suffice.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2

.PHONY: demo test check clean

demo: $(VENV)/installed
	$(BIN)/translate demo --output demo

test: $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

# Style and types. Types are checked as installed, where translate/, data/, pipelines/ and configs/ are one package.
check: $(VENV)/installed-test
	$(PIP) install --quiet --constraint constraints.txt ".[check]"
	$(PIP) install --quiet --constraint constraints.txt --no-deps --editable .
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types
	mkdir -p build/types/translate
	cp -r data pipelines configs build/types/
	cp -r translate/. build/types/translate/
	mv build/types/data build/types/pipelines build/types/configs build/types/translate/
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p translate

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build demo *.egg-info
