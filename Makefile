# Matter Out of Place. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SCALE ?= laptop
CORES ?= 2
PYTHON ?= python3
PORT ?= 8000
PAGES ?=
DATA ?=

VENV := .venv
PY := $(VENV)/bin/python
export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never
export PYTHONWARNINGS := ignore:IProgress not found
# DATA may hold spaces; what make exports needs no quotes.
ifneq ($(DATA),)
export OTAD_DATA := $(DATA)
endif
EXTRAS := --extra book --extra dev

.PHONY: help env book test check accept bench results lint notebooks lock serve clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 12
	@echo 'SCALE=smoke|laptop|paper (laptop) · DATA=/path, the data sets of SCALE=paper · CORES=N (2) · PYTHON=python3.11 or newer'

env: $(VENV)/.complete  ## make the environment (.venv) from requirements.txt

# The marker is removed first and written last: an environment without it is half-made and is built anew.
$(VENV)/.complete: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is %d.%d: call make PYTHON=/path/to/a/newer/python3" % sys.version_info[:2])'
	@if [ -f $@ ]; then rm $@; else rm -rf $(VENV); $(PYTHON) -m venv $(VENV); fi
	@echo 'Environment: installing what requirements.txt locks (about 5 GB the first time, torch with its CUDA libraries)'
	@awk '/^[^ #]/ {mine = /^uv==/} mine' requirements.txt > $(VENV)/uv.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	$(VENV)/bin/uv pip sync --quiet --python $(PY) --require-hashes requirements.txt
	$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --editable .
	@touch $@

book: env  ## execute the notebooks and build the book: _build/html/index.html
	@$(PY) -m otad.publish book --scale $(SCALE) --cores $(CORES)

test: env  ## run the tests
	@$(PY) -m pytest

check: env  ## compare the built book with the expected values and open every page in a browser
	@$(PY) -m pytest tests/test_book.py -m book --scale $(SCALE)

accept: env  ## write the recorded values of the built book to tests/expected; the diff is the review
	@$(PY) -m otad.publish accept --scale $(SCALE)

bench: env  ## time the kernels against the plain version
	@OMP_NUM_THREADS=$(CORES) $(PY) -m pytest tests/kernels/bench_rank.py -s

results: env  ## regenerate the long runs of results/, or of PAGES="NN_slug ..." alone
	@$(PY) -m otad.publish results $(PAGES)

lint: env  ## ruff, ruff format, types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

notebooks: env  ## write the .ipynb that Colab opens from each notebooks/*.py
	@$(PY) -m otad.publish pair

lock:  ## resolve pyproject.toml into requirements.txt anew
	@$(PYTHON) -m venv _build/lock && _build/lock/bin/pip install --quiet --disable-pip-version-check uv
	@_build/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header $(EXTRAS) pyproject.toml --output-file requirements.txt

serve: book  ## build the book and serve it on http://localhost:$(PORT)
	@$(PY) -m http.server --directory _build/html $(PORT)

clean:  ## remove what was built (the environment stays)
	@rm -rf _build .snakemake
