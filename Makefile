# Matter Out of Place. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SCALE ?= laptop
CORES ?= 2
PYTHON ?= python3
PORT ?= 8000
PAGES ?=
STUDIES ?=
REPETITIONS ?= 1
DATA ?=

VENV := .venv
PY := $(VENV)/bin/python
# One locale for everybody: under LC_ALL=C Python cannot start from a folder with an umlaut in its name.
export LC_ALL := C.UTF-8
export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never
ifneq ($(shell test -d "$$HOME" && test -w "$$HOME" && echo writable),writable)
export UV_CACHE_DIR ?= $(CURDIR)/_build/cache/uv
endif
# DATA may hold spaces; what make exports needs no quotes.
ifneq ($(DATA),)
export OTAD_DATA := $(DATA)
endif
EXTRAS := --extra book --extra dev

CHECK_PYTHON = "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "This is Python %d.%d." % sys.version_info[:2])' || \
	{ echo 'Python 3.11 or newer is needed, and PYTHON=$(PYTHON) is none: call make PYTHON=/path/to/a/newer/python3' >&2; exit 1; }

.PHONY: help env book test check accept portable bench results rehearse lint notebooks lock serve clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 12
	@echo 'SCALE=smoke|laptop|paper (laptop) · DATA=/path, the data sets of SCALE=paper · CORES=N (2) · PAGES="NN_slug ..." (all) · PORT=N (8000) · PYTHON=python3.11 or newer'

env: $(VENV)/.complete  ## make the environment (.venv) from requirements.txt

# The marker is removed first and written last: an environment without it is half-made and is built anew.
$(VENV)/.complete: requirements.txt pyproject.toml
	@$(CHECK_PYTHON)
	@if [ -f $@ ]; then rm $@; else rm -rf $(VENV); "$(PYTHON)" -m venv $(VENV); fi
	@echo 'Environment: installing what requirements.txt locks (about 5 GB the first time, torch with its CUDA libraries)'
	@awk '/^[^ #]/ {mine = /^uv==/} mine' requirements.txt > $(VENV)/uv.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	$(VENV)/bin/uv pip sync --quiet --compile-bytecode --python $(PY) --require-hashes requirements.txt
	$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --editable .
	@touch $@

book: env  ## execute the notebooks and build the book: _build/html/index.html
	@$(PY) -m otad.publish book --scale "$(SCALE)" --cores "$(CORES)"

test: env  ## run the tests
	@$(PY) -m pytest

check: env  ## compare the built book with the expected values and open every page in a browser
	@$(PY) -m otad.publish built --scale "$(SCALE)"
	@$(PY) -m pytest tests/test_book.py -m book --scale "$(SCALE)"

accept: env  ## write the recorded values of the built book to tests/expected; the diff is the review
	@$(PY) -m otad.publish accept --scale "$(SCALE)"

portable: env  ## the pages with stored rows on an emulated older processor and with two threads, every page twice: the same values?
	@$(PY) -m otad.publish portable --scale "$(SCALE)" $(PAGES)

bench: env  ## time the kernels against the plain version
	@OMP_NUM_THREADS="$(CORES)" $(PY) -m pytest tests/kernels/bench_rank.py -s

results: env  ## compute what is missing of studies, of all or of STUDIES="name ..."
	@$(PY) -m otad.publish results --scale "$(SCALE)" --cores "$(CORES)" $(STUDIES)

rehearse: env  ## cells of every study at paper scale, on drawn stand-ins for the data sets and with random weights; fails above 8 GiB
	@$(PY) -m tests.rehearsal --repetitions "$(REPETITIONS)" --at-once "$(or $(AT_ONCE),1)" $(STUDIES)

lint: env  ## ruff, ruff format, types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

notebooks: env  ## write the .ipynb that Colab opens from each notebooks/*.py
	@$(PY) -m otad.publish pair

lock:  ## resolve pyproject.toml into requirements.txt anew
	@$(CHECK_PYTHON)
	@"$(PYTHON)" -m venv _build/lock && _build/lock/bin/pip install --quiet --disable-pip-version-check uv
	@_build/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header $(EXTRAS) pyproject.toml --output-file requirements.txt

serve: book  ## build the book and serve it to this machine: http://127.0.0.1:PORT
	@$(PY) -m http.server --bind 127.0.0.1 --directory _build/html "$(PORT)"

clean:  ## remove what was built (the environment stays)
	@rm -rf _build .snakemake
