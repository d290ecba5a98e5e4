# make demo: set up and run the main job.   make test: set up and pass the tests.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.mmpr-ready
OUT    ?= demo-out
STUDY_OUT ?= out/study-small
CHAOS_SECONDS ?= 600
# Where pip finds the CPU build of torch, if not in its default index.
TORCH_INDEX ?=
# The locked packages; requirements/README.md says how to make a lock with the hashes of your index.
LOCK ?= requirements/cpu.lock
# Processes that share the test files among them: many tests wait for servers, so more than there are cores, but at most one
# for every 5 GiB of memory.
TEST_WORKERS ?= $(shell awk '/MemTotal/ { n = int($$2 / 5242880); print (n < 1 ? 1 : (n > 4 ? 4 : n)) }' /proc/meminfo 2>/dev/null || echo 2)
PYTEST := $(PY) -m pytest -q -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

export CHAOS_SECONDS
# Where an image sets it, each of the hundreds of processes that the tests start would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: help setup demo test tests test-all test-fast check chaos fuzz lint format bench study-small docs site pictures schemas sbom clean

help:
	@echo "make setup    make $(VENV) with everything in it (quick the second time)"
	@echo "make demo     build preference pairs with the embedded model, verify them, show a few"
	@echo "make test     lint, types and tests;       make test-fast  without the slow ones"
	@echo "make test-all make test, and the long forms of its tests (marked campaign)"
	@echo "make check    lint, types and the tests of the core, in about a minute: run it before you push"
	@echo "make chaos    kill builds and sharded training, damage outputs (CHAOS_SECONDS each), end engines in every phase"
	@echo "make fuzz     hostile rows, pictures, archives and texts through everything that reads them (FUZZ_SEED)"
	@echo "make lint     ruff and mypy;               make format     let ruff rewrite"
	@echo "make bench    the benchmarks;              make schemas    write schemas/ anew"
	@echo "make docs     write the generated pages anew;  make site      the documentation as a site, in site/"
	@echo "make pictures README's moving picture anew, and stills of the terminal at 80 and 120 columns"
	@echo "make study-small   does MPO help? The paper's experiment with the embedded model, in a quarter of an hour"

setup: $(STAMP)

$(STAMP): $(LOCK) pyproject.toml requirements/setup.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" TORCH_INDEX="$(TORCH_INDEX)" LOCK="$(LOCK)" sh requirements/setup.sh
	@touch $@

demo: setup
	@$(VENV)/bin/mmpr build examples/nano.yaml --out $(OUT)
	@$(VENV)/bin/mmpr verify $(OUT)
	@$(VENV)/bin/mmpr show $(OUT) -n 3

test: setup
	@$(MAKE) --no-print-directory -j 2 lint tests

tests: setup
	PYTHONHASHSEED=0 $(PYTEST) --reruns 2 -m "not campaign"

test-all: lint
	$(PYTEST) --hypothesis-profile explore

test-fast: setup
	$(PYTEST) -m "not slow and not campaign"

check: lint
	$(PY) -m pytest -q tests/core tests/pairing tests/rollouts tests/pipeline/test_golden.py tests/pipeline/test_question.py \
		tests/test_package.py tests/test_architecture.py -m "not slow"

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

chaos: setup
	$(PY) -m tests.chaos
	$(PY) -m tests.chaos.damage --seconds $(CHAOS_SECONDS)
	$(PY) -m tests.chaos.phases
	$(PY) -m tests.training.chaos --seconds $(CHAOS_SECONDS)

fuzz: setup
	$(PY) -m tests.fuzz

bench: setup
	$(PY) bench/checker.py
	$(PY) bench/training.py --threads 2 --steps 5

study-small: setup
	$(VENV)/bin/mmpr study examples/study-small.yaml --out $(STUDY_OUT) --check

docs: setup
	$(PY) -m mmpr_pipeline.cli.generate.reference
	$(PY) -m mmpr_pipeline.cli.generate.settings_page
	$(PY) -m mmpr_pipeline.cli.generate.api

site: docs
	$(VENV)/bin/mkdocs build --strict
	@echo "To read it: python3 -m http.server -d site"

# README's moving picture, and stills of what a user sees at 80 and 120 columns, in site-pictures/. Minutes; needs DejaVu's fonts.
pictures: setup
	$(PY) docs/record.py demo
	$(PY) docs/record.py stills site-pictures

schemas: setup
	$(PY) -m mmpr_pipeline.cli.generate.schemas

# The bill of materials of $(VENV), made by a tool in an environment of its own.
sbom: setup
	$(PYTHON) -m venv .sbom-venv && .sbom-venv/bin/pip install -q cyclonedx-bom
	.sbom-venv/bin/cyclonedx-py environment --output-reproducible -o sbom.json $(PY)
	rm -rf .sbom-venv

clean:
	rm -rf $(VENV) $(OUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
