"""What a bundle is: its files, its manifest and its record, version 2.

A bundle is a zip file or a folder of

    manifest.json    schema, version, sha256 and size of every other file, what it says about pictures of people
    run.json         method, dataset, protocol, specification, identities, environment, the run's own warnings: no path,
                     no command, no name
    scores.csv       a row per number (`bench.metrics.protocol.Score` with version, unit, direction, relation)
    samples.csv      a row per sample: item, subject, index, prompt_id, status, n_faces, picture, its status under each
                     network ("status[arcface]") and its numbers ("id_similarity[arcface]")
    references.csv   a row per item: subject, status, and for each network whether the reference has a feature
                     ("usable[arcface]") and how many of the subject's targets have one ("targets[arcface]")
    items.csv        a row per item and number, and per left-out group of a jackknife
    index.html       the report's page, made from these tables
    thumbnails/      where it was asked for and may be

Tables are UTF-8 CSV whose numbers read back to the very same bits; an empty cell is a missing value. Items and subjects
are numbered in the order of the dataset's list, so the same number is the same person in all bundles of one list.

Version 1 had no references.csv and no statuses by network, and wrote level, subset and group into `statistic`. Such a
bundle is read, but its numbers cannot be computed again: they are shown as claimed.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.metrics.protocol import NUMBER
from bench.names import PathName

SCHEMA = "idbench-bundle"
VERSION = 2
MANIFEST = "manifest.json"
RECORD = "run.json"
TABLES = ("scores.csv", "samples.csv", "items.csv")
REFERENCES_FILE = "references.csv"
PAGE = "index.html"
REQUIRED = (RECORD, *TABLES)
NAMES = re.compile(r"run\.json|(?:scores|samples|items|references)\.csv|index\.html|thumbnails/[0-9a-f]{20}\.jpg")
"""Every name that may be in a bundle next to the manifest."""
MAX_FILES = 20_000
MAX_JSON_BYTES = 2**20
MAX_JSON_DEPTH = 20
MAX_FILE_BYTES = 2**27
MAX_BYTES = 2**29
"""Of all files together, unpacked."""
MAX_CELLS = 2**25
"""Of a table; the full AgeDB run of the paper has fewer than a million."""
MAX_NUMBER = 1e100
"""Up to this size sums of squares stay finite."""

SCORE_TEXTS = (*NUMBER, "note", "unit", "relation")
SCORE_NUMBERS = ("value", "low", "high")
SCORE_COUNTS = ("n", "n_failed", "n_unavailable", "version")
SCORE_COUNTS_OR_NONE = ("n_items", "n_pairs")
SCORE_TRUTHS = ("drawn", "higher_is_better")
SCORES = (
    *NUMBER, "value", "low", "high", "n", "n_failed", "n_unavailable", "n_items", "n_pairs", "drawn", "note", "version",
    "unit", "higher_is_better", "relation",
)  # fmt: skip
SAMPLES = ("item", "subject", "index", "prompt_id", "status", "n_faces", "picture")
ITEMS = ("item", "subject", *NUMBER, "value")
REFERENCES = ("item", "subject", "status")
NAMES_V1 = ("metric", "variant", "statistic")
"""What named a number in version 1."""
STATUS = "status"
"""`status[<network>]` is the column of a sample's status under a network; no metric may have this name."""
USABLE = "usable"
TARGETS = "targets"
PER_SAMPLE = re.compile(r"(?P<metric>[a-z_0-9]+)\[(?P<variant>[^\[\]\n]{1,80})\]")
"""Name of a column that belongs to a network: a number per sample, or a status."""

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_Sha256 = Field(pattern="^[0-9a-f]{64}$")
_Sentence = Annotated[str, Field(max_length=1000)]


class File(BaseModel):
    """One file of a bundle."""

    model_config = _STRICT
    sha256: str = _Sha256
    bytes: int = Field(ge=0, le=MAX_FILE_BYTES)


class People(BaseModel):
    """Whether people can be seen: pictures are included only of a redistributable dataset or on the user's word."""

    model_config = _STRICT
    pictures: bool
    redistributable: bool
    statement: str = Field(max_length=1000)


class Manifest(BaseModel):
    """`manifest.json`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)
    schema_name: Literal["idbench-bundle"] = Field(alias="schema")
    version: Literal[1, 2]
    made_with: str = Field(max_length=100)
    people: People
    files: dict[str, File]


class Dataset(BaseModel):
    """Which photos: the list's label and the sha256 of its content."""

    model_config = _STRICT
    label: str = Field(max_length=200)
    content: str = _Sha256


_OPEN = ConfigDict(extra="allow", strict=True, frozen=True)


class Protocol(BaseModel):
    """The protocol; what is not read here is only compared and shown."""

    model_config = _OPEN
    name: str = Field(max_length=200)
    seed: int = Field(ge=0, lt=2**63)
    samples_per_item: int = Field(ge=1, le=10_000)
    prompts: dict[str, str] = Field(default_factory=dict, max_length=1000)

    @property
    def per_item(self) -> int:
        """Return the number of samples that an item has where no source of conditions says otherwise."""
        return self.samples_per_item * max(1, len(self.prompts))


class Conditions(BaseModel):
    """What the samples were made from, where a source of conditions says it.

    Attributes:
        name: of the source.
        content: sha256 of its table.
        samples: rows of the table.
    """

    model_config = _STRICT
    name: str = Field(max_length=200)
    content: str = _Sha256
    samples: int = Field(ge=1)


class Method(BaseModel):
    """The method as specified."""

    model_config = _OPEN
    name: PathName


class Evaluator(BaseModel):
    """The evaluator as specified."""

    model_config = _OPEN
    name: PathName
    recognisers: dict[PathName, Any]


class Spec(BaseModel):
    """The specification of a run without places."""

    model_config = _OPEN
    method: Method
    protocol: Protocol
    evaluator: Evaluator


class Comparable(BaseModel):
    """What must agree between two runs that are compared (`scores/scores.json` of a run)."""

    model_config = _STRICT
    run: str = _Sha256
    dataset: Dataset
    protocol: Protocol
    evaluator: PathName
    detector: str = _Sha256
    extractors: dict[str, str]
    metrics: dict[str, int]
    conditions: Conditions | None = None


class Record(BaseModel):
    """`run.json` of a bundle; `warnings` are what the run itself warned of (older bundles do not say)."""

    model_config = _STRICT
    id: str = _Sha256
    method: PathName
    dataset: str = Field(max_length=200)
    content: str = _Sha256
    items: int = Field(ge=1)
    spec: Spec
    weights: dict[str, Any]
    environment: dict[str, Any]
    warnings: list[_Sentence] = Field(default_factory=list, max_length=100)
    comparable: Comparable
