"""Averaging: one embedding of several references of a person (Arc2Face, supplement, Fig. 14)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from bench.conditions.default import Default, DefaultOptions
from bench.conditions.protocol import Inputs
from bench.conditions.vectors import Average, average
from bench.errors import UserError
from bench.identity import IDENTITY, Spec


class AveragingOptions(Spec):
    """What is averaged.

    Attributes:
        recogniser: whose embeddings are averaged.
        count: references of each item that are averaged, the first of them.
        how: "raw": the mean of the embeddings as they are; "unit": of their unit vectors.
    """

    recogniser: Annotated[str, IDENTITY] = "arcface"
    count: Annotated[int, IDENTITY, Field(ge=1)] = 3
    how: Annotated[Average, IDENTITY] = "raw"


class Averaging:
    """The default's samples, made from an average; runs with another `count` have the same noise."""

    Options: ClassVar[type[Spec]] = AveragingOptions

    def __init__(self, options: AveragingOptions) -> None:
        self._options = options

    def table(self, inputs: Inputs) -> pd.DataFrame:
        """Return the samples with the column `averaged`, the number of references that had a face.

        Raises:
            UserError: no item has that many references.
        """
        options = self._options
        most = max(map(len, inputs.references.values()))
        if most < options.count:
            raise UserError(
                f"conditions.count={options.count}, but no item has more than {most} references; "
                f"dataset.references_per_item={options.count} makes photos of the subject further references"
            )
        known = inputs.embeddings(options.recogniser)
        rows = {
            item: [known[image] for image in images[: options.count] if image in known]
            for item, images in inputs.references.items()
        }
        means = {item: average(np.stack(vectors), options.how) if vectors else None for item, vectors in rows.items()}
        table = Default(DefaultOptions()).table(inputs)
        vectors = pd.Series([means[item] for item in table["item"]], dtype=object)
        return table.assign(embedding=vectors, averaged=[len(rows[item]) for item in table["item"]])
