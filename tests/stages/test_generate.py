"""What of the making of samples is recorded."""

import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from baselines.protocol import Output
from bench.errors import UserError
from bench.stages import generate
from bench.store import shard_table


class Halved:
    """A method that had to make smaller batches."""

    def generate(self, requests):
        image = np.zeros((8, 8, 3), np.uint8)
        return [Output(image=image, note="in batches of 2") for _ in requests]


def test_what_a_method_notes_is_recorded(monkeypatch):
    monkeypatch.setattr(generate, "_encoded", lambda *_: ({"sha256": "x"}, None))
    protocol = SimpleNamespace(seed=0, texts={"neutral": "photo of a person"})
    spec = SimpleNamespace(protocol=protocol, dataset=SimpleNamespace(label="few"))
    faults = [None, None, "no face found"]
    asked = SimpleNamespace(fault=lambda planned: faults[planned["row"]], request=lambda planned, seed: seed)
    names = {"item": "a", "subject": "A", "prompt_id": "neutral", "seed_key": "a"}
    rows = [{**names, "row": k, "index": k, "seed_index": k} for k in range(3)]
    job = SimpleNamespace(spec=spec, folder=None)
    found = generate._written(job, generate._make(job, Halved(), asked, rows), None)
    assert found["reason"].tolist() == ["", "", "reference: no face found"]
    assert found["note"].tolist() == ["in batches of 2", "in batches of 2", ""]
    assert found["status"].tolist() == ["ok", "ok", "reference_failed"]
    assert "note" in generate.TIMING_COLUMNS


def shard_of(monkeypatch, tmp_path, make, keep):
    """Make a shard of six samples in batches of two; return the table of samples."""
    rows = pd.DataFrame({"row": range(6), "item": "a", "subject": "A", "index": range(6)})
    job = SimpleNamespace(folder=tmp_path, samples=rows, bounds=(0, 6), keys={})
    monkeypatch.setattr(generate, "batch_size", lambda job: 2)
    monkeypatch.setattr(generate, "_make", lambda job, method, asked, batch: make([row["row"] for row in batch]))
    monkeypatch.setattr(generate, "_written", lambda job, made, tar: keep(made))
    generate._shard(job, None, None, 0, None, lambda count: None)
    return shard_table(tmp_path, "samples")


def frame(rows):
    return pd.DataFrame({"row": rows, "item": "a", "subject": "A", "index": rows, "seconds": 0.0, "note": ""})


def test_a_batch_is_written_while_the_next_one_is_made(monkeypatch, tmp_path):
    begun = [threading.Event() for _ in range(3)]

    def make(rows):
        begun[rows[0] // 2].set()
        return rows

    def keep(rows):
        number = rows[0] // 2
        # The last batch has no next one.
        assert number == 2 or begun[number + 1].wait(30)
        return frame(rows)

    assert list(shard_of(monkeypatch, tmp_path, make, keep).read_shard(0)["row"]) == list(range(6))


def test_what_was_written_before_a_fault_is_not_made_again(monkeypatch, tmp_path):
    made = []

    def make(rows):
        made.append(rows)
        if len(made) == 3:
            raise MemoryError
        return rows

    with pytest.raises(MemoryError):
        shard_of(monkeypatch, tmp_path, make, frame)
    assert not shard_table(tmp_path, "samples").has(0)
    shard_of(monkeypatch, tmp_path, make, frame)
    assert made == [[0, 1], [2, 3], [4, 5], [4, 5]]


def test_a_fault_of_writing_ends_the_shard(monkeypatch, tmp_path):
    def full(rows):
        raise UserError("the disk is full")

    with pytest.raises(UserError, match="the disk is full"):
        shard_of(monkeypatch, tmp_path, list, full)
    assert not shard_table(tmp_path, "samples").has(0)
