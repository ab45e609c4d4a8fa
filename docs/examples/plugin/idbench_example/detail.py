"""Source of conditions `detail`: samples of each item with few and with many principal components."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
from pydantic import Field

from bench.conditions.protocol import Inputs
from bench.identity import IDENTITY, Spec


class DetailOptions(Spec):
    """Options of the source.

    Attributes:
        counts: numbers of components; each gives an item the protocol's number of samples.
    """

    counts: Annotated[tuple[Annotated[int, Field(ge=1)], ...], IDENTITY, Field(min_length=1)] = (8, 32)


class Detail:
    """Sample k of each number of components has the same noise, so that they differ by the components alone."""

    Options = DetailOptions

    def __init__(self, options: DetailOptions) -> None:
        self._counts = options.counts

    def table(self, inputs: Inputs) -> pd.DataFrame:
        """Return a row per sample: the item, the number of components, and what numbers its noise."""
        rows = [
            (item, prompt, count, number)
            for item in inputs.items["item"]
            for prompt in inputs.prompts
            for count in self._counts
            for number in range(inputs.samples_per_item)
        ]
        return pd.DataFrame(rows, columns=["item", "prompt_id", "components", "seed_index"])
