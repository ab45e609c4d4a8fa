"""Engines start real processes, which die in every way; what is whole is read from the disk."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from pydantic import ValidationError

from bench.__main__ import main
from bench.errors import UserError, WorkFailedError
from bench.execution.engines import engine_of
from bench.execution.processes import Local
from bench.execution.shards import run_shards
from bench.execution.slurm import Slurm
from bench.spec import Execution
from tests.execution import toy
from tests.plugin.packages import on_path, write_package
from tests.shared import ROOT


def engine(name, minutes=None):
    if name == "local":
        return Local(2, partial(toy.command, minutes=minutes))
    return Slurm({"partition": "cpu", "exclusive": True}, partial(toy.command, with_parent=False))


@pytest.mark.parametrize("name", ["local", "slurm"])
def test_whatever_befalls_some_shards_all_others_are_made_once(name, tmp_path, sbatch, capsys):
    stage = toy.stage(tmp_path / "run", s_0="kill-once", s_1="raise", s_2="kill", s_3="memory-once")
    task = toy.task(stage)
    with pytest.raises(WorkFailedError) as failed:
        run_shards(task, engine(name), Execution(workers=2))
    assert "2 of 6 shards failed in every attempt" in str(failed.value)
    assert "shard 1 (s1): ValueError: a fault of the shard (on " in str(failed.value)
    assert "shard 2 (s2): process " in str(failed.value)
    assert "ended without a word" in str(failed.value)
    assert task.missing() == [1, 2]
    assert [word for word in toy.made(stage.folder) if word != "setup"] == ["0", "3", "4", "5"]
    assert "attempt 2 of 3" in capsys.readouterr().err
    if name == "slurm":
        assert "--wait --parsable --requeue" in sbatch.read_text()
        assert "--partition=cpu --exclusive" in sbatch.read_text()


ENGINE = """
import subprocess

from tests.execution import toy


class OneAfterTheOther:
    def attempt(self, stage, parts):
        for part in parts:
            subprocess.run(toy.command(stage, part, with_parent=False), check=False)


def build(task, execution, devices):
    return OneAfterTheOther()
"""


def test_an_engine_of_another_package(tmp_path, capsys):
    (tmp_path / "site").mkdir()
    write_package(tmp_path / "site", "slow-engine", "[bench.engines]\nslow = slow_engine:build\n", ENGINE)
    task = toy.task(toy.stage(tmp_path / "run", s_0="kill-once"))
    with on_path(tmp_path / "site", "slow_engine"):
        execution = Execution(engine="slow")
        run_shards(task, engine_of(task, execution), execution)
        assert main(["ls", "engines"]) == 0
        assert "slow_engine:build" in capsys.readouterr().out
    assert task.missing() == []
    with pytest.raises(ValidationError, match="allowed: local, manual, ray, slurm"):
        Execution(engine="slow")


@pytest.mark.parametrize("kind", ["raise", "user"])
def test_what_fails_at_once_everywhere_is_not_tried_again(kind, tmp_path):
    stage = toy.stage(tmp_path, setup=kind)
    expected = {
        "raise": (WorkFailedError, "every shard failed on .*: ValueError: a fault"),
        "user": (UserError, "^weights are missing$"),
    }
    with pytest.raises(expected[kind][0], match=expected[kind][1]):
        run_shards(toy.task(stage), engine("local"), Execution(workers=2))
    assert toy.made(tmp_path) == ["setup", "setup"]


def test_a_shard_that_hangs_ends_its_process_even_with_the_interpreter_held(tmp_path):
    stage = toy.stage(tmp_path, s_5="hang-once")
    run_shards(toy.task(stage), engine("local", minutes=0.05), Execution(workers=2))
    assert toy.task(stage).missing() == []


def test_workers_end_with_their_driver_however_that_one_ends(tmp_path):
    stage = toy.stage(tmp_path, s_0="sleep")
    code = (
        "import sys; from pathlib import Path; from tests.execution import toy\n"
        "from bench.execution.processes import Local; from bench.execution.engine import Stage\n"
        "Local(1, toy.command).attempt(Stage(Path(sys.argv[1]), 'toy'), [[1, 0]])"
    )
    driver = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], start_new_session=True, cwd=ROOT)
    _wait_for(lambda: (tmp_path / "failed-0").exists())
    [child] = _children(driver.pid)
    driver.send_signal(signal.SIGKILL)
    driver.wait(timeout=20)
    _wait_for(lambda: not _is_alive(child))
    assert toy.task(stage).missing() == [0, 2, 3, 4, 5]


def _wait_for(condition):
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def _children(pid):
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    return [int(line) for line in found.stdout.split()]


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_sbatch_says_is_told(tmp_path, sbatch):
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition: gpu' >&2\nexit 1\n")
    with pytest.raises(UserError, match="sbatch refuses: sbatch: error: invalid partition: gpu"):
        run_shards(toy.task(toy.stage(tmp_path / "run")), engine("slurm"), Execution(workers=2))


def test_a_machine_without_sbatch_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="needs sbatch"):
        run_shards(toy.task(toy.stage(tmp_path / "run")), engine("slurm"), Execution(workers=2))
