"""The default: every sample is made from its item's references alone."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from bench.conditions.protocol import Inputs
from bench.identity import Spec


class DefaultOptions(Spec):
    """The default has no options."""


class Default:
    """The protocol's number of samples of each item, under each prompt."""

    Options: ClassVar[type[Spec]] = DefaultOptions

    def __init__(self, options: DefaultOptions) -> None:
        pass

    def table(self, inputs: Inputs) -> pd.DataFrame:
        """Return the samples; those of a prompt have the seeds that they have without the other prompts."""
        rows = [
            (item, prompt, number)
            for item in inputs.items["item"]
            for prompt in inputs.prompts
            for number in range(inputs.samples_per_item)
        ]
        return pd.DataFrame(rows, columns=["item", "prompt_id", "seed_index"])
