"""Sampled people: a distinct vector each, and the vectors of their images, worked out when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.hashing import sha256_path
from bench.identities import fitting
from bench.identities.sampling import Rule, distinct, draw
from bench.identities.within import Within, vary
from bench.identity import IDENTITY, Spec
from bench.metrics.functional.cosine import Floats
from bench.store import read_json, write_atomic, write_json

RECORD = "identities.json"
Count = Annotated[int, Field(ge=1)]


class SampleOptions(Spec):
    """Which people are drawn.

    Attributes:
        groups: (identities, images of each), one after the other in one space of labels: the paper's sets are
            ((10000, 50),) and ((20000, 50), (40000, 5)).
        candidates: vectors that are drawn, of which the distinct ones are kept; None: three for each identity.
        components: principal components that vary; all where it is None.
        threshold: cosine above which two people are the same.
        rule: see `bench.identities.sampling.Rule`.
        within: how the images of one person vary.
        seed: of the people and of their images.
    """

    groups: Annotated[tuple[tuple[Count, Count], ...], IDENTITY, Field(min_length=1)] = ((10_000, 50),)
    candidates: Annotated[int | None, IDENTITY, Field(ge=1)] = None
    components: Annotated[int | None, IDENTITY, Field(ge=1)] = None
    threshold: Annotated[float, IDENTITY, Field(ge=-1, le=1)] = 0.3
    rule: Annotated[Rule, IDENTITY] = "greedy"
    within: Annotated[Within, IDENTITY] = Within()
    seed: Annotated[int, IDENTITY, Field(ge=0)] = 0

    @property
    def people(self) -> int:
        """Number of identities of all groups."""
        return sum(people for people, _ in self.groups)


def sample(source: Path, options: SampleOptions, folder: Path) -> Identities:
    """Draw people from a fit and write them to `folder`.

    Args:
        source: folder of a fit (`bench.identities.fitting.write`).
        options: which people.
        folder: where to: `identities.json`, `centres.npy`, and `within.npy` where images follow a covariance.

    Raises:
        UserError: the fit is missing, or has fewer distinct candidates than people.
    """
    pca, root, fitted = fitting.load(source)
    drawn = 3 * options.people if options.candidates is None else options.candidates
    noise = np.random.default_rng(options.seed).standard_normal((drawn, pca.width))
    vectors = draw(pca, noise, options.components)
    kept = distinct(vectors, options.threshold, options.rule, limit=options.people)
    if len(kept) < options.people:
        raise UserError(
            f"{len(kept)} of {drawn} candidates are distinct at {options.threshold:g} ({options.rule}), "
            f"{options.people} are wanted; raise sample.candidates or sample.threshold"
        )
    vary(vectors[0], noise[:1], options.within, root)
    _write(folder / "centres.npy", vectors[kept].astype(np.float32))
    if options.within.law == "covariance" and root is not None:
        _write(folder / "within.npy", root)
    origin = {key: value for key, value in fitted.items() if key in ("dataset", "recogniser", "trained_on")}
    record = {
        **origin,
        "fit": sha256_path(source / fitting.FILE),
        "fitted_on": fitted["n"],
        "candidates": drawn,
    }
    write_json(folder / RECORD, {**record, "options": options.model_dump()})
    return Identities(folder)


def _write(path: Path, array: NDArray[Any]) -> None:
    import io

    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    write_atomic(path, sink.getvalue())


def person_name(number: int) -> str:
    """Return the name of a sampled person, which is an item of the dataset `identities`.

    >>> person_name(12)
    '00000012'
    """
    return f"{number:08d}"


class Identities:
    """People who were sampled.

    Attributes:
        folder: where they lie.
        record: their provenance.
        options: how they were drawn.
        images: (n,) the number of images of each.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / RECORD).is_file():
            raise UserError(f"no {RECORD} in {folder}; make it with `python -m bench identities sample`")
        self.folder, self.record = folder, read_json(folder / RECORD)
        self.options = SampleOptions.model_validate(self.record["options"])
        self.images = np.repeat([images for _, images in self.options.groups], [n for n, _ in self.options.groups])
        self._centres = np.load(folder / "centres.npy", mmap_mode="r", allow_pickle=False)
        varies = self.options.within.law == "covariance"
        self._root = np.load(folder / "within.npy", allow_pickle=False) if varies else None

    def __len__(self) -> int:
        return len(self._centres)

    @property
    def content(self) -> str:
        """sha256 of the people and of the law of their images."""
        return sha256_path(self.folder)

    def centre(self, identity: int) -> Floats:
        """Return the unit vector of a person, (d,)."""
        row = np.asarray(self._centres[identity], np.float64)
        return np.asarray(row / np.linalg.norm(row))

    def vectors(self, identity: int, indices: Sequence[int]) -> Floats:
        """Return the unit vectors of some images of a person, (k, d): each has noise of its own seed."""
        return np.concatenate([self._vector(identity, index) for index in indices])

    def _vector(self, identity: int, index: int) -> Floats:
        """(1, d), worked out alone: a product of more rows could differ in the last digit."""
        centre = self.centre(identity)
        noise = np.random.default_rng([self.options.seed, identity, index]).standard_normal((1, len(centre)))
        return vary(centre, noise, self.options.within, self._root)
