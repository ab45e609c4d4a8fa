"""What a sample's face was asked to do: expression, head, jaw and eyelids, for metrics that hold images against it.

A table of conditions may have the columns `asked_expression` (50 FLAME coefficients), `asked_head` and `asked_jaw`
(rotation vectors of 3 numbers, radians) and `asked_eyelids` (2 numbers), each a list of numbers or its JSON text. They
change no sample. Without them a sample whose condition is an `expression` of 55 numbers was asked for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.conditions.cells import ConditionFiles, is_given
from bench.conditions.kinds import ConditionKind
from bench.errors import UserError

ASKED = "asked"
"""Column of an evaluation's samples: (58,) float64 each, NaN for what was not asked."""
PLACES = {
    "asked_expression": slice(0, 50),
    "asked_head": slice(50, 53),
    "asked_jaw": slice(53, 56),
    "asked_eyelids": slice(56, 58),
}
"""Column of the table -> where its numbers are: as in the feature of a FLAME extractor, then the eyelids."""
LENGTH = 58
_OF_CONDITION = {"asked_expression": slice(0, 50), "asked_eyelids": slice(50, 52), "asked_jaw": slice(52, 55)}
"""Where an expression of 55 numbers holds them."""


def with_asked(samples: pd.DataFrame, table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the samples with the column `ASKED`; as they are where nothing was asked.

    Args:
        samples: with the columns item and index.
        table: the run's table of samples.
        folder: of the run.

    Raises:
        UserError: a cell does not hold as many numbers as its column wants.
    """
    if not {*PLACES, ConditionKind.EXPRESSION} & {*table}:
        return samples
    files = ConditionFiles(folder)
    rows = table.to_dict("records")
    vectors = {(row["item"], row["index"]): asked({str(k): v for k, v in row.items()}, files) for row in rows}
    keys = zip(samples["item"], samples["index"], strict=True)
    return samples.assign(**{ASKED: pd.Series([vectors[key] for key in keys], dtype=object, index=samples.index)})


def asked(row: Mapping[str, Any], files: ConditionFiles) -> NDArray[np.float64]:
    """Return the (58,) numbers that one row of the table asks for.

    Raises:
        UserError: see `with_asked`.
    """
    found = np.full(LENGTH, np.nan)
    condition = files.condition(row).expression if is_given(row.get(ConditionKind.EXPRESSION)) else None
    if condition is not None and len(condition) == 55:
        for name, part in _OF_CONDITION.items():
            found[PLACES[name]] = condition[part]
    for name, place in PLACES.items():
        if name in row and is_given(row[name]):
            found[place] = _numbers(row[name], name, place.stop - place.start, row)
    return found


def _numbers(cell: Any, name: str, length: int, row: Mapping[str, Any]) -> NDArray[np.float64]:
    where = f"the {name} of sample {row['index']} of item {row['item']!r}"
    try:
        numbers = np.asarray(json.loads(cell) if isinstance(cell, str) else cell, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} is not a list of numbers: {error}") from error
    if numbers.shape != (length,) or not np.isfinite(numbers).all():
        raise UserError(f"{where} must be {length} finite numbers")
    return numbers
