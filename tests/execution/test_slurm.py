"""A Slurm with its own daemons, where one answers; elsewhere `test_engines.py` has a stand-in for sbatch.

Debian's slurm-wlm and munge are enough: one slurmctld, and slurmd for two nodes of this machine.
"""

import shutil
import subprocess
from functools import partial

import pytest

from bench.errors import UserError, WorkFailedError
from bench.execution.shards import run_shards
from bench.execution.slurm import Slurm
from bench.spec import Execution
from tests.e2e.small import bench
from tests.execution import toy
from tests.execution.runs import again, files


def answers() -> bool:
    return shutil.which("sinfo") is not None and not subprocess.run(["sinfo", "-h"], capture_output=True).returncode


pytestmark = pytest.mark.skipif(not answers(), reason="no Slurm answers on this machine")


def engine(**options):
    return Slurm(options, partial(toy.command, with_parent=False))


def test_whatever_befalls_some_jobs_all_other_shards_are_made(tmp_path):
    stage = toy.stage(tmp_path / "run", s_0="kill-once", s_1="raise")
    with pytest.raises(WorkFailedError, match=r"1 of 6 shards failed .* shard 1 \(s1\): ValueError"):
        run_shards(toy.task(stage), engine(time="5"), Execution(workers=2))
    assert toy.task(stage).missing() == [1]


def test_what_slurm_refuses_is_told(tmp_path):
    with pytest.raises(UserError, match=r"sbatch refuses: .*[Ii]nvalid partition"):
        run_shards(toy.task(toy.stage(tmp_path)), engine(partition="nowhere"), Execution(workers=2))


def test_nodes_make_what_one_process_makes(world):
    options, folder = world
    for verb in ("generate", "extract"):
        before = again(folder, verb)
        assert bench(verb, *options, "execution=slurm", "execution.workers=2", "execution.sbatch.time=10") == 0
        assert files(folder) == before
