# make demo   one model from file to validated engine, and the same engine again at once (MODEL=yolov5s.onnx: yours)
# make test   linters, type checkers, layers, all tests
# Both make what they need first: .venv, with the versions of constraints.txt.

PYTHON ?= python3
PYTEST ?= pytest -n 2
# What the tests need beyond what the demo needs.
TEST_EXTRAS := farm,onnxruntime,postgres,s3,simplify,tensorrt-rtx,video,vision

export PATH := $(CURDIR)/.venv/bin:$(PATH)
INSTALL := python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo test test-gpu test-torch test-tensorflow environment lint format bench constraints clean

help:
	@echo 'make demo [MODEL=yolov5s.onnx] | test | lint | format | bench | test-gpu | test-torch | test-tensorflow | constraints | clean'

demo: .venv/.runs
	examples/demo.sh

test: lint
	$(PYTEST) -m 'not gpu and not torch and not tensorflow'

# PyTorch takes gigabytes from the package index, where its default build is the one for GPUs.
test-torch: .venv/.tests
	$(INSTALL) '.[torch]'
	pytest -m 'not tensorflow' tests/exporting

# TensorFlow takes 1.7 GB.
test-tensorflow: .venv/.tests
	$(INSTALL) '.[tensorflow]'
	pytest -m 'not torch' tests/exporting

# On a machine with an NVIDIA GPU; tests/gpu says what each one must show.
test-gpu: .venv/.tests
	TRTREG_GPU=1 pytest tests/gpu

lint: .venv/.tests
	ruff check
	ruff format --check
	mypy
	pyright
	lint-imports

format: .venv/.tests
	ruff check --fix
	ruff format

bench: .venv/.tests
	set -e; for what in hit overhead loading hashing; do python benchmarks/$$what.py; echo; done

environment: .venv/.tests

# The stamps: nothing is installed again until pyproject.toml or constraints.txt change.
.venv/.runs: pyproject.toml constraints.txt
	@# A .venv without pip is what is left where Debian's python3-venv was missing.
	test -x .venv/bin/pip || $(PYTHON) -m venv --clear .venv
	$(INSTALL) --upgrade pip
	$(INSTALL) --build-constraint constraints.txt --editable '.[onnxruntime]'
	@touch $@

.venv/.tests: .venv/.runs
	$(INSTALL) --build-constraint constraints.txt --editable '.[$(TEST_EXTRAS)]' --group dev
	@touch $@

# Takes the newest versions, from an empty environment of the oldest Python supported.
constraints:
	PYTHON='$(PYTHON)' EXTRAS='$(TEST_EXTRAS)' .ci/constraints > .constraints.new
	mv .constraints.new constraints.txt

clean:
	rm -rf .venv .demo dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .constraints.new
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
