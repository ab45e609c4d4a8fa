"""The samples of one or several runs as the page's script reads them: columns of plain JSON, one entry per sample."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.images import Source
from bench.metrics import declared
from bench.report.frames import SIMILARITY, Run, sample_column, similarity_of
from bench.report.thumbnails import FOLDER, thumbnail_name, write_thumbnails
from bench.sample_files import PLACE, image_of
from bench.status import SampleStatus

LIMIT = 5_000
"""Samples on one page; above it those of the worst items are shown, of every run the same items."""
WORDS = {
    SampleStatus.OK: "face found",
    SampleStatus.GENERATION_ERROR: "not generated",
    SampleStatus.UNDECODABLE: "not a readable image",
    SampleStatus.NO_FACE: "no face found",
    SampleStatus.UNAVAILABLE: "nothing to show",
    SampleStatus.REFERENCE_FAILED: "no face in the reference",
}
"""What a reader calls a status."""


def samples(runs: Mapping[str, Run], folder: Path | None, keep: Collection[str] = ()) -> dict[str, Any]:
    """Return what the script of the page is given.

    Args:
        runs: label -> run.
        folder: of the page; thumbnails are written below it. None: no images.
        keep: items that are never left out.

    Returns:
        note: what is left out.
        images: whether there are any.
        runs: labels.
        items: name, subject and reference (a thumbnail's file name or None) of each.
        statuses: those that occur, as `status_of` gives them; samples point at them.
        reasons: texts that samples point at.
        samples: run, item, index, status, reason (numbers), image, seed, a list each.
        columns: title, variant and values of each per-sample number, and whether it is a similarity.
    """
    items, note = shown(runs, keep=keep)
    frame = concat(runs, items)
    photos = _references(runs, items)
    there = _thumbnails(runs, frame, photos, folder) if folder else set()
    people = dict(zip(frame["item"], frame["subject"], strict=True))
    reasons = sorted(set(_texts(frame, "reason")) | {""})
    occurring = set(frame["status"])
    statuses = [status for status in SampleStatus if status in occurring]
    return {
        "note": note,
        "images": folder is not None,
        "runs": list(runs),
        "items": [
            {"name": item, "subject": people[item], "reference": _if_there(thumbnail_name(sha256), there)}
            for item, sha256 in photos[["item", "sha256"]].itertuples(index=False)
        ],
        "statuses": [status_of(status) for status in statuses],
        "reasons": reasons,
        "samples": {
            "run": _places(frame["run"], list(runs)),
            "item": _places(frame["item"], items),
            "status": _places(frame["status"], [str(status) for status in statuses]),
            "reason": _places(_texts(frame, "reason"), reasons),
            "image": [_if_there(thumbnail_name(sha256), there) for sha256 in _texts(frame, "sha256")],
            **_numbering(frame),
        },
        "columns": _columns(runs, frame),
    }


def _numbering(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Return which of its item's samples each one is, and its seed ("" where it is not known)."""
    seeds = [str(seed) for seed in frame["seed"]] if "seed" in frame else [""] * len(frame)
    return {"index": [int(i) for i in frame["index"]], "seed": seeds}


def status_of(status: SampleStatus) -> dict[str, Any]:
    """Return what the script of the page knows of a status.

    >>> status_of(SampleStatus.NO_FACE)
    {'name': 'no_face', 'words': 'no face found', 'good': False, 'failure': True, 'trial': True}
    """
    return {
        "name": str(status),
        "words": WORDS[status],
        "good": status is SampleStatus.OK,
        "failure": status.is_failure,
        "trial": status.is_trial,
    }


def shown(runs: Mapping[str, Run], limit: int = LIMIT, keep: Collection[str] = ()) -> tuple[list[str], str]:
    """Return the items that fit on a page, in the list's order, and what the reader must know where they are not all.

    Where there are too many samples, the items with the lowest mean similarity (a failure counts as 0) are taken, and
    those to keep.
    """
    means = pd.concat([_worth(run) for run in runs.values()]).groupby(level=0, sort=False).agg(["mean", "sum", "size"])
    if int(means["size"].sum()) <= limit:
        return list(means.index), ""
    worst = means.sort_values("mean", kind="stable")
    kept = set(worst.index[: max(1, int((worst["size"].cumsum() <= limit).sum()))])
    note = f"The {len(kept)} items with the lowest mean similarity of {len(means)} are shown; the tables count all."
    return [item for item in means.index if item in kept or item in keep], note


def _worth(run: Run) -> pd.Series:
    """Return the similarity of each sample under the first recogniser, failures as 0, by item."""
    known = run.recognisers
    values = similarity_of(run, known[0]) if known else pd.Series(0.0, index=run.samples.index)
    return pd.Series(values.fillna(0.0).to_numpy(), index=run.samples["item"])


def concat(runs: Mapping[str, Run], items: list[str]) -> pd.DataFrame:
    """Return the samples of some items of all runs, one below the other, with the run's label in column `run`."""
    kept = set(items)
    frames = [run.samples[run.samples["item"].isin(kept)].assign(run=label) for label, run in runs.items()]
    return pd.concat(frames, ignore_index=True)


def _references(runs: Mapping[str, Run], items: list[str]) -> pd.DataFrame:
    """Return a row per item: item, path and sha256 of its reference ("" where unknown)."""
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


def _thumbnails(runs: Mapping[str, Run], frame: pd.DataFrame, photos: pd.DataFrame, folder: Path) -> set[str]:
    wanted: dict[str, Source] = {
        thumbnail_name(sha): Path(path) for path, sha in photos[["path", "sha256"]].itertuples(index=False) if path
    }
    for row in frame.reindex(columns=["run", *PLACE]).assign(sha256=_texts(frame, "sha256")).to_dict("records"):
        image = image_of(runs[row["run"]].folder, row)
        if image is not None:
            wanted[thumbnail_name(row["sha256"])] = image
    wanted.pop("", None)
    return write_thumbnails(wanted, folder / FOLDER, [run.folder / "report" / FOLDER for run in runs.values()])


def _columns(runs: Mapping[str, Run], frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return every number that samples have, in the order of the scores; similarity also where no sample has one."""
    scores = pd.concat([run.scores[["metric", "variant"]] for run in runs.values()]).drop_duplicates()
    return [
        {
            "title": declared.title(metric),
            "variant": variant,
            "similarity": metric == SIMILARITY,
            "values": [_number(value) for value in frame[sample_column(metric, variant)]],
        }
        for metric, variant in scores.itertuples(index=False, name=None)
        if (name := sample_column(metric, variant)) in frame
        if metric == SIMILARITY or frame[name].notna().any()
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
