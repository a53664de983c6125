# make setup   install everything into .venv
# make demo    train a ResNet on the bundled digits and open up its report
# make test    the checks of every change (minutes); make test-all adds the long ones
PYTHON ?= python3
BIN := .venv/bin
# Two test processes with one thread each are faster than one with two, and do not wait for one another.
TEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

.PHONY: setup demo test test-all lint clean

setup: .venv/ready

.venv/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch .venv/ready

demo: setup
	$(BIN)/seminal train resnet20 digits

lint: setup
	$(BIN)/ruff check src tests benchmarks experiments
	$(BIN)/ruff format --check src tests benchmarks experiments
	$(BIN)/mypy

test: lint
	$(TEST) -m 'not slow'

test-all: lint
	$(TEST)

clean:
	rm -rf .venv build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
