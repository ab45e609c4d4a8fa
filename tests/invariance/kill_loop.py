"""Kills a run at random instants, resumes it each time, and compares it with an undisturbed one.

As a script: `python -m tests.invariance.kill_loop [kills] [seed]`. The suite runs a short one.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.commands import PHOTOS, ROOT, WITH_PHOTOS, assert_same, bench, environment, run_folder


def command(out: Path) -> list[str]:
    """A run in many small shards, so that there is much to be interrupted."""
    return ["run", *WITH_PHOTOS, "method=shuffle", "execution.shard_size=2", f"dataset.root={PHOTOS}", f"out={out}"]


def kill_once(out: Path, seconds: float) -> bool:
    """Starts the run and kills it with all its children after some seconds; whether it was still running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *command(out)], cwd=ROOT, env=environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        process.wait(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def kill_loop(work: Path, kills: int, seed: int) -> int:
    """Runs undisturbed; then kills `kills` running processes, resuming each time, and compares every whole run.

    A run that ends between two kills is compared, and the next one begins in a new folder. Returns the number of runs.

    Raises:
        AssertionError: a run differs from the undisturbed one in a bit, or a committed shard was made again.
    """
    started = time.monotonic()
    bench(*command(work / "calm"))
    whole = time.monotonic() - started
    chance, hits, runs = random.Random(seed), 0, 1
    while hits < kills:
        out = work / f"killed-{runs}"
        before = _committed(out)
        hit = kill_once(out, chance.uniform(0.2, 0.9) * whole)
        after = _committed(out)
        assert all(after.get(path) == stamp for path, stamp in before.items())
        hits += hit
        if not hit:
            _compare(out, work / "calm")
            runs += 1
    bench(*command(work / f"killed-{runs}"))
    _compare(work / f"killed-{runs}", work / "calm")
    return runs


def _compare(out: Path, calm: Path) -> None:
    assert_same(run_folder(out, "shuffle"), run_folder(calm, "shuffle"))
    assert not list(out.rglob(".tmp-*"))


def _committed(out: Path) -> dict[Path, int]:
    """The shards that are whole, and when they were written."""
    shards = (p for p in out.glob("*/*/tables/**/*.parquet") if ".parts" not in p.parts)
    return {p: p.stat().st_mtime_ns for p in shards}


if __name__ == "__main__":
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{kills} processes killed in {kill_loop(Path(scratch), kills, seed)} runs; the tables are the same")
