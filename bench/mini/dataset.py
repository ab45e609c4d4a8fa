"""The mini dataset: people of the embedded world whom no training saw, references and targets, and the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bench.errors import UserError
from bench.images import write_png
from bench.mini.world import (
    BACKGROUND,
    EXPRESSION,
    IDENTITY,
    POSE,
    Render,
    Scene,
    render,
    sample_identities,
    sample_scenes,
)
from bench.mini.world.parameters import Bytes

SEED = 20240
"""Of the identities and of every scene."""
REFERENCE_FRONTAL, TARGET_FRONTAL = 0.8, 0.3
KEYPOINTS = ("left_eye", "right_eye", "nose_tip", "left_mouth", "right_mouth")
TRUTH = "truth.csv"  # written last: where it is, the dataset is whole
SOFTWARE = "idbench mini world"
COMMENT = "AI-generated: a synthetic face, rendered from parameters; this person does not exist"


@dataclass(frozen=True, eq=False)
class Picture:
    """One image of a subject.

    Attributes:
        name: its path in the dataset's folder, "s000/reference.png".
        subject: "s000".
        role: "reference" or "target".
        image: (size, size, 3) uint8 RGB.
        labels: (size, size) uint8, CelebAMask-HQ order.
        truth: every parameter and place under the name of its column in `truth.csv`.
    """

    name: str
    subject: str
    role: str
    image: Bytes
    labels: Bytes
    truth: dict[str, float]


def _truth(scene: Scene, result: Render, k: int) -> dict[str, float]:
    """Return the parameters and places of row k, one number per name."""
    groups = [
        ([f"identity_{name}" for name in IDENTITY], scene.identity[k]),
        ([f"expression_{name}" for name in EXPRESSION], scene.expression[k]),
        (list(POSE), scene.pose[k]),
        ([f"box_{name}" for name in ("x1", "y1", "x2", "y2")], result.boxes[k]),
        ([f"{point}_{axis}" for point in KEYPOINTS for axis in "xy"], result.keypoints[k].ravel()),
        ([f"landmark_{j}_{axis}" for j in range(68) for axis in "xy"], result.landmarks[k].ravel()),
    ]
    return {name: float(value) for names, values in groups for name, value in zip(names, values, strict=True)}


def before_a_wall(scene: Scene) -> Scene:
    """Return the same heads before a wall of one colour, as in a studio; the clothes stay.

    Arc2Face-mini learned from such images. Against references full of blobs and stripes its FID would measure walls.
    """
    columns = {name: scene.background[:, k].copy() for k, name in enumerate(BACKGROUND)}
    for name in ("blob1_radius", "blob2_radius", "blob3_radius", "noise", "stripes"):
        columns[name][:] = 0
    for colour in ("red", "green", "blue"):
        columns[f"second_{colour}"] = columns[f"first_{colour}"]
    return replace(scene, background=np.stack([columns[name] for name in BACKGROUND], 1))


def pictures(subjects: int = 16, targets: int = 3, size: int = 256) -> Iterator[Picture]:
    """Yield the dataset's images, subject by subject, the reference first.

    References are near the front and near neutral, targets vary; light, camera and wall differ in each. The
    images of subject k don't depend on how many subjects there are.

    Raises:
        UserError: fewer than one subject, or fewer than no targets.
    """
    if subjects < 1 or targets < 0:
        raise UserError(f"{subjects} subjects with {targets} targets: at least 1 and 0 are needed")
    for k, identity in enumerate(sample_identities(SEED, subjects, "eval")):
        seed = SEED + 2 * k
        front = sample_scenes(identity[None], seed, frontal=REFERENCE_FRONTAL)
        other = sample_scenes(np.repeat(identity[None], targets, 0), seed + 1, frontal=TARGET_FRONTAL)
        for role, scene in (("reference", front), ("target", other)):
            result = render(before_a_wall(scene), size)
            for j in range(len(scene)):
                file = "reference.png" if role == "reference" else f"target_{j + 1}.png"
                subject = f"s{k:03d}"
                truth = _truth(scene, result, j)
                yield Picture(f"{subject}/{file}", subject, role, result.images[j], result.labels[j], truth)


def row(picture: Picture) -> dict[str, str | float]:
    """Return the image's row of `truth.csv`."""
    return {"image": picture.name, "subject": picture.subject, "role": picture.role, **picture.truth}


def make(out: Path, subjects: int = 16, targets: int = 3, size: int = 256) -> None:
    """Write `out/<subject>/{reference,target_1,...}.png` and `out/truth.csv`; the same bytes at every call.

    Raises:
        UserError: the numbers are not possible, or `out` can't be written.
    """
    rows = []
    try:
        for picture in pictures(subjects, targets, size):
            write_png(picture.image, out / picture.name, {"Software": SOFTWARE, "Comment": COMMENT})
            rows.append(row(picture))
        pd.DataFrame(rows).to_csv(out / TRUTH, index=False, float_format="%.6f", lineterminator="\n")
    except OSError as error:
        raise UserError(f"the mini dataset can't be written to {out}: {error.strerror}") from error
