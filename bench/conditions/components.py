"""Components: embeddings rebuilt from their first principal components (Arc2Face, Fig. 8d)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from bench.conditions.protocol import Inputs
from bench.errors import UserError
from bench.identities import fitting
from bench.identities.pca import Pca, reconstruct
from bench.identity import CONTENT, IDENTITY, Inside, Spec
from bench.metrics.functional.cosine import Floats, unit

Kept = Annotated[int, Field(ge=1)]


class ComponentsOptions(Spec):
    """Which components are kept.

    Attributes:
        recogniser: whose embeddings are rebuilt.
        fit: folder of a fit on embeddings of this recogniser (`python -m bench identities fit`).
        kept: numbers of components; every sample of an item is made once with each.
    """

    recogniser: Annotated[str, IDENTITY] = "arcface"
    fit: Annotated[Path, CONTENT, Inside((fitting.FILE, fitting.RECORD))]
    kept: Annotated[tuple[Kept, ...], Field(min_length=1), IDENTITY] = (16, 32, 64, 128, 256, 512)


class Components:
    """The default's samples with each number of components; sample k has the same noise with all of them."""

    Options: ClassVar[type[Spec]] = ComponentsOptions

    def __init__(self, options: ComponentsOptions) -> None:
        self._options = options

    def table(self, inputs: Inputs) -> pd.DataFrame:
        """Return the samples with the column `kept`; the embeddings are unit vectors.

        An item without a face has no embedding; its samples fail with their reference.

        Raises:
            UserError: the fit is of another recogniser or damaged, or has fewer components than `kept` asks for.
        """
        options = self._options
        pca, _, record = fitting.load(options.fit)
        if record["recogniser"] != options.recogniser:
            raise UserError(
                f"conditions.fit={options.fit} is of recogniser {record['recogniser']}, "
                f"not of conditions.recogniser={options.recogniser}"
            )
        known = inputs.embeddings(options.recogniser)
        is_unit = record["options"]["length"] == "unit"
        images = dict(zip(inputs.items["item"], inputs.items["image"], strict=True))
        vectors = {
            (item, kept): rebuilt(pca, known[image], kept, is_unit=is_unit) if image in known else None
            for item, image in images.items()
            for kept in options.kept
        }
        rows = [
            {"item": item, "kept": kept, "embedding": vector, "prompt_id": prompt, "seed_index": number}
            for (item, kept), vector in vectors.items()
            for prompt in inputs.prompts
            for number in range(inputs.samples_per_item)
        ]
        return pd.DataFrame(rows)


def rebuilt(pca: Pca, embedding: NDArray[np.float32], kept: int, *, is_unit: bool) -> Floats:
    """Return the (d,) unit vector of an embedding's first `kept` components and the mean.

    Args:
        pca: the fit.
        embedding: (d,) raw.
        kept: number of components.
        is_unit: whether the fit was made on vectors of length 1.
    """
    row = np.asarray(embedding, np.float64)[None]
    return np.asarray(unit(reconstruct(pca, unit(row) if is_unit else row, kept))[0])
