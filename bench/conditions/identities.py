"""The vectors of sampled people: an embedding of its own for each sample (Arc2Face, section 4.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd

from bench.conditions.protocol import Inputs
from bench.errors import UserError
from bench.identities.people import Identities, person_name
from bench.identity import CONTENT, IDENTITY, Spec


class IdentitiesOptions(Spec):
    """Whose vectors.

    Attributes:
        people: folder of the people (`python -m bench identities sample`).
        recogniser: whose vectors they have, which the method reads.
    """

    people: Annotated[Path, CONTENT]
    recogniser: Annotated[str, IDENTITY] = "arcface"


class OfIdentities:
    """Sample k of a person is made from the vector of the person's image k, under every prompt."""

    Options: ClassVar[type[Spec]] = IdentitiesOptions

    def __init__(self, options: IdentitiesOptions) -> None:
        self._options = options

    def table(self, inputs: Inputs) -> pd.DataFrame:
        """Return a row per sample with its unit vector.

        Raises:
            UserError: the folder has no people, or those of another recogniser; or an item is none of them.
        """
        options = self._options
        people = Identities(options.people)
        if people.record.get("recogniser") != options.recogniser:
            raise UserError(
                f"conditions.people={options.people} has vectors of recogniser {people.record.get('recogniser')}, "
                f"not of conditions.recogniser={options.recogniser}"
            )
        numbers = {person_name(number): number for number in range(len(people))}
        foreign = [item for item in inputs.items["item"] if item not in numbers]
        if foreign:
            raise UserError(
                f"conditions.people={options.people} has no person {foreign[0]!r}; give dataset=identities and "
                "dataset.root the same folder"
            )
        rows = []
        for item in inputs.items["item"]:
            vectors = people.vectors(numbers[item], range(inputs.samples_per_item)).astype(np.float32)
            rows += [
                {"item": item, "embedding": vector, "prompt_id": prompt, "seed_index": number}
                for prompt in inputs.prompts
                for number, vector in enumerate(vectors)
            ]
        return pd.DataFrame(rows)
