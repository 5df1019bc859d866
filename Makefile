# make demo   run the main job on the embedded model
# make test   run the tests
# make lint   run the linter
# make clean  remove the environment and what was built
#
# Everything is installed into $(VENV). PYTHON=python3.12 chooses the interpreter; it counts when $(VENV) is made.

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
DEFINITION := setup.cfg pyproject.toml constraints.txt Makefile
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet --no-input
export PIP_ROOT_USER_ACTION := ignore

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

demo: $(VENV)/demo.stamp
	$(BIN)/mrt-torch demo

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/lint.stamp
	$(BIN)/ruff check --config .ci/ruff.toml .

clean:
	rm -rf $(VENV) build dist output *.egg-info

# The first Python that can make an environment. A folder left by an interrupted run is replaced.
$(VENV)/python.stamp:
	@for python in $(PYTHON) python3.11 python3 python3.12 python3.10; do \
	    "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue; \
	    echo "making $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv --clear $(VENV) && touch $@ && exit 0; \
	done; \
	echo "no Python 3.10 or newer with venv and pip was found: install one, or name it with PYTHON=..." >&2; exit 1

# PyTorch comes first and pinned: a looser requirement would take the newest build, with gigabytes of CUDA.
$(VENV)/torch.stamp: constraints.txt $(VENV)/python.stamp
	@echo "installing PyTorch"
	@$(PIP) install -c constraints.txt torch numpy
	@touch $@

$(VENV)/demo.stamp: $(DEFINITION) $(VENV)/torch.stamp
	@echo "installing mrt-torch"
	@$(PIP) install -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/test.stamp: $(DEFINITION) $(VENV)/torch.stamp
	@echo "installing mrt-torch and what its tests need"
	@$(PIP) install -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/lint.stamp: constraints.txt $(VENV)/python.stamp
	@$(PIP) install -c constraints.txt ruff
	@touch $@
