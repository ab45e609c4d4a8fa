"""How a recogniser is trained: everything that a recipe decides, and the learning rate at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.extractors.backbones import Backbone
from bench.identity import IDENTITY, RECORDED, Spec

if TYPE_CHECKING:
    from torch import nn

Chance = Annotated[float, Field(ge=0, le=1), IDENTITY]
Positive = Annotated[float, Field(gt=0), IDENTITY]


class Head(Spec):
    """The margin head.

    Attributes:
        name: which one.
        margin: radians for ArcFace, cosine for CosFace, both for AdaFace.
        scale: of the cosines.
        slope: how far AdaFace's margin follows the length of an embedding; the others don't read it.
        momentum: share of a batch in AdaFace's statistics; the others don't read it.
    """

    name: Annotated[Literal["adaface", "arcface", "cosface"], IDENTITY]
    margin: Annotated[float, Field(ge=0), IDENTITY]
    scale: Positive = 64.0
    slope: Annotated[float, Field(ge=0), IDENTITY] = 0.333
    momentum: Annotated[float, Field(gt=0, le=1), IDENTITY] = 0.01

    def build(self, width: int, classes: int) -> nn.Module:
        """Return a new head for embeddings of `width` numbers."""
        from bench.recognition import heads

        if self.name == "adaface":
            return heads.AdaFaceHead(width, classes, self.margin, self.slope, self.scale, self.momentum)
        kind = heads.ArcFaceHead if self.name == "arcface" else heads.CosFaceHead
        return kind(width, classes, self.margin, self.scale)


class Augmentation(Spec):
    """How often a crop is changed before it is shown: see `bench.recognition.augment`.

    Attributes:
        flip: mirrored.
        crop: all but a rectangle of 20 to 100 % of the area becomes black.
        low_resolution: shrunk to 20 to 100 % of its side and back.
        photometric: brightness, contrast and saturation times 0.5 to 1.5.
        erase: a rectangle of 2 to 33 % of the area becomes black.
        operations: number of operations of RandAugment.
        magnitude: of RandAugment's operations.
    """

    flip: Chance = 0.5
    crop: Chance = 0.0
    low_resolution: Chance = 0.0
    photometric: Chance = 0.0
    erase: Chance = 0.0
    operations: Annotated[int, Field(ge=0), IDENTITY] = 0
    magnitude: Annotated[int, Field(ge=0, le=30), IDENTITY] = 9


class Schedule(Spec):
    """The learning rate over time, as a share of the recipe's.

    Attributes:
        kind: `steps`: times `factor` from each of `milestones` on. `polynomial`: (1 - share done) to the power `power`.
            `plateau`: times `factor` where the mean accuracy on the test sets has not risen for more than `patience`
            epochs, and an end after `stop_after` such epochs; it looks at the test sets, and the report says so.
        milestones: epochs, from 0.
        factor: see `kind`.
        power: see `kind`.
        patience: see `kind`.
        stop_after: see `kind`.
        warm_up: epochs over which the rate rises from 0.
    """

    kind: Annotated[Literal["steps", "polynomial", "plateau"], IDENTITY] = "steps"
    milestones: Annotated[tuple[int, ...], IDENTITY] = ()
    factor: Annotated[float, Field(gt=0, le=1), IDENTITY] = 0.1
    power: Positive = 1.0
    patience: Annotated[int, Field(ge=0), IDENTITY] = 4
    stop_after: Annotated[int, Field(ge=1), IDENTITY] = 6
    warm_up: Annotated[float, Field(ge=0), IDENTITY] = 0.0


class Recipe(Spec):
    """A training recipe.

    Attributes:
        name: of the recipe.
        network: the backbone.
        colour: order of the channels that it reads.
        head: the margin head.
        batch: images in a step, over all processes together.
        epochs: passes over the set; the last batch of each is dropped where it is not full.
        rate: learning rate of SGD.
        momentum: of SGD.
        decay: weight decay, on everything but batch norms.
        clip: largest norm of the gradient; None: it is not clipped.
        schedule: of the learning rate.
        augmentation: of the crops.
        precision: of the backbone; the head computes in fp32.
        min_images: identities with fewer crops are left out of the training.
        source: where the recipe comes from.
    """

    name: Annotated[str, RECORDED]
    network: Annotated[Backbone, IDENTITY] = "ir_se_50"
    colour: Annotated[Literal["bgr", "rgb"], IDENTITY] = "bgr"
    head: Annotated[Head, IDENTITY]
    batch: Annotated[int, Field(ge=2), IDENTITY] = 512
    epochs: Annotated[int, Field(ge=1), IDENTITY] = 26
    rate: Positive = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1), IDENTITY] = 0.9
    decay: Annotated[float, Field(ge=0), IDENTITY] = 5e-4
    clip: Annotated[float | None, Field(gt=0), IDENTITY] = None
    schedule: Annotated[Schedule, IDENTITY] = Schedule()
    augmentation: Annotated[Augmentation, IDENTITY] = Augmentation()
    precision: Annotated[Literal["fp32", "fp16", "bf16"], IDENTITY] = "fp32"
    min_images: Annotated[int, Field(ge=1), IDENTITY] = 2
    source: Annotated[str, RECORDED] = ""

    @model_validator(mode="after")
    def _ordered(self) -> Recipe:
        if list(self.schedule.milestones) != sorted(set(self.schedule.milestones)):
            raise UserError(
                f"recipe.schedule.milestones={list(self.schedule.milestones)}: give them in ascending order"
            )
        return self


def rate_at(recipe: Recipe, epoch: float, accuracies: Sequence[float] = ()) -> float:
    """Return the learning rate.

    Args:
        recipe: the recipe.
        epoch: passes done, with their fraction: step / steps in an epoch.
        accuracies: mean accuracy on the test sets after each finished epoch; only a plateau reads it.

    >>> recipe = Recipe(name="", head=Head(name="adaface", margin=0.4), schedule=Schedule(milestones=(12, 20)))
    >>> [round(rate_at(recipe, epoch), 6) for epoch in (0, 11.99, 12, 20)]
    [0.1, 0.1, 0.01, 0.001]
    """
    schedule = recipe.schedule
    rise = min(epoch / schedule.warm_up, 1.0) if schedule.warm_up else 1.0
    if schedule.kind == "polynomial":
        done = max(epoch - schedule.warm_up, 0.0) / max(recipe.epochs - schedule.warm_up, 1e-9)
        return recipe.rate * rise * (1 - done) ** schedule.power
    if schedule.kind == "plateau":
        return recipe.rate * rise * schedule.factor ** _falls(schedule, accuracies)
    return recipe.rate * rise * schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)


def _falls(schedule: Schedule, accuracies: Sequence[float]) -> int:
    """How often a plateau has lowered the rate, by torch's rule: more than `patience` epochs without a new best."""
    best, waited, falls = -1.0, 0, 0
    for accuracy in accuracies:
        waited = 0 if accuracy > best * (1 + 1e-4) else waited + 1
        best = max(best, accuracy)
        if waited > schedule.patience:
            falls, waited = falls + 1, 0
    return falls


def ends_early(schedule: Schedule, accuracies: Sequence[float]) -> bool:
    """Return whether a plateau ends the training: no new best in the last `stop_after` epochs."""
    if schedule.kind != "plateau" or len(accuracies) <= schedule.stop_after:
        return False
    return max(accuracies[-schedule.stop_after :]) <= max(accuracies[: -schedule.stop_after])


def parse(raw: Any) -> Recipe:
    """Return a recipe from plain mappings, as YAML holds it.

    Raises:
        UserError: an unknown key or a wrong value.
    """
    from bench.spec import validated

    return validated(Recipe, raw, "recipe")
