# Every target sets up the environment itself. Requirements: make, and Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
# One process runs all tests of a file, as they share fixtures. Many tests wait for processes and servers, so three
# processes suit two cores.
IN_PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help caption serve test test-quick test-lowest lint audit format clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile

caption: $(READY)  ## caption the photos in examples/ and draw their attention maps into out/
	$(RUN) -m captioner examples --figure out/figure.png
	@echo "The figure of each photo is in out/: out/figure-PHOTO.png"

serve: $(READY)  ## caption photos in the browser; make serve OPTIONS="--port 8080"
	$(RUN) -m service $(OPTIONS)

test: lint  ## check style, then run all tests; warnings are errors
	$(RUN) -m pytest $(IN_PARALLEL) --durations=30

test-quick: lint  ## run the quick tests: without browsers, servers, killed processes and long trainings
	$(RUN) -m pytest $(IN_PARALLEL) -m "not browser and not servers and not stress"

lint: $(READY)  ## check style, and who imports whom
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-cache --no-logo

test-lowest:  ## run all tests with the oldest versions that requirements.txt allows; needs the network
	$(PYTHON) -m venv --clear $(VENV)-lowest
	sed -n 's/^\([A-Za-z0-9_-]*\)\(\[[a-z,]*\]\)\{0,1\}>=\([0-9.]*\),.*/\1==\3/p' requirements.txt > $(VENV)-lowest/lowest.txt
	$(VENV)-lowest/bin/python -m pip install --disable-pip-version-check -r requirements.txt -c $(VENV)-lowest/lowest.txt
	$(VENV)-lowest/bin/python -m pytest -o filterwarnings=default

audit:  ## check the tested versions for known vulnerabilities; needs the network
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --disable-pip-version-check --quiet pip-audit
	$(VENV)-audit/bin/python -m pip_audit --no-deps --disable-pip -r constraints.txt

format: $(READY)  ## format the code and fix style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:  ## remove environments, caches and figures; keeps data/ and runs/
	rm -rf $(VENV) $(VENV)-audit $(VENV)-lowest out build dist *.egg-info .pytest_cache .ruff_cache
	find . -path ./data -prune -o -path ./runs -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last. Without it, the environment is incomplete and is recreated; if it is older than the
# requirements, they are installed again.
$(READY): requirements.txt constraints.txt
	@command -v $(PYTHON) > /dev/null || \
		{ echo "$(PYTHON) was not found: install Python 3.11 or newer, or set its path: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is Python %d.%d, but 3.11 or newer is required: set one: make PYTHON=python3.12" % sys.version_info[:2])'
	@test -f $@ || { echo "Setting up $(VENV). This takes some minutes, as torch is large."; $(PYTHON) -m venv --clear $(VENV); }
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $@
