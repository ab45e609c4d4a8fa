"""Where the images of a run's samples lie, as the rows of its tables say: the one place that readers ask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.store import ANEW

PLACE = ["path"]
"""Columns that say where the image of a sample lies."""


def image_of(folder: Path, row: Mapping[Any, Any] | pd.Series) -> Path | None:
    """Return the image of a sample; None where it has none.

    Args:
        folder: of the run.
        row: of a table of its samples; one without the column has no image.

    Raises:
        UserError: it would lie outside of the folder.
    """
    path = row.get("path")
    # Where tables are joined, a row of one without the column has NaN there.
    return below(folder, path) if isinstance(path, str) and path else None


def below(folder: Path, path: str) -> Path:
    """Return a path that a table of the folder names.

    Raises:
        UserError: it leads out of the folder.
    """
    place = PurePosixPath(path)
    if place.is_absolute() or ".." in place.parts:
        raise UserError(f"a table in {folder} names {path}, which lies outside of that folder; {ANEW}")
    return folder / place
