# Needs python3 (3.11 or 3.12) and make. Everything else goes into .venv.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := $(VENV)/.tools
SPHINX := $(VENV)/.docs
OUT   ?= build/demo
ARGS  ?=
EXTRAS ?= test
JOBS  ?= 2
EMPTY := $(if $(strip $(ARGS)),5,0)

PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)

# What is imported is compiled then: of thirty thousand files most never are.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# Two torch programs on the same cores stall each other when idle threads spin.
export OMP_WAIT_POLICY := PASSIVE
QUIET := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=2 TOKENIZERS_PARALLELISM=false TQDM_DISABLE=1

.PHONY: help install model demo docs lint tools test test-python test-slow test-long js lab bench organisms clean

help:
	@echo 'make demo       the figures of notebook 01 on a real model, headless -> build/demo/'
	@echo 'make lab        JupyterLab, on the page to start with'
	@echo 'make docs       the documentation, without a network -> build/docs/index.html'
	@echo 'make lint       ruff, and mypy beside the errors known in .ci/mypy.txt'
	@echo 'make test       the test suite without its slow tests (SLOW=1: with them; ARGS="-k name" is passed to pytest)'
	@echo 'make js         the JavaScript of the views: checked, tested, and compared with what ships (needs node)'
	@echo 'make test-slow  the slow tests: whole notebooks, the default model, long simulations'
	@echo 'make test-long  every variant and every long simulation, of which the other two run a part'
	@echo 'make bench      speed against TransformerLens, nnsight and pyvene'
	@echo 'make organisms  train again the small models that ship with the package'
	@echo 'make clean      remove what was built; .venv and fetched models stay'

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or 3.12 was not found; name one: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV) (a few minutes the first time) ...'
	$(PIP) -e '.[$(EXTRAS)]' -c constraints.txt
	@touch $@

# All that CI needs, at once: every installation takes half a minute to find out what is there.
tools:
	@[ -f $(TOOLS) ] && [ -f $(SPHINX) ] || rm -f $(STAMP)
	@$(MAKE) --no-print-directory install EXTRAS=test,dev,docs
	@touch $(TOOLS) $(SPHINX)

model: $(STAMP)
	@$(BIN)/python -m lens fetch smollm2

demo: model
	TQDM_DISABLE=1 MNEMOSCOPE_PRESET=$${MNEMOSCOPE_PRESET:-small} $(BIN)/python notebooks/run.py notebooks/01_activation_patching.ipynb --out '$(OUT)'

$(TOOLS): $(STAMP)
	$(PIP) -e '.[test,dev]' -c constraints.txt
	@touch $@

$(SPHINX): $(STAMP)
	$(PIP) -e '.[test,docs]' -c constraints.txt
	@touch $@

# Stored notebooks are shown and not run; a warning is an error.
docs: $(SPHINX)
	HF_HUB_OFFLINE=1 TQDM_DISABLE=1 $(BIN)/python docs/build.py

# All of it, whatever the first says. Mypy exits with 1 where it finds errors, known ones too, and with 2 where it could not look.
lint: $(TOOLS)
	@code=0; \
	$(BIN)/ruff check || code=1; \
	$(BIN)/ruff format --check || code=1; \
	mkdir -p build; $(BIN)/mypy >build/mypy.txt; [ $$? -lt 2 ] || { cat build/mypy.txt; exit 1; }; \
	$(BIN)/mypy-baseline filter <build/mypy.txt || code=1; \
	exit $$code

# Two parts each, and both run whatever the first says: the browser tests come after the others, since JupyterLab, its kernel and Chromium need the cores.
# $(2): how tests come to the workers. Whole files share what a file prepares; the slow browser tests are nearly all of one file, whose tests are shared out.
# Pytest's exit code 5, no test of a part, passes only where ARGS chose tests.
define both-parts
	@code=0; \
	$(QUIET) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m 'not browser and $(1)' $(ARGS) || [ $$? -eq $(EMPTY) ] || code=1; \
	$(QUIET) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist $(2) --no-loadscope-reorder -m 'browser and $(1)' $(ARGS) || [ $$? -eq $(EMPTY) ] || code=1; \
	exit $$code
endef

test: model
	@code=0; \
	$(MAKE) --no-print-directory js || code=1; \
	$(MAKE) --no-print-directory test-python || code=1; \
	exit $$code

# SLOW=1: the slow ones in the same run, which collects once and leaves no worker idle in between.
SLOW ?=
test-python: model
	$(call both-parts,$(if $(SLOW),not long,not slow and not long),loadfile)

# A user needs no node: what the views ship is committed. Without node, or without the packages that package-lock.json
# names, this says so and passes; CI has both.
js:
	@if ! command -v npm >/dev/null 2>&1; then \
		echo 'node and npm are not installed: the checks and tests of the JavaScript were left out'; \
	elif ! { cmp -s package-lock.json node_modules/.mnemoscope-lock.json \
		|| { npm ci --ignore-scripts --no-audit --no-fund --loglevel=error \
			&& cp package-lock.json node_modules/.mnemoscope-lock.json; }; }; then \
		echo 'the packages of package-lock.json could not be fetched: the checks and tests of the JavaScript were left out'; \
		[ -z "$$CI" ]; \
	else \
		code=0; npm run --silent lint || code=1; npm test --silent || code=1; exit $$code; \
	fi

test-slow: model
	$(call both-parts,slow and not long,worksteal)

# Half an hour and more: not for every change.
test-long: model
	$(call both-parts,long,worksteal)

# A terminal of JupyterLab finds the command `lens`.
lab: model
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m jupyterlab notebooks/00_start_here.ipynb

bench: model
	$(PIP) -e '.[bench]' -c constraints.txt
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks patching
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks injection
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks vectors
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks provenance
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks subspace

organisms: $(STAMP)
	OMP_NUM_THREADS=2 $(BIN)/python -m lens.organisms

clean:
	rm -rf build dist *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache
	find lens widgets tests notebooks benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
