# The two commands: `make demo` and `make test`. Each sets itself up on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint mutants kills fuzz extras clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python -m bench run -m method=arc2face,copy,shuffle,real out=runs/demo
	$(BIN)/python -m bench compare --out runs/demo

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Breaks one line at a time; the tests must notice at least 90 % (docs/mutants.md).
mutants: $(VENV)/.installed
	$(BIN)/python -m tests.mutants

# Kills a run 30 times at random instants and compares it with an undisturbed one.
kills: $(VENV)/.installed
	$(BIN)/python -m tests.invariance.kill_loop

# 10,000 changed files for each reader of foreign files.
fuzz: $(VENV)/.installed
	$(BIN)/python -m tests.fuzz

# Installs the wheel with each extra into an empty environment and uses it there (docs/howto/install.md).
extras: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m tests.release.extras

clean:
	rm -rf $(VENV) runs
