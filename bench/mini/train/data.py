"""The training set: renders of the mini world, drawn once and kept as memory-mapped arrays in the work folder."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from bench.mini import world
from bench.mini.train.loop import say

SIZE = 128
BLOCK = 200  # identities a unit of work


@dataclass(frozen=True)
class Faces:
    """Renders and their truth; arrays of N images, `scenes` neighbouring ones of each person.

    Attributes:
        images: (N, 128, 128, 3) uint8 RGB.
        labels: (N, 128, 128) uint8, the 19 labels in BiSeNet's order.
        boxes: (N, 4) float32, x0 y0 x1 y1 in pixels.
        keypoints: (N, 5, 2) float32.
        landmarks: (N, 68, 2) float32.
        identity: (N, I) float32, the world's parameters.
        expression: (N, E) float32.
        pose: (N, 3) float32: yaw, pitch, roll in radians.
        scenes: images of each person.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray
    landmarks: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    pose: np.ndarray
    scenes: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def people(self) -> np.ndarray:
        """Return (N,) the number of the person in each image."""
        return np.arange(len(self)) // self.scenes

    def person(self, index: np.ndarray) -> np.ndarray:
        """Return the number of the person in each image."""
        return index // self.scenes


@dataclass(frozen=True)
class Cast:
    """Which people are rendered, and how often.

    Attributes:
        split: of the identity space: "train" or "eval".
        people: number of identities.
        scenes: images of each.
        seed: of identities and scenes.
    """

    split: str
    people: int
    scenes: int
    seed: int

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return f"{self.split}-{self.people}x{self.scenes}-{self.seed}"


TRAIN = Cast("train", 10000, 4, 1)
EVAL = Cast("eval", 250, 8, 2)


def _shapes(count: int) -> dict[str, tuple[tuple[int, ...], str]]:
    square = (count, SIZE, SIZE)
    parameters = {"identity": len(world.IDENTITY), "expression": len(world.EXPRESSION), "pose": 3, "boxes": 4}
    return {
        "images": ((*square, 3), "uint8"),
        "labels": (square, "uint8"),
        "keypoints": ((count, 5, 2), "float32"),
        "landmarks": ((count, 68, 2), "float32"),
        **{name: ((count, width), "float32") for name, width in parameters.items()},
    }


def _arrays(folder: Path, mode: Any) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path, mmap_mode=mode) for path in sorted(folder.glob("*.npy"))}


def _render_block(cast: Cast, folder: Path, block: int) -> int:
    """Render the people of one block into the arrays of `folder`."""
    people = world.sample_identities(cast.seed, cast.people, split=cast.split)[block * BLOCK : (block + 1) * BLOCK]
    arrays = _arrays(folder, "r+")
    for number, person in enumerate(np.array_split(people, max(len(people) // 20, 1))):
        many = np.repeat(person, cast.scenes, axis=0)
        scene = world.sample_scenes(many, cast.seed * 1_000_003 + block * 1_009 + number)
        render = world.render(scene, size=SIZE)
        start = (block * BLOCK + _before(people, number)) * cast.scenes
        _store(arrays, slice(start, start + len(many)), scene, render)
    return block


def _before(people: np.ndarray, number: int) -> int:
    parts = np.array_split(people, max(len(people) // 20, 1))
    return sum(len(part) for part in parts[:number])


def _store(arrays: dict[str, np.ndarray], rows: slice, scene: Any, render: Any) -> None:
    for name in ("images", "labels", "boxes", "keypoints", "landmarks"):
        arrays[name][rows] = getattr(render, name)
    for name in ("identity", "expression", "pose"):
        arrays[name][rows] = getattr(scene, name)


def draw(cast: Cast) -> Faces:
    """Return the renders of `cast`, in memory only."""
    arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in _shapes(cast.people * cast.scenes).items()}
    people = world.sample_identities(cast.seed, cast.people, split=cast.split)
    scene = world.sample_scenes(np.repeat(people, cast.scenes, axis=0), cast.seed)
    _store(arrays, slice(None), scene, world.render(scene, size=SIZE))
    return Faces(**arrays, scenes=cast.scenes)


def faces(cast: Cast, work: Path, workers: int = 2) -> Faces:
    """Return the renders of `cast`; blocks that are missing in `work` are drawn first, by `workers` processes."""
    folder = work / cast.name
    blocks = -(-cast.people // BLOCK)
    missing = [block for block in range(blocks) if not (folder / f"{block}.done").exists()]
    if not (folder / "images.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, (shape, dtype) in _shapes(cast.people * cast.scenes).items():
            open_memmap(folder / f"{name}.npy", "w+", dtype, shape).flush()
    if missing:
        _render(cast, folder, missing, workers)
    return Faces(**_arrays(folder, "r"), scenes=cast.scenes)


def _render(cast: Cast, folder: Path, missing: list[int], workers: int) -> None:
    with ProcessPoolExecutor(workers) as pool:
        for block in pool.map(_render_block, [cast] * len(missing), [folder] * len(missing), missing):
            (folder / f"{block}.done").touch()
            say(f"rendered block {block} of {cast.name}")
