"""The verb `report`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from bench.console import Parser, show
from bench.report.compare import newest
from bench.report.run import write_report


def main(argv: Sequence[str]) -> int:
    """Write `report/` of the given runs again (of the newest complete ones, if none is given)."""
    parser = Parser(prog="python -m bench report", description=main.__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    arguments = parser.parse_args(argv)
    folders = arguments.runs or [run for group in newest(arguments.out).values() for run in group]
    for written in _written(folders):
        show(str(written))
    return 0


def _written(folders: Sequence[Path]) -> Iterator[Path]:
    """Write the reports, several at a time where there are cores for it, and yield their folders in the order given."""
    workers = min(len(folders), os.cpu_count() or 1)
    if workers < 2:
        yield from map(_write, folders)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write, folders)


def _write(folder: Path) -> Path:
    write_report(folder)
    return folder / "report"
