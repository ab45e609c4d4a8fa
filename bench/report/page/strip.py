"""The strip of samples at the top of a run's page: the best, the median, the worst and some failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.report.frames import Run, headline, similarity_of
from bench.report.page.samples import WORDS
from bench.status import SampleStatus

EACH = 2
"""Samples of a kind."""


@dataclass(frozen=True)
class Shot:
    """A sample next to its reference.

    Attributes:
        item: its name.
        reference: file name of the reference's thumbnail; None where there is none.
        image: of the sample's; None where there is none.
        caption: its similarity, or why it has none.
        failed: whether it failed.
    """

    item: str
    reference: str | None
    image: str | None
    caption: str
    failed: bool


def chosen(run: Run) -> dict[str, list[int]]:
    """Return the samples that the strip shows by kind, as places in `Run.samples`; no sample is shown twice.

    They are ordered by similarity under the headline judge, or the first recogniser where there is none.
    """
    recogniser = headline([run]) or next(iter(run.recognisers), None)
    values = similarity_of(run, recogniser).to_numpy(float) if recogniser else np.full(len(run.samples), np.nan)
    order = [int(at) for at in np.argsort(-values, kind="stable") if np.isfinite(values[at])]
    best, rest = order[:EACH], order[EACH:]
    worst, rest = rest[::-1][:EACH], rest[:-EACH]
    middle = max((len(rest) - EACH) // 2, 0)
    failed = np.flatnonzero([SampleStatus(status).is_failure for status in run.samples["status"]])
    found = {"best": best, "median": rest[middle : middle + EACH], "worst": worst}
    return {**{kind: places for kind, places in found.items() if places}, **_failures(failed)}


def _failures(failed: Sequence[Any] | np.ndarray[Any, Any]) -> dict[str, list[int]]:
    return {f"failures ({len(failed)})": [int(at) for at in failed[:EACH]]} if len(failed) else {}


def items(run: Run, places: Mapping[str, Sequence[int]]) -> list[str]:
    """Return the items of the chosen samples."""
    names = run.samples["item"].to_numpy()
    return list(dict.fromkeys(str(names[at]) for part in places.values() for at in part))


def strip(run: Run, places: Mapping[str, Sequence[int]], data: Mapping[str, Any]) -> list[tuple[str, list[Shot]]]:
    """Return the shots by kind.

    Args:
        run: whose samples.
        places: what `chosen` gives.
        data: of the page's samples (`bench.report.page.samples`), with the items of these among them.
    """
    shown = {item["name"]: item for item in data["items"]}
    at = np.cumsum(run.samples["item"].isin(list(shown)).to_numpy()) - 1
    return [(kind, [_shot(run, place, int(at[place]), data) for place in part]) for kind, part in places.items()]


def _shot(run: Run, place: int, at: int, data: Mapping[str, Any]) -> Shot:
    item = data["items"][data["samples"]["item"][at]]
    status = SampleStatus(run.samples["status"].iloc[place])
    recogniser = headline([run]) or next(iter(run.recognisers), None)
    value = float("nan") if recogniser is None else similarity_of(run, recogniser).iloc[place]
    caption = f"{value:.3f}" if np.isfinite(value) else WORDS[status]
    return Shot(item["name"], item["reference"], data["samples"]["image"][at], caption, status.is_failure)
