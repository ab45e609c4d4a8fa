"""From the sums of a kernel distance to its score without pairs of the same subject."""

from __future__ import annotations

from typing import Any

from bench.metrics.functional.mmd import Terms
from bench.metrics.protocol import Number, Score
from bench.metrics.shared.scores import absent, notes, plain
from bench.statistics import few


def excluded_score(
    number: Number, sums: Terms, note: str, counts: dict[str, Any], scale: float = 1.0, drawn: bool = False
) -> Score:
    """Return the distance without pairs of the same subject, its interval from leaving out one subject at a time."""
    value = plain(sums.excluded())
    result = sums.jackknife()
    if value is None:
        return absent(number, notes("needs 2 subjects among samples and among references", note), drawn=drawn, **counts)
    if result is None:
        return Score(number, scale * value, drawn=drawn, note=notes(note, "no interval: too few subjects"), **counts)
    note = notes(note, few(result.n_groups))
    return Score(number, scale * value, scale * result.low, scale * result.high, drawn=drawn, note=note, **counts)
