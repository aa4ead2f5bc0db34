# Everything there is to do here, one word each; `make` alone lists them.
#
#   PYTHON=python3.12                the interpreter that .venv is made with, 3.10 or newer
#   PIP_EXTRA_INDEX_URL=address      pip's own variable: with PyTorch's CPU index, torch comes without its CUDA gigabytes

PYTHON ?= python3
BIN := .venv/bin
SETUP := settings.ini setup.py pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help demo test test-all install sync readme notebooks docs clean

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-11s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(or $(wildcard .venv/dev),.venv/wheel) ## a loop from the model in the package: demo/loop.wav, demo/loop.png
	$(BIN)/ladmg generate --bpm 126 --bars 4 --seed 0 --out demo/loop.wav

test: .venv/dev ## every notebook and every test but those marked slow
	$(BIN)/pytest --durations 10

test-all: .venv/dev ## all of it, the slow cells and tests and the wheel too
	$(BIN)/pytest --slow --durations 20

install: .venv/dev ## the package, editable, with all that tests and site need, into .venv

sync: install ## after a change of notebooks: modules, clean notebooks with their badges, README.md
	$(BIN)/python tools/docs.py colab
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/python tools/docs.py readme

readme: install ## README.md from nbs/index.ipynb
	$(BIN)/python tools/docs.py readme

notebooks: install ## run every notebook anew, in order, and save what it shows; cells marked notest or slow keep what they have
	$(BIN)/python tools/run_nbs.py $(sort $(wildcard nbs/[0-9]*.ipynb)) $(wildcard nbs/tutorials/*.ipynb) nbs/index.ipynb

docs: install ## the site, into _docs/
	$(BIN)/python tools/docs.py site

clean: ## remove all that was built, but not .venv
	rm -rf _docs _proc build demo *.egg-info .pytest_cache nbs/nbdev.yml nbs/sidebar.yml

# Two ways into .venv. A listener gets what a stranger would get: a wheel of this checkout in an empty environment, with its
# requirements and nothing else, so that `make demo` on a fresh clone proves both. A developer's editable install takes its place.
.venv/wheel: $(BIN)/python $(SETUP) $(wildcard ladmg/*.py ladmg/weights/*/*)
	rm -rf build
	$(BIN)/pip install .
	touch $@

.venv/dev: $(BIN)/python $(SETUP)
	$(BIN)/pip install -e '.[dev]'
	touch $@

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("LADMG needs Python 3.10 or newer: say make PYTHON=python3.12, for example.")'
	$(PYTHON) -m venv --clear .venv
