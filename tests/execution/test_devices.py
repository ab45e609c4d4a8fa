"""GPUs are claimed by processes, and are free again when these end."""

import os
import signal
import subprocess
import sys

import pytest

from bench.errors import UserError
from bench.execution import engines
from bench.execution.devices import claim
from bench.execution.here import Here
from bench.execution.processes import Local
from bench.spec import Execution
from tests.execution import toy

CLAIM = """
import os, sys, time
from pathlib import Path
from bench.execution.devices import claim
print(claim(["cuda:0", "cuda:1"], Path(sys.argv[1])), os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
time.sleep(60)
"""


def test_the_third_of_three_waits_until_a_gpu_is_free(tmp_path):
    def started():
        words = [sys.executable, "-c", CLAIM, str(tmp_path)]
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": "4,6"}
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)

    processes = [started()]
    try:
        assert processes[0].stdout.readline() == "4 4\n"
        processes.append(started())
        assert processes[1].stdout.readline() == "6 6\n"
        processes.append(started())
        assert processes[2].stderr.readline() == "waiting for a GPU: others use cuda:0, cuda:1\n"
        processes[0].send_signal(signal.SIGKILL)
        assert processes[2].stdout.readline() == "4 4\n"
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path):
    (tmp_path / "idbench-gpu-0-0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        claim(["cuda:0"], tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def made_by(tmp_path, **execution):
    return engines.engine_of(toy.task(toy.stage(tmp_path)), Execution(**execution))


def test_a_process_for_each_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engines, "gpus", lambda: ["cuda:0", "cuda:1"])
    engine = made_by(tmp_path, device="cuda", workers=8)
    assert isinstance(engine, Local)
    assert engine.places == 2
    assert "execution.workers=8: 2 processes, one for each of cuda:0, cuda:1" in capsys.readouterr().err
    assert engine.command(toy.stage(tmp_path), [0, 1])[-5:] == [
        "toy", "0-1", "--devices", "cuda:0,cuda:1", "--end-with-stdin",
    ]  # fmt: skip
    assert made_by(tmp_path, device="cuda", workers=3, devices=("cuda:0", "cuda:0", "cuda:1")).places == 3
    assert made_by(tmp_path, device="cuda:1", workers=2).places == 1


def test_one_worker_is_this_process_unless_it_must_be_ended(tmp_path):
    assert isinstance(made_by(tmp_path), Here)
    assert isinstance(made_by(tmp_path, shard_minutes=5), Local)


def test_gpus_are_not_shared_out_on_the_cpu(tmp_path):
    with pytest.raises(UserError, match=r"names GPUs, but execution\.device=cpu"):
        made_by(tmp_path, devices=("cuda:0",))
