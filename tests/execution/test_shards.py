"""The loop behind all engines: what is tried again, in which order, and when not."""

import os
from dataclasses import dataclass, field

import pytest

from bench.errors import UserError, WorkFailedError
from bench.execution.here import Here
from bench.execution.notes import Kind, Note, Notes
from bench.execution.shards import in_order, run_shards
from bench.execution.work import share_of_cores
from bench.spec import Execution
from tests.execution import toy


@dataclass
class Dying:
    """An engine whose processes die at some shards, so that what is behind them in the part is not made."""

    task: object
    deadly: set
    attempts: list = field(default_factory=list)

    def attempt(self, stage, parts):
        self.attempts.append([list(part) for part in parts])
        for part in parts:
            for shard in part:
                Notes.of(stage).write(shard, Note(Kind.BEGUN, "ended without a word"))
                if shard in self.deadly:
                    break
                self.task.tables[0].folder.mkdir(parents=True, exist_ok=True)
                self.task.tables[0].path(shard).touch()
                Notes.of(stage).remove(shard)


def test_a_deadly_shard_costs_no_other_and_is_named(tmp_path, capsys):
    task = toy.task(toy.stage(tmp_path))
    engine = Dying(task, {1})
    with pytest.raises(WorkFailedError, match=r"1 of 6 shards .*shard 1 \(s1\): ended without a word.*all others"):
        run_shards(task, engine, Execution(workers=1))
    # The second attempt gives the deadly one a process of its own, after the others.
    assert engine.attempts == [[[0, 1, 2, 3, 4, 5]], [[2, 3, 4, 5], [1]], [[1]]]
    assert task.missing() == [1]
    assert "toy: shard 1 (s1): ended without a word" in capsys.readouterr().err


def test_two_deadly_shards_do_not_starve_what_is_behind_them(tmp_path):
    task = toy.task(toy.stage(tmp_path))
    with pytest.raises(WorkFailedError):
        run_shards(task, Dying(task, {0, 1}), Execution(workers=1))
    assert task.missing() == [0, 1]


def test_an_engine_without_processes_is_no_success(tmp_path):
    class Idle:
        def attempt(self, stage, parts):
            pass

    with pytest.raises(WorkFailedError, match="no process worked on it"):
        run_shards(toy.task(toy.stage(tmp_path)), Idle(), Execution(workers=2))


def test_an_exception_costs_its_shard_alone_and_is_tried_once_more(tmp_path):
    task = toy.task(toy.stage(tmp_path, s_2="raise", s_4="raise-once"))
    with pytest.raises(WorkFailedError, match=r"shard 2 \(s2\): ValueError: a fault of the shard \(on ") as failed:
        run_shards(task, Here(task, 1), Execution())
    assert "shard 4" not in str(failed.value)
    assert task.missing() == [2]
    [note] = [Notes.of(task.stage).read(shard) for shard in range(6) if Notes.of(task.stage).read(shard)]
    assert (note.kind, note.traceback[-1]) == (Kind.ERROR, "ValueError: a fault of the shard")


def test_a_mistake_of_the_user_stays_one(tmp_path):
    task = toy.task(toy.stage(tmp_path, s_3="user"))
    with pytest.raises(UserError, match=r"^weights are missing$"):
        run_shards(task, Here(task, 1), Execution())
    assert task.missing() == [3]


def test_the_machines_fault_ends_this_process(tmp_path):
    task = toy.task(toy.stage(tmp_path, s_3="memory-once"))
    with pytest.raises(MemoryError):
        run_shards(task, Here(task, 1), Execution())
    assert task.missing() == [3, 4, 5]
    run_shards(task, Here(task, 1), Execution())
    assert task.missing() == []
    assert not (tmp_path / "work").exists()


def test_shards_run_in_the_order_that_was_asked_for(tmp_path):
    assert in_order([2, 0, 1], "list") == [0, 1, 2]
    assert in_order([2, 0, 1], "reversed") == [2, 1, 0]
    assert sorted(in_order(range(50), "shuffled")) == list(range(50)) != in_order(range(50), "shuffled")
    task = toy.task(toy.stage(tmp_path))
    engine = Dying(task, set())
    run_shards(task, engine, Execution(order="reversed", workers=2))
    assert engine.attempts == [[[5, 3, 1], [4, 2, 0]]]


@pytest.mark.parametrize(
    ("engine", "workers", "threads"), [("local", 1, 16), ("local", 4, 4), ("local", 12, 2), ("slurm", 4, 16)]
)
def test_workers_of_one_machine_share_its_cores(monkeypatch, engine, workers, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(16), raising=False)
    assert share_of_cores(Execution(engine=engine, workers=workers)) == threads
