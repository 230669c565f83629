# Set-up is part of every target: a fresh clone needs Python 3.11 and nothing else.
PYTHON ?= python3.11
BIN := .venv/bin
# Two files at a time, as there are two cores at least: Ray's tests mostly wait for processes.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
READY := .venv/.ready

.PHONY: quickstart quick test chaos cluster browser latex lit gpu slurm lint benchmark clean

quickstart: $(READY)
	$(BIN)/xlt run quickstart --results results

test: lint
	$(PYTEST) -m "not chaos and not cluster and not browser and not latex and not lit and not slurm"

# Tests of data and analysis after a change of a line; about a minute, because nothing is trained.
quick: $(READY)
	$(BIN)/ruff check .
	$(PYTEST) -m "not ray and not slow and not chaos and not browser and not latex" tests/data tests/analysis tests/test_layers.py

chaos: $(READY)
	$(PYTEST) -m chaos

# Machines and heads that die, storage that fails, jobs handed in; most of it needs root and
# iproute2, and skips without.
cluster: $(READY)
	$(BIN)/pytest -m cluster

# Uses the chromium or google-chrome that the machine has, and skips without.
browser: $(READY)
	$(BIN)/pytest -m browser

# Compiles every LaTeX table; skips without pdflatex and booktabs (texlive-latex-recommended).
latex: $(READY)
	$(BIN)/pytest -m latex

# Makes LIT's environment (370 MB) and opens it; skips without Chromium.
lit: $(READY)
	$(BIN)/pytest -m lit

# What only a CUDA device shows; skips without one.
gpu: $(READY)
	$(BIN)/pytest -m gpu

# Runs jobs on a Slurm of three nodes that it starts itself; needs root, skips without
# slurm-wlm, munge and iproute2.
slurm: $(READY)
	$(BIN)/pytest -m slurm

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

benchmark: $(READY)
	$(BIN)/python benchmarks/overhead.py

# The lock pins every package; torch's build (CPU or CUDA) is the one that pip finds for the machine.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
