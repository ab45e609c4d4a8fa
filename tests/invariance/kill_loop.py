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
    """Runs undisturbed, then with `kills` kills, and compares; returns how many kills hit a running process.

    Raises:
        AssertionError: the two differ in a bit, or a committed batch was made again.
    """
    started = time.monotonic()
    bench(*command(work / "calm"))
    whole = time.monotonic() - started
    chance, hit = random.Random(seed), 0
    for _ in range(kills):
        committed = _committed(work / "killed")
        hit += kill_once(work / "killed", chance.uniform(0.2, 1.0) * whole)
        after = _committed(work / "killed")
        assert all(after.get(path) == stamp for path, stamp in committed.items() if ".parts" not in path.parts)
    bench(*command(work / "killed"))
    assert_same(run_folder(work / "killed", "shuffle"), run_folder(work / "calm", "shuffle"))
    assert not list((work / "killed").rglob(".tmp-*"))
    return hit


def _committed(out: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in out.glob("*/*/tables/**/*.parquet")}


if __name__ == "__main__":
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{kill_loop(Path(scratch), kills, seed)} of {kills} kills hit; the tables are the same")
