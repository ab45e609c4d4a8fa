"""`make mutants`: breaks one line at a time in a copy of the project, and counts the faults that the tests notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
GOAL = 0.9
"""Share of the faults that the targeted tests are to notice."""


def main() -> int:
    """Return 0 where at least `GOAL` of the faults are noticed."""
    with tempfile.TemporaryDirectory(prefix="idbench-mutants-") as place:
        copy = Path(place) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache"))
        survivors = [fault for fault in FAULTS if not _is_noticed(fault, copy)]
    for fault in survivors:
        sys.stdout.write(f"survived: {fault.file}: {fault.line!r} -> {fault.broken!r} ({fault.tests})\n")
    share = 1 - len(survivors) / len(FAULTS)
    sys.stdout.write(f"{len(FAULTS) - len(survivors)} of {len(FAULTS)} faults noticed ({share:.0%})\n")
    return 0 if share >= GOAL else 1


def _is_noticed(fault: Fault, project: Path) -> bool:
    path = project / fault.file
    whole = path.read_text("utf-8")
    if whole.count(fault.line) != 1:
        raise SystemExit(f"{fault.file} has {fault.line!r} {whole.count(fault.line)} times; correct the list of faults")
    path.write_text(whole.replace(fault.line, fault.broken), "utf-8")
    try:
        words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *fault.tests.split()]
        environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(words, cwd=project, env=environment, capture_output=True, timeout=600, check=False)
    finally:
        path.write_text(whole, "utf-8")
    # 1: a test failed; another code means that pytest itself did not run.
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout.decode() + done.stderr.decode())
    return done.returncode == 1


if __name__ == "__main__":
    sys.exit(main())
