# The one door for developers. `make help` lists what there is.
.DEFAULT_GOAL := help
PYTHON ?= python3
DEVICE ?= cpu
# The tests start some forty processes: what these import is compiled once, and none takes more than its core.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: dist help demo demo-distributed test lint types contracts pytest docs test-cuda test-engines test-report test-wheel test-oldest test-all bench-checkup bench-controls bench-derivatives bench-gradcheck bench-corpus bench-locate bench-normalise bench-signals bench-weights bench-house bench-paths bench-steps bench-structure bench-cost bench-import bench-trainability format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/demo ## check a healthy and a broken network, from nothing
	@echo '$$ wellposed check examples/digits.py'; $(BIN)/wellposed check examples/digits.py
	@echo; echo '$$ wellposed check examples/broken_deep.py'; $(BIN)/wellposed check examples/broken_deep.py || test $$? -eq 1

demo-distributed: .venv/demo ## two processes on loopback, DDP and FSDP2, healthy and with each planted bug
	OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc-per-node 2 examples/ranks.py

test: .venv/dev ## everything that must be green (10 minutes on two cores)
	$(MAKE) --no-print-directory -j 2 -O lint contracts types docs
	$(MAKE) --no-print-directory pytest

lint: .venv/dev ## style and common mistakes
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/dev ## the strict type checker
	$(BIN)/mypy

contracts: .venv/dev ## imports only fall; the core knows no framework
	$(BIN)/lint-imports

pytest: .venv/dev ## the tests (`make pytest ARGS="-k gain"` for some, as `make test ARGS=` does)
	$(PYTEST) -n 2 --dist loadgroup $(ARGS)

test-all: .venv/dev ## everything, and the tests that repeat on a larger scale what a quicker one sees (20 minutes)
	$(MAKE) --no-print-directory -j 2 -O lint contracts types docs
	$(PYTEST) -n 2 --dist loadgroup -m 'not engines' --hypothesis-profile thorough $(ARGS)

docs: .venv/dev ## the documentation in build/site, its examples run, its rule pages made from the rules
	$(BIN)/python docs/build.py

test-cuda: .venv/dev ## what holds on the CPU, on a CUDA device; without one it says so
	$(BIN)/pytest -n 2 -rs tests/test_devices.py

test-engines: .venv/bench ## Spark and Ray, started on loopback (2 minutes; needs Java)
	$(BIN)/pytest -m engines tests/test_engines.py

test-report: .venv/dev build/node_modules/axe-core/axe.min.js ## the HTML report in Chromium, read by axe-core (1 minute; needs chromium and npm)
	$(BIN)/pytest -m browser tests/test_browser.py

# $(INSTALLED) CONSTRAINTS: the wheel in an environment of its own, with each extra alone.
EXTRAS ?= '' torch jax
INSTALLED = set -e; for extra in $(EXTRAS); do rm -rf build/installed; $(PYTHON) -m venv build/installed; \
	  build/installed/bin/pip install -q -c $(1) "$$(ls dist/*.whl)$${extra:+[$$extra]}"; \
	  build/installed/bin/python tests/installed.py $$extra; done

test-wheel: dist ## the wheel with each extra alone, and the source package, as users install them (5 minutes)
	$(call INSTALLED,constraints.txt)
	build/installed/bin/pip install -q --force-reinstall --no-deps dist/*.tar.gz; build/installed/bin/python tests/installed.py

test-oldest: dist ## the wheel with the oldest versions that pyproject.toml admits (5 minutes)
	$(call INSTALLED,constraints-oldest.txt)

dist: .venv/dev
	rm -rf dist; $(BIN)/python -m build --outdir dist .

bench-checkup: .venv/zoo ## the check-up: 98 programs that were asked about in public, other tools beside ours, its cost, a zoo of known-good networks (70 minutes)
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/checkup.py

bench-structure: .venv/dev ## what a problem's structure is: 121 faulty programs with their twins, 151 healthy ones (12 minutes)
	$(BIN)/python benchmarks/structure.py

bench-steps: .venv/dev ## training scripts run unchanged: 50 healthy ones, 65 faults planted in their steps (20 minutes)
	$(BIN)/python benchmarks/steps.py

bench-paths: .venv/zoo ## the same gradient on two ways: faults planted in backward passes, right ways, networks on six paths (25 minutes)
	$(BIN)/python benchmarks/paths.py

bench-controls: .venv/dev ## 205 healthy set-ups of many kinds: what a quick check-up says of them (4 minutes)
	$(BIN)/python benchmarks/controls.py

bench-normalise: .venv/bench ## note 1: accuracy, constants, speed, 20 GB on disk, early stopping, every engine; peers beside it (20 minutes; needs Java)
	$(BIN)/python benchmarks/normalise.py

bench-signals: .venv/zoo ## note 2: cost, theory, planted faults, other tools, NaN, and a zoo of some 300 networks (60 minutes)
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/signals.py

bench-weights: .venv/zoo ## note 3: gains, fans, deep plain networks, calibration, planted faults, the zoo, small tasks; other tools beside ours (2 hours)
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/weights.py

bench-house: .venv/dev ## how the source is built, in figures; what `import wellposed` takes (20 seconds)
	$(BIN)/python benchmarks/house.py

bench-cost: .venv/dev ## what a check costs: evaluations and steps in time where something is wrong or odd, memory at real size (40 minutes; DEVICE=cuda for the sizes there)
	$(BIN)/python benchmarks/cost.py
	$(BIN)/python benchmarks/sizes.py --device $(DEVICE) --faults

bench-import: .venv/dev ## what `import wellposed` takes beyond numpy and scipy
	$(BIN)/python benchmarks/import_time.py

bench-derivatives: .venv/bench ## numerical derivatives beside four other packages (1 minute)
	$(BIN)/python benchmarks/derivatives.py

bench-gradcheck: .venv/dev ## the gradient check on the operator database and on random problems, torch and JAX beside it (75 minutes)
	$(BIN)/python benchmarks/gradcheck_operators.py
	$(BIN)/python benchmarks/gradcheck_random.py

bench-corpus: .venv/dev ## bugs that really happened: found, where, why; torch's and JAX's checkers beside it (3 minutes)
	$(BIN)/python benchmarks/gradient_bugs.py

bench-locate: .venv/dev ## wrong entries among a million (30 minutes)
	$(BIN)/python benchmarks/locate.py

bench-trainability: .venv/dev ## which loss of signal still trains: the figures behind WP201 to WP203 (15 minutes)
	$(BIN)/python benchmarks/trainability.py

format: .venv/dev ## let ruff rewrite the code
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean: ## remove the environment and all caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis

build/node_modules/axe-core/axe.min.js:
	npm install --silent --no-save --no-package-lock --prefix build axe-core@4

# Stamp files: a second call is quick, a changed list of packages installs anew.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[torch,examples]'
	@touch $@

.venv/dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[dev]'
	@touch $@

.venv/bench: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[bench]'
	@touch $@

.venv/zoo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[bench,zoo]'
	@touch $@
