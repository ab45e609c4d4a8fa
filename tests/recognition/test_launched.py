"""Training in two processes, as torchrun and accelerate launch start them."""

import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from bench.cli.configured import composed
from bench.cli.recognition import _check_workers
from bench.errors import UserError
from bench.experiment import run
from bench.facesets.store import Row, close, write_shard
from bench.recognition import training
from bench.store import read_json, read_table
from tests.recognition.test_training import face
from tests.shared import ROOT


@pytest.mark.exhaustive
def test_two_processes_train_one_network(tmp_path):
    write_shard(tmp_path / "faces", 0, [Row(i, k, crop=face(i, k)) for i in range(3) for k in range(6)])
    close(tmp_path / "faces", 1, {"name": "toy"})
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    train = ["-m", "bench", "recognition", "train"]
    keys = ["recipe=mini", "recipe.batch=8", "recipe.epochs=2", "recipe.schedule.milestones=[1]"]
    places = [f"recognition.faces={tmp_path / 'faces'}", f"recognition.to={tmp_path / 'trained'}"]
    done = subprocess.run(
        [sys.executable, *launch, *train, *keys, *places], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "trained").iterdir()
    assert done.stdout.split() == [str(folder)]
    record = read_json(folder / "recogniser.json")
    assert (record["processes"], record["epochs"]) == (2, 2)
    assert read_table(folder / "log.parquet")["step"].tolist() == [2, 4]


@pytest.mark.parametrize("is_main", [True, False])
def test_the_main_process_has_the_lock(is_main, tmp_path, monkeypatch):
    locks, waits = [], []
    monkeypatch.setattr(training, "locked", lambda folder: locks.append(folder) or nullcontext())
    with training._held(tmp_path, SimpleNamespace(is_main_process=is_main, wait_for_everyone=lambda: waits.append(1))):
        assert locks == [tmp_path] * is_main
    assert waits == [1]


def test_what_a_launcher_cannot_start(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"2 processes here: give execution\.workers=1"):
        _check_workers(2)
    with pytest.raises(UserError, match="runs without a launcher"):
        run(composed("config", ["experiment=table2", f"out={tmp_path}"]), ("generate", "extract", "score", "report"))
