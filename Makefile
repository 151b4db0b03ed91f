# make demo   a training that blows up, watched; creates what it needs
# make test   the tests
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint types bench clean

demo: .venv/for-demo
	$(BIN)/trimtab run examples/mlp.py --init normal:1 --depth 10 --optimizer sgd --lr 0.01 --epochs 3
	$(BIN)/trimtab show
	@echo "the record is in .trimtab/; the commands above are in .venv/bin (source .venv/bin/activate)"

test: .venv/for-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/for-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/for-dev
	$(BIN)/mypy

bench: .venv/for-dev
	$(BIN)/python benchmarks/watch.py
	$(BIN)/python benchmarks/guard.py
	$(BIN)/python benchmarks/record.py

clean:
	rm -rf .venv .trimtab

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/for-demo: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing trimtab and PyTorch into .venv (the download is the longest part)"
	$(PIP) -e '.[torch]' scikit-learn
	@touch $@

.venv/for-dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing trimtab, PyTorch, TensorFlow, JAX, Keras and the tools for testing into .venv"
	$(PIP) -e '.[torch,dev]'
	$(PIP) --no-deps tf_keras
	@touch $@ .venv/for-demo
