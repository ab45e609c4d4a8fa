"""What a training is: its options, what it reads and where it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from bench.facesets.store import FaceSet
from bench.identity import IDENTITY, RECORDED, Spec, digest, identity
from bench.recognition.pairs import Pairs
from bench.recognition.recipe import Recipe


class TrainOptions(Spec):
    """How a training is run.

    Attributes:
        seed: of the first weights, the order of the images and their changes.
        test_every: epochs between two tests on the given sets; 0: the last epoch alone is tested.
        log_every: steps between two rows of the log.
        save_every: seconds between two checkpoints; one is also written at the end of each epoch.
        loaders: processes that read images ahead; 0: the training reads them itself.
    """

    seed: Annotated[int, IDENTITY, Field(ge=0)] = 0
    test_every: Annotated[int, RECORDED, Field(ge=0)] = 0
    log_every: Annotated[int, RECORDED, Field(ge=1)] = 100
    save_every: Annotated[float, RECORDED, Field(ge=0)] = 120.0
    loaders: Annotated[int, RECORDED, Field(ge=0)] = 0


@dataclass(frozen=True, eq=False)
class Job:
    """A training.

    Attributes:
        folder: where to.
        faces: folder of the face set.
        recipe: how.
        options: see `TrainOptions`.
        pairs: sets to test on; they decide nothing, but for a recipe whose schedule is a plateau.
        device: "cpu" or "cuda".
        threads: of this process.
    """

    folder: Path
    faces: Path
    recipe: Recipe
    options: TrainOptions
    pairs: Sequence[Pairs] = ()
    device: str = "cpu"
    threads: int = 1


def job_id(recipe: Recipe, options: TrainOptions, faces: FaceSet) -> str:
    """Return the identity of a training: recipe, seed and the crops of the set."""
    return digest({"recipe": identity(recipe), "options": identity(options), "faces": faces.record["content"]})
