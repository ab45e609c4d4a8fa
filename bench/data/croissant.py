"""Croissant 1.0 with its responsible-AI fields: what a list, or the truth of the embedded world, is, for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.hashing import sha256_bytes
from bench.version import __version__

CROISSANT = "http://mlcommons.org/croissant/1.0"
RAI = "http://mlcommons.org/croissant/RAI/1.0"
CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo", "column": "cr:column", "extract": "cr:extract",
    "field": "cr:field", "fileObject": "cr:fileObject", "recordSet": "cr:recordSet", "source": "cr:source",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
}  # fmt: skip
"""The terms of the formats that a description uses; a program reads the short names by it."""
REAL = {
    "rai:personalSensitiveInformation": (
        "The list names photographs of real people. Faces are biometric data. It holds names, sizes and hashes of "
        "files and the groups that the dataset itself states; no image and no embedding."
    ),
    "rai:dataUseCases": (
        "Measuring identity-conditioned face generators under a fixed protocol. Not for identifying, watching or "
        "profiling people, and not for training a recogniser."
    ),
    "rai:dataLimitations": (
        "The photographs are not part of it and come from their owner, on the owner's terms. A hash says whether a "
        "copy is the same file; it says nothing about the people's consent."
    ),
    "rai:dataBiases": "Who is in it, and how many of whom, follows the dataset that the list chooses from.",
}
SYNTHETIC = {
    "rai:personalSensitiveInformation": "None: every face is rendered from parameters, and no photograph went into it.",
    "rai:dataUseCases": "Testing the code and the metrics of a benchmark, because the truth about every face is known.",
    "rai:dataLimitations": "The faces are drawings: numbers on them say nothing about photographs of people.",
    "rai:dataBiases": "A program draws the parameters at random; no group of people is modelled or labelled.",
    "rai:dataCollection": "Rendered by the project's own program from a fixed seed.",
}


@dataclass(frozen=True)
class About:
    """What a CSV file does not say of itself.

    Attributes:
        name: of the dataset.
        description: in a sentence or two.
        licence: its name or address.
        url: where it is described; "" for nowhere.
        is_synthetic: whether no real person is in it.
    """

    name: str
    description: str
    licence: str
    url: str = ""
    is_synthetic: bool = False


def describe(path: Path, about: About) -> bytes:
    """Return the Croissant description of a CSV file: its hash, its columns and their types, and how it may be used.

    Args:
        path: of the file; the description names it relative to itself.
        about: what the file does not say.

    Raises:
        UserError: the file is not a table, or something about it is empty.
    """
    empty = [field for field in ("name", "description", "licence") if not getattr(about, field).strip()]
    if empty:
        raise UserError(f"--{empty[0]} is empty; say it in words, because a description without it is not accepted")
    try:
        data = path.read_bytes()
        frame = pd.read_csv(path, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a CSV file that can be read: {error}") from error
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [CROISSANT, RAI],
        "name": about.name,
        "description": about.description,
        "license": about.licence,
        "version": __version__,
        **({"url": about.url} if about.url else {}),
        **(SYNTHETIC if about.is_synthetic else REAL),
        "distribution": [
            {
                "@type": "cr:FileObject", "@id": "table", "name": path.name, "contentUrl": path.name,
                "encodingFormat": "text/csv", "sha256": sha256_bytes(data),
            }
        ],
        "recordSet": [
            {"@type": "cr:RecordSet", "@id": "photos", "name": "photos", "field": [_field(frame[c]) for c in frame]}
        ],
    }  # fmt: skip
    return (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()


def _field(column: pd.Series) -> dict[str, Any]:
    """Return the description of a column."""
    kinds = {"i": "sc:Integer", "f": "sc:Float"}
    return {
        "@type": "cr:Field",
        "@id": f"photos/{column.name}",
        "name": str(column.name),
        "dataType": kinds.get(column.dtype.kind, "sc:Text"),
        "source": {"fileObject": {"@id": "table"}, "extract": {"column": str(column.name)}},
    }
