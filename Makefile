# The two commands: `make demo` and `make test`. Each sets itself up on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The tests start many processes, each of which would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint style types renderer suite exhaustive extras mutants kills damage fuzz clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python -m bench run -m method=arc2face,copy,shuffle,real out=runs/demo
	$(BIN)/python -m bench compare --out runs/demo

lint: style types

style: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

# Each test process would compile the renderer.
renderer: $(VENV)/.installed
	$(BIN)/python -c 'from bench.mini import world; \
	world.render(world.sample_scenes(world.sample_identities(0, 16, "eval"), 0, frontal=0.5), 32)'

suite: renderer
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# mypy or the renderer alone would leave a core idle.
test: $(VENV)/.installed
	$(MAKE) --no-print-directory -j 2 style renderer types suite

# What the suite shows on one case, shown on the others.
exhaustive: $(VENV)/.installed
	$(BIN)/python -m pytest -m exhaustive -n 2 --dist loadfile

# Breaks one line at a time; the tests must notice at least 90 % (docs/mutants.md).
mutants: $(VENV)/.installed
	$(BIN)/python -m tests.mutants

# Kills a run 30 times at random instants and compares it with an undisturbed one.
kills: $(VENV)/.installed
	$(BIN)/python -m tests.invariance.kill_loop

# Damages each kind of file of a finished run in each way; the next command must find it.
damage: $(VENV)/.installed
	$(BIN)/python -m tests.invariance.damage

# 10,000 changed files for each reader of foreign files, and 1,000 examples for each property.
fuzz: $(VENV)/.installed
	$(BIN)/python -m tests.fuzz
	IDBENCH_EXAMPLES=1000 $(BIN)/python -m pytest tests/properties

# Installs the wheel with each extra into an empty environment and uses it there (docs/howto/install.md).
extras: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m tests.release.extras

clean:
	rm -rf $(VENV) runs
