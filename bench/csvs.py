"""CSV for people, who open it in a spreadsheet: no cell of it begins like a formula.

A name such as `=HYPERLINK("http://…")` would run there. Files for machines (Parquet, JSON, lists and bundles, which are
read back) stay exact.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

_MARK = "'"
_FORMULA = re.compile(r"\s*[=+\-@\t\r＝＋－＠]")


def neutral(cell: Any) -> Any:
    r"""Return a cell that a spreadsheet takes for text: one that begins like a formula gets an apostrophe before it.

    Numbers stay, those written as text too. A carriage return, which pandas does not quote, is shown as `\r`.

    >>> [neutral(cell) for cell in ("=1+1", "@SUM(A1)", "anna", "-0.5", -0.5, " +x")]
    ["'=1+1", "'@SUM(A1)", 'anna', '-0.5', -0.5, "' +x"]
    """
    if not isinstance(cell, str) or _is_number(cell):
        return cell
    return f"{_MARK if _FORMULA.match(cell) else ''}{cell}".replace("\r", r"\r")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def csv_for_people(frame: pd.DataFrame) -> bytes:
    r"""Return a data frame as CSV (UTF-8, lines ended by "\n") without formulas; floats read back to the same bits."""
    texts = frame.select_dtypes(exclude=["number", "bool"]).columns
    safe = frame.assign(**{str(name): frame[name].map(neutral) for name in texts})
    return safe.rename(columns=neutral).to_csv(index=False, lineterminator="\n").encode()
