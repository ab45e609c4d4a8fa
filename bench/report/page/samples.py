"""The samples of one or several runs as the page's script reads them: columns of plain JSON, one entry per sample."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.report.frames import Run
from bench.report.page.thumbnails import FOLDER, thumbnail_name, write_thumbnails

LIMIT = 5_000
"""Samples on one page; above it those of the worst items are shown, of every run the same items."""
STATUSES = ("ok", "generation_error", "undecodable", "no_face", "unavailable", "reference_failed")
_NUMBER = re.compile(r"(?P<metric>[a-z_0-9]+)\[(?P<variant>.*)\]", re.DOTALL)


def samples(runs: Mapping[str, Run], folder: Path | None) -> dict[str, Any]:
    """What the script of the page is given.

    Args:
        runs: label -> run.
        folder: of the page; thumbnails are written below it. None: no pictures.

    Returns:
        runs: labels. items: name, subject and reference (a thumbnail's file name or None). statuses, reasons: texts
        that samples point at. samples: run, item, index, status, reason (numbers), picture, seed, a list each.
        columns: metric, variant and the per-sample values. pictures: whether there are any. note: what is left out.
    """
    items, note = shown(runs)
    frame = together(runs, items)
    photos = _references(runs, items)
    there = _pictures(runs, frame, photos, folder) if folder else set()
    people = dict(zip(frame["item"], frame["subject"], strict=True))
    reasons = sorted(set(_texts(frame, "reason")) | {""})
    statuses = [s for s in (*STATUSES, *sorted(set(frame["status"]) - {*STATUSES})) if s in set(frame["status"])]
    return {
        "note": note,
        "pictures": folder is not None,
        "runs": list(runs),
        "items": [
            {"name": item, "subject": people[item], "reference": _if_there(thumbnail_name(sha256), there)}
            for item, sha256 in photos[["item", "sha256"]].itertuples(index=False)
        ],
        "statuses": statuses,
        "reasons": reasons,
        "samples": {
            "run": _places(frame["run"], list(runs)),
            "item": _places(frame["item"], items),
            "index": [int(i) for i in frame["index"]],
            "status": _places(frame["status"], statuses),
            "reason": _places(_texts(frame, "reason"), reasons),
            "picture": [_if_there(thumbnail_name(sha256), there) for sha256 in _texts(frame, "sha256")],
            "seed": [str(seed) for seed in frame["seed"]] if "seed" in frame else [""] * len(frame),
        },
        "columns": _columns(frame),
    }


def shown(runs: Mapping[str, Run], limit: int = LIMIT) -> tuple[list[str], str]:
    """The items that fit on a page, in the list's order, and what the reader must know where they are not all.

    Where there are too many samples, the items with the lowest mean similarity (a failure counts as 0) are taken.
    """
    means = pd.concat([_worth(run) for run in runs.values()]).groupby(level=0, sort=False).agg(["mean", "sum", "size"])
    if int(means["size"].sum()) <= limit:
        return list(means.index), ""
    worst = means.sort_values("mean", kind="stable")
    kept = set(worst.index[: max(1, int((worst["size"].cumsum() <= limit).sum()))])
    note = f"The {len(kept)} items with the lowest mean similarity of {len(means)} are shown; the tables count all."
    return [item for item in means.index if item in kept], note


def _worth(run: Run) -> pd.Series:
    """By item: the similarity of each sample under the first recogniser, failures as 0."""
    column = f"id_similarity[{run.recognisers[0]}]" if run.recognisers else ""
    values = run.samples[column] if column in run.samples else pd.Series(0.0, index=run.samples.index)
    return pd.Series(values.fillna(0.0).to_numpy(), index=run.samples["item"])


def together(runs: Mapping[str, Run], items: list[str]) -> pd.DataFrame:
    """The samples of all runs below one another, those of `items` alone, with the run's label in column `run`."""
    kept = set(items)
    frames = [run.samples[run.samples["item"].isin(kept)].assign(run=label) for label, run in runs.items()]
    return pd.concat(frames, ignore_index=True)


def _references(runs: Mapping[str, Run], items: list[str]) -> pd.DataFrame:
    """A row per item: item, path and sha256 of its reference ("" where unknown)."""
    columns = ["item", "path", "sha256"]
    photos = pd.concat([run.photos for run in runs.values()])
    photos = photos[photos["role"] == "reference"].drop_duplicates("item").set_index("item", drop=False)
    return (
        photos.reindex(items)
        .assign(item=items)
        .reindex(columns=columns)
        .astype(object)
        .fillna("")
        .reset_index(drop=True)
    )


def _pictures(runs: Mapping[str, Run], frame: pd.DataFrame, photos: pd.DataFrame, folder: Path) -> set[str]:
    wanted = {
        thumbnail_name(sha): Path(path) for path, sha in photos[["path", "sha256"]].itertuples(index=False) if path
    }
    for label, path, sha in zip(frame["run"], _texts(frame, "path"), _texts(frame, "sha256"), strict=True):
        if path:
            wanted[thumbnail_name(sha)] = runs[label].folder / path
    wanted.pop("", None)
    return write_thumbnails(wanted, folder / FOLDER, [run.folder / "report" / FOLDER for run in runs.values()])


def _columns(frame: pd.DataFrame) -> list[dict[str, Any]]:
    found = [(column, match) for column in frame.columns if (match := _NUMBER.fullmatch(str(column)))]
    return [
        {"metric": m["metric"], "variant": m["variant"], "values": [_number(value) for value in frame[column]]}
        for column, m in found
        if frame[column].notna().any() or m["metric"] == "id_similarity"
    ]


def _number(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def _texts(frame: pd.DataFrame, column: str) -> list[str]:
    return frame[column].fillna("").astype(str).tolist() if column in frame else [""] * len(frame)


def _places(values: Any, known: list[str]) -> list[int]:
    place = {value: at for at, value in enumerate(known)}
    return [place[value] for value in values]


def _if_there(name: str, there: set[str]) -> str | None:
    return name if name in there else None
