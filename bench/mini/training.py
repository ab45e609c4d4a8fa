"""What a small model's folder says about its training; the recipe writes it and experiments read it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import UserError

FILE = "training.json"


class Training(BaseModel):
    """How a model was trained.

    Attributes:
        people: how many it learned from.
        images: of them.
        projection: what reads the embedding: the text encoder ("clip"), or an MLP.
        steps: of the optimiser.
        batch: images in a step.
        seed: of the first weights and of every batch.
        device: "cpu" or "cuda".
        threads: on a CPU.
        seconds: on the clock, of the process that ended the training.
        cpu_seconds: of the processor, likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    people: int
    images: int
    projection: Literal["clip", "mlp"]
    steps: int
    batch: int
    seed: int
    device: str
    threads: int
    seconds: int
    cpu_seconds: int


def read(model: Path) -> Training:
    """Return how the model in a folder was trained.

    Raises:
        UserError: its folder does not say it.
    """
    path = model / FILE
    try:
        return Training.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(
            f"{path} cannot be read; `python -m bench.mini.train.ablation` writes it next to the model"
        ) from error


def write(model: Path, training: Training) -> None:
    """Write how the model in a folder was trained."""
    (model / FILE).write_text(training.model_dump_json(indent=2) + "\n", encoding="utf-8")
