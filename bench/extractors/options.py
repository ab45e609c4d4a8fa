"""Options that networks have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bench.identity import IDENTITY, RECORDED, Spec, WeightFile


class AlignedOptions(Spec):
    """Options of a network that reads aligned crops of 112 pixels.

    Attributes:
        weights: the file, as its authors publish it.
        view: the crop it reads.
        trained_on: its training set, a name in `bench/relations.yaml` where that has it.
        batch: crops at a time.
    """

    weights: WeightFile
    view: Annotated[str, IDENTITY] = "arcface112"
    trained_on: Annotated[str, RECORDED] = ""
    batch: Annotated[int, Field(gt=0), RECORDED] = 16
