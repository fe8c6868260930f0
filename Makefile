# Every command of this project; CONTRIBUTING.md lists them with what they are for.
#   PYTHON=python3.12 make test     another interpreter (3.11 or newer)
#   make test ARGS="-k labels -x"   further arguments for pytest or the demo
#   make test LIMIT=7200            more time, in seconds, before a run counts as hung

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN = $(VENV)/bin
HEADLESS = scripts/headless
# Seconds that a run of tests may take; it took a fifth on two cores.
LIMIT ?= 2700
SUITE = scripts/within $(LIMIT) $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: help env system lint format test coverage test-core test-clouds test-filesystems test-formats test-judges test-newest test-pyside test-browsers demo docs pictures build clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

env: $(VENV)/.complete ## make the environment, or renew it when pyproject.toml has changed

$(VENV)/.complete: pyproject.toml scripts/environment
	@scripts/environment "$(PYTHON)" "$(VENV)"
	@touch $@

system: ## install the system libraries of Qt and Xvfb where they are missing
	@scripts/system-packages

lint: env ## ruff, mypy, the direction of imports, the plugin manifest
	@echo "== lint: ruff, mypy, import-linter, npe2"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/npe2 validate napari-omezarr

format: env ## let ruff sort imports and lay out the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

test: env system lint ## lint and the whole suite, GUI tests included
	@echo "== test: the whole suite on $$($(BIN)/python --version)"
	@$(SUITE) $(ARGS)

# Apart from `make test`, for counting lines takes as long again as half the tests do.
coverage: env system ## the whole suite, and which lines it has not run; fails below 95 %
	@rm -f .coverage .coverage.*
	@$(SUITE) --cov $(ARGS)

test-core: env ## the tests that need neither Qt nor napari, in an environment without them
	@echo "== test-core: no Qt, no napari"
	@scripts/core-environment "$(BIN)" "$(VENV)-core"
	@scripts/within $(LIMIT) $(VENV)-core/bin/python -m pytest -m "not gui and not network" $(ARGS)

FILESYSTEMS = tests/store/test_filesystems.py tests/store/test_references.py tests/test_store_objects.py
AZURITE = $(VENV)-clouds/azurite

test-clouds: env ## Google's and Azure's storage, on emulators; needs npm for Azure's
	@echo "== test-clouds: gs:// and az://, on emulators"
	@scripts/clouds-environment "$(BIN)" "$(VENV)-clouds"
	@PATH="$(AZURITE)/node_modules/.bin:$$PATH" scripts/within $(LIMIT) $(VENV)-clouds/bin/python -m pytest tests/store/test_clouds.py $(ARGS)

test-filesystems: env ## SFTP, WebDAV, Hugging Face, IPFS, icechunk: what fsspec knows, on servers here
	@echo "== test-filesystems: what the extras of fsspec's filesystems bring"
	@scripts/filesystems-environment "$(BIN)" "$(VENV)-filesystems"
	@scripts/within $(LIMIT) $(VENV)-filesystems/bin/python -m pytest $(FILESYSTEMS) $(ARGS)

test-formats: env ## ND2, LIF, NIfTI, NRRD, compressed TIFF by their libraries, and the jobs of batch systems
	@echo "== test-formats: what the extras of convert bring"
	@scripts/formats-environment "$(BIN)" "$(VENV)-formats"
	@scripts/within $(LIMIT) $(VENV)-formats/bin/python -m pytest tests/converting tests/test_codec_processes.py $(ARGS)

test-judges: env ## what we write, opened by iohub, ngio, anndata and spatialdata
	@echo "== test-judges: iohub, ngio, anndata and spatialdata, in an environment of their own"
	@scripts/judges-environment "$(BIN)" "$(VENV)-judges"
	@scripts/within $(LIMIT) $(VENV)-judges/bin/python -m pytest tests/writing/test_judges_apart.py tests/tables/test_annotated.py $(ARGS)

# Found by running it: a version manager may have put a name on PATH that does not start.
NEWEST ?= $(shell for name in python3.14 python3.13 python3.12 \
  $$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[2-9].*/bin/python 2>/dev/null | sort -rV); do \
  "$$name" -c "" 2>/dev/null && { echo "$$name"; break; }; done)

test-newest: ## the same as `make test` on the newest Python that is on PATH, or pyenv's
	@test -n "$(NEWEST)" || { echo "No Python newer than 3.11 runs here; set NEWEST=/path/to/python."; exit 1; }
	@$(MAKE) test PYTHON="$(NEWEST)" VENV=.venv-newest

# Not 3.11: PySide loses references to None there until Python aborts.
PYSIDE_PYTHON ?= $(or $(NEWEST),3.13)

test-pyside: env system ## the GUI tests under PySide6, every form opened and closed 200 times
	@echo "== test-pyside: PySide6 in an environment of its own"
	@scripts/pyside-environment "$(BIN)" "$(VENV)-pyside" "$(PYSIDE_PYTHON)"
	@QT_API=pyside6 PYTEST_QT_API=pyside6 CLOSING_ROUNDS=200 scripts/within $(LIMIT) $(VENV)-pyside/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m "gui and not network" $(ARGS)

test-browsers: env system ## what we write and share, opened by vizarr and neuroglancer in Chromium
	@echo "== test-browsers: what they need, then headless Chromium"
	@scripts/browsers "$(BIN)" "$(VENV)-browsers"
	@BROWSERS_REQUIRED=1 scripts/within $(LIMIT) $(VENV)-browsers/bin/python -m pytest -m browser tests/browsers $(ARGS)

demo: env system ## napari on a remote OME-Zarr, from an S3 server that is started here
	@if [ -n "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}" ] || [ "$$(uname -s)" != Linux ]; then \
	  exec $(BIN)/python -m napari_omezarr.demo $(ARGS); \
	else \
	  echo "== demo: no display here, so a virtual one, and a screenshot"; \
	  exec $(HEADLESS) $(BIN)/python -m napari_omezarr.demo --screenshot demo-output $(ARGS); \
	fi

docs: env ## the documentation site, in build/site; a warning is an error
	@echo "== docs: pages gathered, reference generated, the site built in strict mode"
	@scripts/docs-environment "$(BIN)" "$(VENV)-docs"
	@$(VENV)-docs/bin/python scripts/site_source.py build/site-source
	@NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --quiet
	@echo "build/site/index.html"

pictures: env system ## every picture of the documentation, from the running program; Chromium for two
	@echo "== pictures: docs/pictures, on a display of its own"
	@for script in $$(ls scripts/pictures*.py | grep -v _web); do PYTHONPATH=tests $(HEADLESS) $(BIN)/python $$script; done
	@scripts/browsers "$(BIN)" "$(VENV)-browsers"
	@PYTHONPATH=tests $(HEADLESS) $(VENV)-browsers/bin/python scripts/pictures_web.py

build: env ## the sdist and the wheel, in dist/
	@$(BIN)/uv build --python $(BIN)/python

clean: ## remove what the commands have made, the environments included
	@rm -rf .venv .venv-* .browsers build dist demo-output .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
