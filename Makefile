# Everything that is done with this repository.  The first command of a fresh clone sets up a virtual environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The classic way of an editable install: the modern one hides twisted/plugins from twistd.
EDITABLE := --config-settings editable_mode=compat --editable
RING ?= ring
JOBS ?= 2

.PHONY: run test lint format bench soak clean

run: $(VENV)/installed
	$(BIN)/post ring $(RING)

test: $(VENV)/installed-for-tests
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup tests

lint: $(VENV)/installed-for-tests
	$(BIN)/ruff format --check post tests benchmarks twisted
	$(BIN)/ruff check post tests benchmarks twisted
	$(BIN)/mypy post tests benchmarks

format: $(VENV)/installed-for-tests
	$(BIN)/ruff format post tests benchmarks twisted
	$(BIN)/ruff check --fix post tests benchmarks twisted

bench: $(VENV)/installed-for-tests
	$(BIN)/python benchmarks/mail.py
	$(BIN)/python benchmarks/pending.py
	$(BIN)/python benchmarks/recovery.py
	$(BIN)/python benchmarks/mx.py
	$(BIN)/python benchmarks/page.py
	$(BIN)/python benchmarks/overlay.py

# Long campaigns with fresh seeds.  A seed that fails is printed with the command that repeats it.
soak: $(VENV)/installed-for-tests
	$(BIN)/post sim campaign --runs 200
	$(BIN)/python -m pytest -s tests/system/soak_promise.py tests/system/soak_offline.py

clean:
	rm -rf $(VENV) build *.egg-info

# build/ of an earlier install would be shipped again, deleted modules and all.
$(VENV)/installed: setup.cfg pyproject.toml
	rm -rf build
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) $(EDITABLE) .
	touch $@

$(VENV)/installed-for-tests: $(VENV)/installed
	$(INSTALL) $(EDITABLE) '.[test,lint]'
	touch $@
