# make demo    train, evaluate, export and serve in one go; `make demo DATA=cifar10` likewise
# make test    style, types and the test suite

PYTHON ?= python3.11
DATA ?= digits
WORKERS ?=
PORT ?= 8000
RECIPE ?= $(if $(filter digits,$(DATA)),digits,fast)
EPOCHS ?=
SECONDS ?= 60

BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test lint constraints lock audit fuzz faults long
.DELETE_ON_ERROR:

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(INSTALLED)
	@set -e; name=demo-$$(date +%Y%m%d-%H%M%S); \
	$(BIN)/python -m jobs.train --data "$(DATA)" --recipe "$(RECIPE)" \
	    $(if $(WORKERS),--workers $(WORKERS)) $(if $(EPOCHS),--epochs $(EPOCHS)) --storage runs --name $$name; \
	$(BIN)/python -m jobs.evaluate --model runs/$$name/model; \
	$(BIN)/python -m serve_app --model runs/$$name/model \
	    --models cifar_model/pretrained --port $(PORT)

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest

# What happens when parts die: the figures of RELIABILITY.md, a line a case.
faults: $(INSTALLED)
	$(BIN)/pytest -m faults -s

# Tests that take a minute or more each: benchmarks at their smallest, torch.compile.
long: $(INSTALLED)
	$(BIN)/pytest -m long

# After changing pyproject.toml: resolve afresh in a clean environment and pin the outcome.
constraints:
	rm -rf .venv-fresh && $(PYTHON) -m venv .venv-fresh
	.venv-fresh/bin/pip install --quiet --editable ".[dev]"
	{ echo "# Exact versions, as tested together on Python 3.11; ranges and reasons stand in"; \
	  echo "# pyproject.toml. Made by: make constraints"; \
	  .venv-fresh/bin/pip freeze --exclude-editable; } > constraints.txt
	rm -rf .venv-fresh

# After `make constraints`: the same pins with hashes, for `pip install --require-hashes`.
lock: $(INSTALLED)
	$(BIN)/python .ci/lock.py

# Known vulnerabilities of what is locked; asks the service of PyPI.
audit: $(INSTALLED)
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict

# `make fuzz SECONDS=600`: inputs that break the decoder or a request parser.
fuzz: $(INSTALLED)
	$(BIN)/python -m tests.faults.fuzz_images picture -max_total_time=$(SECONDS)
	$(BIN)/python -m tests.faults.fuzz_images request -max_total_time=$(SECONDS)
	$(BIN)/python -m tests.faults.fuzz_images tensor -max_total_time=$(SECONDS)
