"""The Conditions protocol: what a source of conditions may read, and the table that it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.identity import Spec


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a source may read of a run, before anything is generated.

    Attributes:
        items: a row per item, in the order of the list: item, subject, image and the list's groups.
        references: item -> names (column `image`) of its references, its own photo first.
        samples_per_item: of the protocol: samples of each item under each prompt.
        prompts: prompt_id -> text.
        seed: of the protocol, for what a source draws.
        embeddings: name of a recogniser -> name of a photo -> (d,) float32, raw; photos without a face are left out.
            The photos are extracted when it is called first.
    """

    items: pd.DataFrame
    references: Mapping[str, tuple[str, ...]]
    samples_per_item: int
    prompts: Mapping[str, str]
    seed: int
    embeddings: Callable[[str], Mapping[str, NDArray[np.float32]]]


class Conditions(Protocol):
    """A source of conditions: a plain class; nothing is inherited.

    Attributes:
        Options: frozen spec of its options (`bench.identity.Spec`).
        version: of what it computes; another version is another run. 1 where it is left out.
    """

    Options: ClassVar[type[Spec]]

    def __init__(self, options: Any) -> None:
        """Keep the options; read nothing yet."""

    def table(self, inputs: Inputs) -> pd.DataFrame:
        """Return a row per sample, which depends on the options and the inputs alone.

        Needed is the column `item`. Every item has at least one row; rows may come in any order, but an item's samples
        are numbered in theirs. Optional are

            index       which of the item's samples, 0 to n - 1; names the file; by default they are counted
            prompt_id   of the protocol; by default its only one
            seed_key    takes the item's place in the seed: samples of one key and seed_index share their noise
            seed_index  takes the index's place in the seed
            embedding, references, control, expression, components
                        see `bench.conditions.kinds`; None where a sample has none. A vector is a (d,) array, references
                        are a tuple of names of photos, a control is the path of an image.

        Further columns are kept for whoever reads the table (a share, a name) and change no sample. A column with the
        name of another item ends in `_item`.

        Raises:
            UserError: the options ask for what the run does not have.
        """
