"""Recognisers that can be tested: those of the evaluator's panel, and those that were trained here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import registry
from bench.errors import UserError
from bench.extractors.protocol import distance_of
from bench.recognition import trained
from bench.runtime import Runtime
from bench.spec import RunSpec


@dataclass(frozen=True, eq=False)
class Reader:
    """A recogniser that is ready to read crops.

    Attributes:
        name: of the evaluator's, or of the folder.
        network: see `bench.facesets.check.Reads`.
        batch: its declared batch.
        trained_on: what it says of its training set.
    """

    name: str
    network: Any
    batch: int
    trained_on: str


def reader(spec: RunSpec, name: str) -> Reader:
    """Return a recogniser: the folder of a trained one, or one of the evaluator's by its name.

    Raises:
        UserError: neither is there, or it reads another view than aligned crops, or its embeddings are not compared by
            their cosine.
    """
    if (Path(name) / trained.WEIGHTS).is_file():
        network = trained.extractor(Path(name), spec.execution.device)
        return Reader(Path(name).name, network, network.options.batch, network.options.trained_on)
    known = spec.evaluator.recognisers
    if name not in known:
        raise UserError(
            f"no recogniser {name!r}: neither the folder of a trained one, nor one of evaluator {spec.evaluator.name}, "
            f"which has: {', '.join(known)}"
        )
    options: Any = known[name].options
    if options.view != "arcface112":
        raise UserError(f"recogniser {name} reads {options.view}; verification sets hold arcface112 crops")
    kind = registry.get("extractors", known[name].name)
    if distance_of(kind) != "cosine":
        raise UserError(f"recogniser {name} compares embeddings by their {distance_of(kind)} distance, not the cosine")
    network = kind(options, Runtime(spec.execution.device, spec.execution.threads))
    return Reader(name, network, int(options.batch), str(getattr(options, "trained_on", "")))
