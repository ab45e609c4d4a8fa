"""Read raters' votes: each is held against the private study, and raters who broke its rules are marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.data.lists import csv_records
from bench.errors import UserError
from bench.store import read_json
from bench.studies.user_study.design import Kind
from bench.studies.user_study.make import STUDY, VERSION, study_id

COLUMNS = ("study", "rater", "trial", "left", "right", "choice", "ms")
CHOICES = ("left", "right", "tie")


def read_study(folder: Path) -> dict[str, Any]:
    """Return the private side of a study.

    Raises:
        UserError: there is none, it is of another version, or what raters saw or the rules were changed since.
    """
    if not (folder / STUDY).exists():
        raise UserError(f"{folder} holds no {STUDY}; `python -m bench study make` writes one")
    study: dict[str, Any] = read_json(folder / STUDY)
    if study.get("version") != VERSION:
        raise UserError(f"{folder / STUDY} is of version {study.get('version')}; this program reads version {VERSION}")
    if study_id(study["public"]) != study["id"]:
        raise UserError(f"{folder / STUDY} was changed after the study was made; rules are fixed before the first vote")
    return study


def read_votes(study: Mapping[str, Any], files: Sequence[Path]) -> pd.DataFrame:
    """Return all votes of a study.

    Returns:
        Columns study, rater, trial, kind, dataset, item (its place in the study), left, right (methods), choice, ms,
        expected (the right side of a check), excluded, reason; sorted by rater and trial.

    Raises:
        UserError: a file of another study, an unknown rater or trial, images that were not shown there, a vote that is
            there twice; with file and line.
    """
    votes: dict[tuple[str, int], dict[str, Any]] = {}
    for path in files:
        for line, row in _rows(path):
            where = f"{path}, line {line}"
            vote = _vote(study, row, where)
            earlier = votes.setdefault((vote["rater"], vote["trial"]), vote)
            if earlier is not vote:
                again = f"trial {vote['trial']} of rater {vote['rater']} is in {earlier['where']} already"
                raise UserError(f"{where}: {again}; leave one of the two files out")
    if not votes:
        raise UserError("no votes; give the CSV files that raters sent")
    frame = pd.DataFrame([votes[key] for key in sorted(votes)]).drop(columns="where")
    reasons = {str(rater): reason(part, study) for rater, part in frame.groupby("rater")}
    frame["reason"] = frame["rater"].map(reasons)
    return frame.assign(excluded=frame["reason"] != "")


def _rows(path: Path) -> Any:
    records = csv_records(path)
    _, header = next(records, (1, []))
    if tuple(header) != COLUMNS:
        raise UserError(
            f"{path}, line 1: the columns must be {','.join(COLUMNS)}; found: {','.join(header) or 'nothing'}"
        )
    for line, fields in records:
        if len(fields) != len(COLUMNS):
            raise UserError(f"{path}, line {line}: {len(fields)} fields, but the header has {len(COLUMNS)}")
        yield line, dict(zip(COLUMNS, fields, strict=True))


def _vote(study: Mapping[str, Any], row: Mapping[str, str], where: str) -> dict[str, Any]:
    if row["study"] != study["id"]:
        raise UserError(f"{where}: a vote of study {row['study']!r}; this one is {study['id']!r}")
    if row["rater"] not in study["trials"]:
        raise UserError(f"{where}: unknown rater {row['rater']!r}")
    trials, shown = study["trials"][row["rater"]], study["public"]["trials"][row["rater"]]
    number, ms = _whole(row["trial"]), _whole(row["ms"])
    if number is None or number >= len(trials):
        raise UserError(f"{where}: unknown trial {row['trial']!r}; rater {row['rater']} has 0 to {len(trials) - 1}")
    if [row["left"], row["right"]] != shown[number][1:]:
        raise UserError(f"{where}: other images than those of trial {number} of rater {row['rater']}")
    if row["choice"] not in CHOICES[: 3 if study["public"]["rules"]["tie"] else 2] or ms is None:
        raise UserError(f"{where}: choice {row['choice']!r} after {row['ms']!r} ms is not an answer in this study")
    trial = trials[number]
    return {
        "study": study["id"], "rater": row["rater"], "trial": number, "kind": Kind(trial["kind"]),
        "dataset": study["items"][trial["item"]]["dataset"], "item": trial["item"], "left": trial["left"],
        "right": trial["right"], "choice": row["choice"], "ms": ms, "expected": trial["expected"], "where": where,
    }  # fmt: skip


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def reason(votes: pd.DataFrame, study: Mapping[str, Any]) -> str:
    """Return why a rater's votes are left out, by the rules that were fixed with the study; "" where they count."""
    rules, shown = study["public"]["rules"], len(study["trials"][str(votes["rater"].iloc[0])])
    checks = votes[votes["kind"] == Kind.CHECK]
    failed = int((checks["choice"] != checks["expected"]).sum())
    median = float(np.median(votes["ms"]))
    if failed > rules["failed_checks"]:
        return f"failed {failed} of {len(checks)} checks, {rules['failed_checks']} allowed"
    if median < rules["median_ms"]:
        return f"median time {median:.0f} ms, least {rules['median_ms']}"
    if len(votes) < rules["completed"] * shown:
        return f"answered {len(votes)} of {shown} trials, least {rules['completed']:.0%}"
    return ""
