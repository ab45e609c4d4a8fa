"""The crops that a recipe trains on, batch by batch, and how a network reads them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.facesets.store import FaceSet
from bench.recognition.augment import augment
from bench.recognition.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor


class Crops:
    """The crops of a face set that a recipe trains on, in batches that depend on the step alone.

    Attributes:
        labels: (n,) class of each crop, 0 to `classes` - 1.
        classes: number of identities with enough crops.
        dropped: number of identities without.
    """

    def __init__(self, faces: FaceSet, recipe: Recipe, seed: int, rank: int = 0, world: int = 1) -> None:
        self._faces, self._recipe, self._seed, self._rank, self._world = faces, recipe, seed, rank, world
        enough = faces.per_identity() >= recipe.min_images
        self._kept = np.flatnonzero(enough[faces.labels])
        self.labels = (np.cumsum(enough) - 1)[faces.labels[self._kept]]
        self.classes, self.dropped = int(enough.sum()), int((~enough).sum())
        self._order = lru_cache(maxsize=2)(self._shuffled)
        if self.steps < 1 or self.classes < 2:
            raise UserError(
                f"{faces.folder} has {len(self._kept)} crops of {self.classes} identities with at least "
                f"{recipe.min_images}: too few for recipe.batch={recipe.batch}"
            )

    @property
    def steps(self) -> int:
        """Steps in an epoch; what is left over is dropped."""
        return len(self._kept) // self._recipe.batch

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, step: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """This process's part of the batch of a step: (b, 112, 112, 3) uint8 RGB, and (b,) classes."""
        epoch, number = divmod(step, self.steps)
        size = self._recipe.batch
        places = self._order(epoch)[number * size : (number + 1) * size][self._rank :: self._world]
        return np.stack([self._changed(epoch, int(place)) for place in places]), self.labels[places]

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._kept))

    def _changed(self, epoch: int, place: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng([self._seed, epoch, place])
        return augment(self._faces.image(int(self._kept[place])), self._recipe.augmentation, rng)


def as_input(images: Tensor, colour: str, device: Any) -> Tensor:
    """Return (b, 3, 112, 112) float32 in [-1, 1] of (b, 112, 112, 3) uint8 RGB, in the order that the network reads.

    They lie in memory with the channels last, in which convolutions are faster.
    """
    import torch

    planes = images.to(device, non_blocking=True).permute(0, 3, 1, 2)
    planes = planes if colour == "rgb" else planes.flip(1)
    return planes.float().div(255).sub(0.5).div(0.5).contiguous(memory_format=torch.channels_last)
