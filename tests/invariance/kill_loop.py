"""Kills a run at random instants, resumes it each time, and compares it with an undisturbed one.

As a script: `make kills`, or `python -m tests.invariance.kill_loop [kills] [seed]`. The suite runs a short one.
"""

import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path

from bench.spec import from_mapping
from tests.e2e.commands import assert_same
from tests.guard import world

# Each process is a fork of one that has imported what takes seconds to import, and nothing else.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["bench.__main__", "tests.invariance.imports"])


def run(work: Path, out: Path) -> None:
    """Run three people in shards of one, so that there is much to be interrupted: samples, features and pairs."""
    world.spec_of(work, out)
    plain = world.composed(work, out)
    plain["dataset"]["targets"] = 0
    plain["protocol"]["samples_per_item"] = 2
    plain["method"] = {"name": "wobble", "card": {"relations": {"*": "none"}}}
    plain["evaluator"]["extractors"] = {"lpips": plain["evaluator"]["extractors"]["lpips"]}
    plain["execution"]["shard_size"] = 1
    world.run(from_mapping(plain))


def run_for(work: Path, out: Path, seconds: float | None) -> bool:
    """Run in a process of its own, killed after some seconds; return whether it was killed.

    Raises:
        AssertionError: the run failed.
    """
    process = PROCESSES.Process(target=run, args=(work, out))
    process.start()
    process.join(seconds)
    was_killed = process.is_alive()
    process.kill()
    process.join()
    assert was_killed or process.exitcode == 0
    return was_killed


def _start_server() -> None:
    """Start the process that all others are forks of: its imports are no part of a run's time."""
    first = PROCESSES.Process(target=time.sleep, args=(0,))
    first.start()
    first.join()


def kill_loop(work: Path, kills: int, seed: int) -> int:
    """Run undisturbed; then kill `kills` running processes, resuming each time, and compare every whole run.

    A run that ends between two kills is compared, and the next one begins in a new folder. Return the number of runs.

    Raises:
        AssertionError: a run differs from the undisturbed one in a bit, or a committed shard was made again.
    """
    _start_server()
    started = time.monotonic()
    run_for(work, work / "calm", None)
    whole = time.monotonic() - started
    chance, hits, runs = random.Random(seed), 0, 1
    while hits < kills:
        out = work / f"killed-{runs}"
        before = _committed(out)
        was_killed = run_for(work, out, chance.uniform(0.1, 0.9) * whole)
        after = _committed(out)
        assert all(after.get(path) == stamp for path, stamp in before.items())
        hits += was_killed
        if not was_killed:
            _compare(out, work / "calm")
            runs += 1
    run_for(work, work / f"killed-{runs}", None)
    _compare(work / f"killed-{runs}", work / "calm")
    return runs


def _compare(out: Path, calm: Path) -> None:
    folders = sorted(path.parent.relative_to(calm) for path in calm.rglob("tables"))
    assert len(folders) == 2, "the run's and that of its photos"
    for folder in folders:
        assert_same(out / folder, calm / folder)
    assert not list(out.rglob(".tmp-*"))


def _committed(out: Path) -> dict[Path, int]:
    """Return the shards that are whole, and when they were written."""
    shards = (p for p in out.rglob("tables/**/*.parquet") if ".parts" not in p.parts)
    return {p: p.stat().st_mtime_ns for p in shards}


if __name__ == "__main__":
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{kills} processes killed in {kill_loop(Path(scratch), kills, seed)} runs; the tables are the same")
