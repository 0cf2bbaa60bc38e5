# Five verbs to work: make setup | lint | check | test | demo. Each installs what it needs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/dev.lock
STAMP := $(VENV)/.stamp-$(shell sha256sum $(LOCK) pyproject.toml scripts/setup.sh 2>/dev/null | sha256sum | cut -c1-16)
PYTEST := $(BIN)/python -m pytest

.PHONY: setup debian lint check test test-unit test-real test-full test-compiled test-llamacpp test-vllm test-gpu wheel story demo bench bench-peers bench-optimize sims lock clean

setup: $(STAMP)

$(STAMP):
	PYTHON=$(PYTHON) bash scripts/setup.sh $(VENV) $(LOCK)
	@rm -f $(VENV)/.stamp-*; touch $@

debian:
	bash scripts/debian.sh

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: lint
	$(BIN)/mypy
	$(BIN)/lint-imports

test: test-unit test-real

test-unit: setup debian
	bash scripts/tests.sh unit -m "(unit or contract) and not real and not long and not alone" -n 2 --dist worksteal -p no:schemathesis

test-real: setup debian
	bash scripts/tests.sh real -m "(real or story) and not long and not alone" -n 2 --dist loadfile
	bash scripts/tests.sh alone -m "alone and not long" tests/real tests/unit/serving

test-full: setup debian
	bash scripts/test-full.sh

# Those that need a GPU of NVIDIA's, in .venv-gpu; without one it says "not run".
test-gpu: setup
	bash scripts/test-gpu.sh $(LOCK)

# Language models by llama.cpp (built from source, ten minutes once) and by vLLM (an environment of
# its own, 3 GB).
test-llamacpp: setup
	PYTHONPATH="$$(bash scripts/llamacpp.sh $(VENV))" $(PYTEST) -m llamacpp tests/apart

test-vllm:
	PYTHONPATH=tests "$$(PYTHON=$(PYTHON) bash scripts/vllm.sh requirements/vllm.lock)" -m pytest --noconftest -m vllm tests/apart/test_language_vllm.py

# The tests of the modules that can be compiled, asked of the compiled ones.
test-compiled: setup debian
	bash scripts/test-compiled.sh $(VENV)

wheel: setup
	@bash scripts/compiled.sh $(VENV) > /dev/null
	@mkdir -p dist; cp build/compiled/*.whl dist/; ls dist/*.whl

story: setup
	$(PYTEST) -m story -s

demo: setup
	$(BIN)/modelworks demo $(DEMO)

# Measured is the request path compiled, as a released wheel has it. Where that cannot be built, it is
# measured as Python; the result says which.
COMPILED = PYTHONPATH="$$(bash scripts/compiled.sh $(VENV))"

bench: setup debian
	$(COMPILED) $(BIN)/python benchmarks/run.py $(BENCH)

bench-peers: setup
	bash scripts/debian.sh peers
	$(COMPILED) $(BIN)/python benchmarks/peers/run.py $(BENCH)

# What the improvement shop finds from nothing, beside each library alone and beside everything that
# could be tried; trees, what trains, HTTP.
bench-optimize: setup
	$(BIN)/python benchmarks/optimize/exhaustive.py --save $(OPTIMIZE)
	$(BIN)/python benchmarks/optimize/trees.py --save
	$(BIN)/python benchmarks/optimize/trained.py --save
	$(COMPILED) $(BIN)/python benchmarks/optimize/served.py --save

# What the statistics declare, in full: 10,000 experiments a method, minutes.
sims: setup
	$(BIN)/python benchmarks/sims/run.py --save $(SIMS)
	$(BIN)/python benchmarks/sims/rollouts.py --save $(ROLLOUTS)
	$(BIN)/python benchmarks/sims/forms.py --save $(FORMS)

lock:
	PYTHON=$(PYTHON) bash scripts/lock.sh $(LOCK)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
