# Every job does its own set-up: a machine needs Python 3.11 or newer, and make.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
# The tests of a file share fixtures, so one process runs them all. Many wait for processes and servers, so three share
# two cores well.
IN_PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help caption serve test test-quick test-lowest lint audit format clean

help:  ## list the jobs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile

caption: $(READY)  ## caption the photos in examples/, and draw where the model looked into out/
	$(RUN) -m captioner examples --figure out/figure.png
	@echo "The figure of each photo is in out/: out/figure-PHOTO.png"

serve: $(READY)  ## caption photos in the browser; make serve OPTIONS="--port 8080"
	$(RUN) -m service $(OPTIONS)

test: lint  ## check style, then run all tests; warnings are errors
	$(RUN) -m pytest $(IN_PARALLEL) --durations=30

test-quick: lint  ## run the quick tests: no browser, no server, no killed process, no long training
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

audit:  ## look up known flaws of the tested versions; needs the network
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --disable-pip-version-check --quiet pip-audit
	$(VENV)-audit/bin/python -m pip_audit --no-deps --disable-pip -r constraints.txt

format: $(READY)  ## put the code into style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:  ## remove the environment, caches and figures; keeps data/ and runs/
	rm -rf $(VENV) $(VENV)-audit $(VENV)-lowest out build dist *.egg-info .pytest_cache .ruff_cache
	find . -path ./data -prune -o -path ./runs -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last. Without it the environment is half made, and made anew; where it is only older than the
# requirements, what they changed is installed.
$(READY): requirements.txt constraints.txt
	@command -v $(PYTHON) > /dev/null || \
		{ echo "There is no $(PYTHON) here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is Python %d.%d, and 3.11 or newer is needed: name one: make PYTHON=python3.12" % sys.version_info[:2])'
	@test -f $@ || { echo "Setting up $(VENV): torch is large, this takes some minutes."; $(PYTHON) -m venv --clear $(VENV); }
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $@
