"""The verb `bank`: embeddings that nearest neighbours are searched in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.cli.settings import Settings, parser, read_settings, split_words
from bench.console import show
from bench.errors import UserError, unknown

if TYPE_CHECKING:
    from bench.studies.bank import Bank

USAGE = """add, list and check banks of embeddings, the sets that nearest neighbours are searched in

  python -m bench bank add NAME dataset=folder dataset.root=DIR [recogniser=arcface] [KEY=VALUE ...]
  python -m bench bank add NAME vectors=FILE.npy names=FILE.csv recogniser=TEXT
  python -m bench bank ls
  python -m bench bank check NAME

With dataset=, all other KEY=VALUE are overrides as `run` takes them: the evaluator's recogniser embeds every photo of
the dataset.

A bank holds vectors of one recogniser and opaque keys. It is biometric data: it stays on this machine, and nothing
exports it."""


RECOGNISER = "arcface"
"""Whose embeddings a bank of a dataset holds where nobody says it; the paper's is the one that the method follows."""


class BankSettings(Settings):
    """What `bank` can be told."""

    vectors: Path | None = Field(None, description="(n, d) embeddings as a NumPy file, a row per image")
    names: Path | None = Field(None, description="CSV with columns image, subject: a row per vector, each image once")
    recogniser: str = Field(
        "",
        description="what made the vectors; with dataset=, a recogniser of the evaluator (arcface where not given)",
    )
    banks: Path = Field(Path("banks"), description="folder of all banks")


def main(argv: Sequence[str]) -> int:
    """Run one `bank` command; 1 where `check` finds damage."""
    options = parser("bank", USAGE, BankSettings).parse_args(argv)
    places, words = split_words(options.words)
    command, *names = places or [""]
    if command not in COMMANDS:
        raise unknown("command of bank", command, COMMANDS)
    if command == "add" and any(word.startswith("dataset=") for word in words):
        return _add_dataset(names, words)
    return int(COMMANDS[command](names, read_settings(BankSettings, words, "bank")))


def _name(names: Sequence[str]) -> str:
    if len(names) != 1 or not names[0] or "/" in names[0] or names[0].startswith("."):
        raise UserError(f"give one name of a bank, without a slash; given: {' '.join(names) or 'none'}")
    return names[0]


def _add(names: Sequence[str], settings: BankSettings) -> int:
    folder = settings.banks / _name(names)
    if settings.vectors is None or settings.names is None:
        raise UserError("bank add needs dataset=NAME, or vectors=FILE.npy and names=FILE.csv")
    return _fill(folder, settings.recogniser, *_given(settings.vectors, settings.names))


def _add_dataset(names: Sequence[str], words: Sequence[str]) -> int:
    """Embed the photos of a dataset, where that is not done yet, and add them."""
    from bench.cli.configured import composed
    from bench.spec import feature_id, resolve
    from bench.stages.run import dataset_embeddings, on_device

    own = [word for word in words if word.partition("=")[0] in BankSettings.model_fields]
    settings = read_settings(BankSettings, own, "bank")
    if settings.vectors or settings.names:
        raise UserError("bank add takes dataset=, or vectors= and names=, not both")
    folder = settings.banks / _name(names)
    spec = on_device(resolve(composed("config", [word for word in words if word not in own])))
    recogniser = settings.recogniser or RECOGNISER
    job, vectors = dataset_embeddings(spec, recogniser)
    return _fill(folder, feature_id(spec, recogniser), vectors, list(job.photos["image"]), list(job.photos["subject"]))


def _fill(folder: Path, recogniser: str, vectors: Any, images: Sequence[str], subjects: Sequence[str]) -> int:
    from bench.studies.bank import add, create, open_bank

    if (folder / "bank.json").exists():
        bank = open_bank(folder)
        if recogniser not in ("", bank.recogniser):
            raise UserError(f"{folder} holds vectors of {bank.recogniser}, not of {recogniser}")
    elif recogniser:
        bank = create(folder, recogniser, vectors.shape[1])
    else:
        raise UserError("a new bank needs recogniser=TEXT: what made the vectors")
    before = bank.rows
    bank = add(bank, vectors, images, subjects)
    show(f"{folder}: {bank.rows - before} of {len(images)} added, {bank.rows} in all")
    return 0


def _given(vectors: Path, names: Path) -> tuple[Any, list[str], list[str]]:
    """Vectors, image names and subjects from files.

    Raises:
        UserError: a file cannot be read, or the two do not fit.
    """
    import numpy as np

    from bench.data.lists import csv_records

    try:
        matrix = np.load(vectors, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {vectors}: {error}; it must be a NumPy file (.npy) of numbers") from error
    rows = [row for _, row in csv_records(names)]
    if not rows or rows[0] != ["image", "subject"]:
        raise UserError(
            f"{names}, line 1: the columns must be image,subject; found: {','.join(rows[0]) if rows else ''}"
        )
    if getattr(matrix, "ndim", 0) != 2 or len(matrix) != len(rows) - 1:
        shape = getattr(matrix, "shape", "several arrays")
        raise UserError(f"{vectors} holds {shape}, {names} {len(rows) - 1} rows; needed: a row of {vectors} for each")
    return matrix, [row[0] for row in rows[1:]], [row[-1] for row in rows[1:]]


def _ls(names: Sequence[str], settings: BankSettings) -> int:
    from bench.studies.bank import open_bank

    banks = [open_bank(path.parent) for path in sorted(settings.banks.glob("*/bank.json"))]
    show("\n".join(map(_line, banks)) or f"no bank in {settings.banks}")
    return 0


def _line(bank: Bank) -> str:
    return f"{bank.folder.name}: {bank.rows} vectors of {bank.dimension} numbers by {bank.recogniser}"


def _check(names: Sequence[str], settings: BankSettings) -> int:
    from bench.studies.bank import damaged, open_bank

    bank = open_bank(settings.banks / _name(names))
    wrong = damaged(bank)
    show(json.dumps({"bank": bank.folder.name, "vectors": bank.rows, "damaged": wrong}))
    return 1 if wrong else 0


COMMANDS = {"add": _add, "ls": _ls, "check": _check}
