# Everything from a fresh clone with only Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
WHEEL_VENV := $(VENV)-wheels
BIN := $(VENV)/bin
PROJECTS := core adapters plugins/preview plugins/comfyui
EDITABLE := $(foreach project,$(PROJECTS),-e $(project)) -e .
STAMP := $(VENV)/.installed

.PHONY: install run test test-wheels lint clean

install: $(STAMP)

$(STAMP): pyproject.toml $(addsuffix /pyproject.toml,$(PROJECTS)) constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev $(EDITABLE)
	touch $@

run: install
	$(BIN)/framegate serve $(ARGS)

test: install
	$(BIN)/python -m pytest $(ARGS)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --project pyproject.toml
	$(BIN)/lint-imports

# The suite once more, against the built wheels in an environment of their own.
test-wheels: install
	rm -rf dist $(WHEEL_VENV)
	for project in $(PROJECTS) .; do $(BIN)/python -m build --wheel --outdir dist $$project || exit 1; done
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(WHEEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev dist/*.whl
	$(WHEEL_VENV)/bin/python -m pytest $(ARGS)

clean:
	rm -rf $(VENV) $(WHEEL_VENV) dist
