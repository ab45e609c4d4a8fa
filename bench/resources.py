"""Where the root folders that a run needs lie: next to the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """Return the folder `conf`, `data_lists`, `reports/published` or `reports/golden`.

    Raises:
        FileNotFoundError: the installation lacks it (a broken wheel).
    """
    for base in (PACKAGE, PACKAGE.parent):
        if (base / name).is_dir():
            return base / name
    raise FileNotFoundError(f"this installation of idbench lacks its folder {name!r}")
