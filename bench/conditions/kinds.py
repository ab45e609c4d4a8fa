"""The kinds of conditions: the columns by which rows of the table of samples may differ, and what a method gets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class ConditionKind(StrEnum):
    """What a sample may be made from; the value is the name of the table's column.

    Attributes:
        EMBEDDING: a vector of a recogniser, (d,) float32, instead of the references' embeddings.
        REFERENCES: names of photos of the dataset, instead of the item's references.
        CONTROL: an image that the sample follows, for example rendered normals.
        EXPRESSION: a vector of expression parameters, (d,) float32.
        COMPONENTS: a number of principal components, from 1.
    """

    EMBEDDING = "embedding"
    REFERENCES = "references"
    CONTROL = "control"
    EXPRESSION = "expression"
    COMPONENTS = "components"

    @property
    def is_vector(self) -> bool:
        """Whether a cell is a vector, kept as a row of a file next to the table."""
        return self in (ConditionKind.EMBEDDING, ConditionKind.EXPRESSION)


@dataclass(frozen=True, eq=False)
class Condition:
    """What one sample is made from in addition to its references; None where its row says nothing.

    Attributes:
        embedding: (d,) float32, as the source gave it; it takes the place of what the references' embeddings give.
        references: names of the photos that are the request's references instead of the item's.
        control: (H, W, 3) uint8 RGB, an image that the sample follows.
        control_path: its file, for a method that runs in another process.
        expression: (d,) float32 expression parameters.
        components: number of principal components, from 1.
    """

    embedding: NDArray[np.float32] | None = None
    references: tuple[str, ...] | None = None
    control: NDArray[np.uint8] | None = None
    control_path: Path | None = None
    expression: NDArray[np.float32] | None = None
    components: int | None = None


NOTHING = Condition()
"""The condition of a sample that is made from its references alone."""
