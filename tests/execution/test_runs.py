"""Runs through engines: every file is the same as that of one process; a machine's fault is no row."""

import pytest

from baselines.controls import Copy
from bench.stages.plan import load
from bench.store import read_json, shard_table
from tests.e2e.small import bench
from tests.execution.runs import again, files


def test_two_workers_make_what_one_makes(world):
    options, folder = world
    before = again(folder, "extract")
    assert bench("extract", *options, "execution.workers=2") == 0
    assert files(folder) == before
    assert not (folder / "work").exists()


def test_an_array_of_jobs_makes_what_one_process_makes(world, sbatch):
    options, folder = world
    before = again(folder, "generate")
    jobs = ("execution=slurm", "execution.workers=2", "execution.sbatch.partition=gpu", "execution.sbatch.time=1:00:00")
    assert bench("generate", *options, *jobs) == 0
    assert files(folder) == before
    assert "--partition=gpu --time=1:00:00" in sbatch.read_text()
    assert read_json(folder / "run.json")["stages"][-1]["device"]["device"] == "cpu"


def test_any_scheduler_makes_what_one_process_makes(world, capfd):
    options, folder = world
    before = again(folder, "generate")
    by_hand = ("generate", *options, "execution=manual", "execution.workers=2")
    assert bench(*by_hand) == 2
    assert f"python -m bench work {folder} generate I/2` for I = 1 to 2" in capfd.readouterr().err
    from bench.__main__ import main

    assert [main(["work", str(folder), "generate", part]) for part in ("1/2", "2/2")] == [0, 0]
    assert files(folder) == before
    assert bench(*by_hand) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere", "generate", "1/2"), "is not the folder of a run"),
        (("RUN", "generat", "1/2"), "unknown stage 'generat'; did you mean 'generate'?"),
        (("RUN", "generate", "3/2"), "part 3/2 does not exist"),
        (("RUN", "generate", "7"), "shard 7 does not exist; the stage has shards 0 to 2"),
        (("RUN", "generate", "all"), "names no shards; allowed: a part such as 3/32"),
    ],
)
def test_work_says_what_is_wrong(world, words, said, capfd):
    from bench.__main__ import main

    assert main(["work", *(word.replace("RUN", str(world[1])) for word in words)]) == 2
    assert said in capfd.readouterr().err


def test_a_machines_fault_is_never_a_row(world, monkeypatch, capfd):
    import torch

    options, folder = world
    before = again(folder, "generate")
    made = Copy.generate
    sick = [load(folder).items["item"][1]]

    def generate(self, requests):
        if requests[0].reference.item in sick:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return made(self, requests)

    monkeypatch.setattr(Copy, "generate", generate)
    assert bench("generate", *options) == 1
    assert "illegal memory access" in capfd.readouterr().err
    assert [shard_table(folder, "samples").has(shard) for shard in range(3)] == [True, False, False]
    sick.clear()
    assert bench("generate", *options) == 0
    assert files(folder) == before
