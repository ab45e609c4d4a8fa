"""A run as a bundle that can be given to others (`bench.exchange.schema`)."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.exchange.schema import (
    ITEMS,
    MANIFEST,
    PAGE,
    RECORD,
    REFERENCES_FILE,
    SAMPLES,
    SCHEMA,
    SCORES,
    VERSION,
)
from bench.hashing import sha256_bytes
from bench.version import __version__

WORDS = 4
"""A statement has at least so many: a sentence, not a switch."""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every entry, so that the same run gives the same bytes


def bundle(run: Any, *, thumbnails: bool = False, statement: str = "") -> bytes:
    """A run (`bench.report.frames.Run`) as the bytes of a zip; the same run gives the same bytes.

    Raises:
        UserError: pictures of people are asked for that must not be passed on, without a statement in words.
    """
    from bench.exchange.public import public, public_references
    from bench.report.page.facts import redistributable

    _check_people(run, thumbnails, statement)
    shown = public(run, pictures=thumbnails)
    page, pictures = _page(shown, thumbnails, statement)
    people = {"pictures": thumbnails, "redistributable": redistributable(run), "statement": statement}
    tables = {**_tables(shown, pictures), REFERENCES_FILE: _csv(public_references(run))}
    files = {RECORD: _json(_record(shown)), **tables, PAGE: page}
    return _zip(files | {f"thumbnails/{name}": data for name, data in sorted(pictures.items())}, people)


def _check_people(run: Any, thumbnails: bool, statement: str) -> None:
    from bench.report.page.facts import redistributable

    if statement and not thumbnails:
        raise UserError("--include-people has no effect without --thumbnails: no picture is exported")
    if not thumbnails or redistributable(run):
        return
    if len(statement.split()) < WORDS:
        raise UserError(
            f"dataset {run.record['dataset']} is not declared redistributable: its pictures and samples "
            "are left out of exports. Export without --thumbnails, or say in a sentence why you may show these people: "
            '--include-people "…"'
        )


def _record(run: Any) -> dict[str, Any]:
    return {**run.record, "comparable": run.comparable}


def _tables(run: Any, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    from bench.report.thumbnails import thumbnail_name

    hashes = run.samples["sha256"].fillna("") if "sha256" in run.samples else [""] * len(run.samples)
    names = [thumbnail_name(str(sha)) for sha in hashes]
    samples = run.samples.assign(picture=[name if name in pictures else "" for name in names])
    measured = [column for column in samples.columns if column.endswith("]")]
    return {
        "scores.csv": _csv(run.scores[list(SCORES)]),
        "samples.csv": _csv(samples[[*SAMPLES, *measured]]),
        "items.csv": _csv(run.items[list(ITEMS)]),
    }


def _csv(frame: pd.DataFrame) -> bytes:
    """CSV whose floats are the shortest texts that read back to the same bits."""
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _page(run: Any, thumbnails: bool, statement: str) -> tuple[bytes, dict[str, bytes]]:
    """The page of the public run, and its thumbnails by name."""
    from bench.report.page.facts import state_notices, warning_notices
    from bench.report.page.render import Notice, render
    from bench.report.page.write import run_page
    from bench.report.run import score_table

    left_out = "People are numbered. Pictures are not part of this export; every number of each sample is."
    told = [] if thumbnails else [Notice("Exported.", left_out)]
    told += (
        [Notice("Pictures of people:", f"shown on this statement of who exported them: “{statement}”")]
        if statement
        else []
    )
    told += [*warning_notices(run.warnings), *state_notices({run.label: run})]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) if thumbnails else None
        page = render(run_page(run, score_table(run), told, [], folder))
        pictures = {path.name: path.read_bytes() for path in Path(place).glob("thumbnails/*.jpg")}
    return page, pictures


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _zip(files: Mapping[str, bytes], people: Mapping[str, Any]) -> bytes:
    listed = {name: {"sha256": sha256_bytes(data), "bytes": len(data)} for name, data in files.items()}
    manifest = {
        "schema": SCHEMA,
        "version": VERSION,
        "made_with": f"idbench {__version__}",
        "people": people,
        "files": listed,
    }
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in {MANIFEST: _json(manifest), **files}.items():
            kind = zipfile.ZIP_STORED if name.endswith(".jpg") else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, kind)
    return packed.getvalue()
