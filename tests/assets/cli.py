"""The verb as a process of its own, on another table: `python -m tests.assets.cli TABLE fetch ...`."""

import sys
from pathlib import Path

from bench import assets
from bench.__main__ import main
from bench.fetching import transport

if __name__ == "__main__":
    assets.TABLE = Path(sys.argv[1])
    transport.PAUSE = 0.01
    sys.exit(main(sys.argv[2:]))
