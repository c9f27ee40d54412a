# `make demo`: a face from a voice. `make test`: all tests. `make check`: lint, format, types, tests.
PYTHON ?= python3
DEMO_VENV := .venv-demo
VENV := .venv
CLIP := examples/male.wav
FACE := demo.png

.PHONY: demo test check lint types install-test clean

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/s2f-edge infer $(CLIP) --gender male --out $(FACE) --overwrite
	@echo "The picture lies in $(CURDIR)/$(FACE)"

# The runtime alone: no torch.
$(DEMO_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/pip install --quiet --disable-pip-version-check '.[cpu]'
	touch $@

# pip of Python 3.11 knows no dependency groups, so pip itself comes first.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(VENV)/bin/pip install --quiet --editable '.[cpu,media,train]' --group test --group check
	touch $@

install-test: $(VENV)/.installed

test: $(VENV)/.installed
	$(VENV)/bin/pytest

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.installed
	$(VENV)/bin/mypy

check: lint types test

clean:
	rm -rf $(DEMO_VENV) $(VENV) demo.png
