"""`make fuzz`: 10,000 changed files for each reader; prints every case that is neither an answer nor one line."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.fuzz.readers import attack, readers


def main(cases: int) -> int:
    """Return 0 where every reader answered or refused in one line."""
    bad = 0
    for reader in readers():
        for case in range(cases):
            with tempfile.TemporaryDirectory(prefix="idbench-fuzz-") as place:
                fault = attack(reader, case, Path(place))
            if fault is not None:
                bad += 1
                sys.stdout.write(f"{fault}\n")
        sys.stdout.write(f"{reader.name}: {cases} cases\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
