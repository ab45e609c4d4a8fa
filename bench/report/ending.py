"""What the command line says when a run has ended: numbers, failures by their reasons, where the report is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.console import table
from bench.metrics.protocol import Number
from bench.report.frames import Run, headline, load_run, of_number
from bench.report.numbers import label, tiles
from bench.status import SampleStatus

WARN_FROM = 0.05
"""Share of failed samples above which a run warns."""
SHOWN_REASONS = 5


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        text: for stdout.
        warning: what is wrong with the samples; "" where nothing is.
        is_empty: whether not one sample could be measured.
    """

    text: str
    warning: str
    is_empty: bool


def of_run(folder: Path) -> Ending:
    """Return the ending of a scored run."""
    run = load_run(folder)
    page = folder / "report" / "index.html"
    lines = [table(_numbers(run)), *_failures(run.samples), *([f"report: {page}"] if page.exists() else [])]
    return _ending(lines, run.samples, run.label)


def of_samples(samples: pd.DataFrame, name: str) -> Ending:
    """Return the ending of the generate stage alone, from its table of samples."""
    made = int((samples["status"] == SampleStatus.OK).sum())
    return _ending([f"{made} of {len(samples)} samples made", *_failures(samples)], samples, name)


def numbers_on_top(folder: Path) -> dict[str, float]:
    """Return the numbers on top of a run's page by what a reader calls them."""
    run = load_run(folder)
    return {_name(number): float(of_number(run.scores, number)["value"].iloc[0]) for number in _shown(run)}


def _shown(run: Run) -> list[Number]:
    """Return the numbers on top of the run's page, the headline judge's first."""
    return tiles(run.scores, headline([run]))


def _name(number: Number) -> str:
    return label(number) + (f" [{number.variant}]" if number.variant else "")


def _numbers(run: Run) -> list[dict[str, Any]]:
    numbers = [(number, of_number(run.scores, number).iloc[0]) for number in _shown(run)]
    return [
        {
            "number": _name(number),
            "value": _value(score),
            "n": int(score["n"]),
            "failed": int(score["n_failed"]),
            "unavailable": int(score["n_unavailable"]),
        }
        for number, score in numbers
    ]


def _value(score: Mapping[Any, Any] | pd.Series) -> str:
    interval = "" if pd.isna(score["low"]) else f" [{score['low']:.3f}, {score['high']:.3f}]"
    return f"{score['value']:.3f}{interval}"


def _failures(samples: pd.DataFrame) -> list[str]:
    """Return a line per status and reason of samples that have no face to show, the most frequent first."""
    lost = samples[samples["status"] != SampleStatus.OK]
    counts = lost.groupby(["status", "reason"], sort=True).size().sort_values(ascending=False, kind="stable")
    kinds = zip(counts.index.tolist(), counts.tolist(), strict=True)
    lines = [f"{number} of {len(samples)}: {status}: {_line(reason)}" for (status, reason), number in kinds]
    more = [f"and {len(lines) - SHOWN_REASONS} more reasons: report/failures.csv"] if len(lines) > SHOWN_REASONS else []
    return [*lines[:SHOWN_REASONS], *more]


def _line(reason: Any) -> str:
    text = " ".join(str(reason).split())
    return text if len(text) <= 200 else f"{text[:199]}…"


def _ending(lines: list[str], samples: pd.DataFrame, name: str) -> Ending:
    statuses = [SampleStatus(status) for status in samples["status"]]
    tried = sum(status.is_trial for status in statuses)
    failed = sum(status.is_failure for status in statuses)
    warning = ""
    if failed == tried:
        warning = f"{name}: nothing was measured: {_lost(statuses)}"
    elif failed > WARN_FROM * tried:
        warning = f"{name}: {failed} of {tried} samples ({failed / tried:.0%}) failed; numbers of the others hide it"
    return Ending("\n".join(lines), warning, failed == tried)


def _lost(statuses: list[SampleStatus]) -> str:
    """Return in words why not one sample could be measured.

    >>> _lost([SampleStatus.NO_FACE, SampleStatus.UNAVAILABLE])
    '1 sample failed, 1 is unavailable'
    """
    failed = sum(status.is_failure for status in statuses)
    lost = statuses.count(SampleStatus.REFERENCE_FAILED)
    absent = statuses.count(SampleStatus.UNAVAILABLE)
    found = [
        (failed, f"{failed} {'sample' if failed == 1 else 'samples'} failed"),
        (lost, f"the references of {lost} cannot be used"),
        (absent, f"{absent} {'is' if absent == 1 else 'are'} unavailable"),
    ]
    return ", ".join(text for count, text in found if count)
