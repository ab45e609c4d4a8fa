"""A stage without images: shards that are one small file each, and that fail as a file of the run says.

As a script it is what an engine starts: `python -m tests.execution.toy FOLDER STAGE PART MINUTES WITH_PARENT`.
"""

import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from bench.errors import UserError
from bench.execution.engine import Stage, parse_part, spans
from bench.execution.work import Task, Work, work
from bench.store import shard_table, write_atomic

SHARDS = 6


def stage(folder: Path, **faults: str) -> Stage:
    """A stage whose shards fail: number (or "setup") -> kind; a kind that ends with "-once" fails once."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.json").write_text(json.dumps({name.strip("s_"): kind for name, kind in faults.items()}))
    return Stage(folder, "toy")


def task(of: Stage) -> Task:
    table = shard_table(of.folder, "toy")
    faults = json.loads((of.folder / "faults.json").read_text())

    def setup() -> Work:
        _log(of.folder, "setup")
        _fail(of.folder, "etup", faults)
        return Work(finish)

    def finish(shard, _, advance):
        _fail(of.folder, str(shard), faults)
        _log(of.folder, shard)
        write_atomic(table.path(shard), b"whole")

    return Task(of, setup, [table], [1] * SHARDS, lambda shard: [f"s{shard}"])


def made(folder: Path) -> list[str]:
    """What the processes did, sorted: "setup", and the number of each shard that was made."""
    path = folder / "made.log"
    return sorted(path.read_text().split()) if path.exists() else []


def command(of: Stage, part, minutes: float | None = None, with_parent: bool = True) -> list[str]:
    words = [str(minutes or 0), "with-parent" if with_parent else ""]
    return [sys.executable, "-m", "tests.execution.toy", str(of.folder), of.name, spans(part), *words]


def _log(folder, what):
    with (folder / "made.log").open("a") as file:
        file.write(f"{what}\n")


def _fail(folder, name, faults):
    kind = faults.get(name)
    if kind is None or (kind.endswith("-once") and (folder / f"failed-{name}").exists()):
        return
    (folder / f"failed-{name}").touch()
    match kind.removesuffix("-once"):
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            # Sleeps while it holds the interpreter's lock: no thread of Python can end it.
            ctypes.PyDLL(None).sleep(60)
        case "sleep":
            time.sleep(60)
        case "raise":
            raise ValueError("a fault of the shard")
        case "user":
            raise UserError("weights are missing")
        case "memory":
            raise MemoryError("no memory")


def main(folder: str, name: str, part: str, minutes: str, with_parent: str) -> None:
    if with_parent:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    of = Stage(Path(folder), name)
    work(task(of), parse_part(part, SHARDS), float(minutes) or None)


def _end_with_stdin():
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
