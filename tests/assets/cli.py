"""The verb as a process of its own, on another table: `python -m tests.assets.cli TABLE fetch ...`."""

import sys
from pathlib import Path

from bench import assets
from bench.fetching import transport

if __name__ == "__main__":
    assets.TABLE = Path(sys.argv[1])
    transport.PAUSE = 0.01
    if sys.argv[2] == "fetch":
        from bench.cli.fetch import main
    else:
        from bench.cli.doctor import main
    sys.exit(main(sys.argv[3:]))
