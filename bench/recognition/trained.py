"""A trained recogniser on the disk: its weights, its record, its log, and the extractor that reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.errors import UserError
from bench.extractors.backbones import TITLES, build
from bench.facesets.store import FaceSet
from bench.recognition.recipe import Recipe
from bench.store import read_json, write_json, write_table

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "recogniser.safetensors"
RECORD = "recogniser.json"
TEST_BATCH = 64


def write(folder: Path, network: nn.Module, rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> None:
    """Write a recogniser whose training has ended; its record comes last and vouches for the rest.

    Args:
        folder: where to.
        network: the backbone.
        rows: of the log.
        record: what it is.
    """
    from bench.recognition.figures import write_log

    _save(network, folder / WEIGHTS)
    log = pd.DataFrame(rows)
    write_table(folder / "log.parquet", log)
    write_log(log, folder / "log")
    write_json(folder / RECORD, record)


def _save(network: nn.Module, path: Path) -> None:
    from safetensors.torch import save_file

    unfinished = path.with_name(f".tmp-{path.name}")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}, unfinished)
    os.replace(unfinished, path)


def trained_on(faces: FaceSet) -> str:
    """Return what a recogniser of this set was trained on, in the words of `trained_on`: the set, and what made it."""
    record = faces.record
    made_by = f" by {record['method']}" if record.get("method") else ""
    sets = ", ".join(record.get("card", {}).get("training_sets", ()))
    name = record.get("name", faces.folder.name)
    return f"{name}: {len(faces)} images of {faces.identities} identities{made_by}" + (
        f" (from {sets})" if sets else ""
    )


def layout(recipe: Recipe) -> dict[str, str]:
    """Return what a record says of the network: the extractor that reads it, and how it is built."""
    return {
        "name": "adaface",
        "network": recipe.network,
        "layout": TITLES[recipe.network],
        "colour": recipe.colour,
    }


def untrained(recipe: Recipe, seed: int, folder: Path) -> Path:
    """Write the recipe's network with its first values, as the floor of a table, and return the folder."""
    import torch

    from bench.recognition.network import initialise

    torch.manual_seed(seed)
    network = build(recipe.network)
    initialise(network)
    folder.mkdir(parents=True, exist_ok=True)
    _save(network, folder / WEIGHTS)
    nothing = {"trained_on": "nothing", "images": 0, "identities": 0, "epochs": 0}
    write_json(folder / RECORD, layout(recipe) | nothing)
    return folder


def extractor(folder: Path, device: str = "cpu") -> Any:
    """Return a trained recogniser as an extractor of the panel.

    Raises:
        UserError: there is none in `folder`.
    """
    from bench.extractors.adaface import AdaFace
    from bench.runtime import Runtime

    if not (folder / RECORD).is_file():
        raise UserError(f"no {RECORD} in {folder}: no recogniser, or its training has not ended; run it again")
    record = read_json(folder / RECORD)
    options = AdaFace.Options(
        weights=folder / WEIGHTS,
        network=record["network"],
        colour=record["colour"],
        trained_on=record["trained_on"],
        batch=TEST_BATCH,
    )
    return AdaFace(options, Runtime(device))
