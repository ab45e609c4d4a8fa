"""A run that one process has made, and a program called sbatch for machines without Slurm."""

import os
import stat
import sys

import pytest

from tests.e2e.small import bench, make_people, record
from tests.shared import ROOT

SBATCH = """#!{python}
# Stands in for sbatch --wait: runs the tasks of the array one after the other, each in a process.
import os, pathlib, subprocess, sys
options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
pathlib.Path({seen!r}).write_text(" ".join(sys.argv[1:]))
print(7, flush=True)
for task in range(int(options["array"].partition("-")[2]) + 1):
    with open(options["output"].replace("%a", str(task)), "a") as log:
        env = {{**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}}
        subprocess.run(["bash", sys.argv[-1]], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
sys.exit(1)
"""


@pytest.fixture(autouse=True)
def path(monkeypatch):
    """Processes that are started import this checkout."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """Puts the program on the PATH; returns the file in which it writes its arguments."""
    file = tmp_path / "bin" / "sbatch"
    file.parent.mkdir()
    file.write_text(SBATCH.format(python=sys.executable, seen=str(tmp_path / "seen")))
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")
    return tmp_path / "seen"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three people, and the options of a run of theirs that one process has begun and made."""
    root = tmp_path_factory.mktemp("engines")
    options = ("method=copy", f"dataset.root={make_people(root / 'people', 3)}", "execution.shard_size=1")
    options = (*options, f"out={root / 'runs'}")
    assert bench("generate", *options) == 0
    assert bench("extract", *options) == 0
    return options, record(root / "runs")["folder"]
