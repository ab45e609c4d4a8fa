"""Embeddings of rendered people: they take the place of photographs where a user of the embedded world gives none."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.faces.align import arcface112
from bench.facesets.making import finder
from bench.identity import digest, identity
from bench.images import Image
from bench.metrics.functional.cosine import Floats
from bench.recognition.readers import Reader, reader
from bench.recognition.rendered import Cast, Rendered
from bench.runtime import Runtime
from bench.spec import RunSpec, detector_id
from bench.store import write_atomic


@dataclass(frozen=True, eq=False)
class Embedded:
    """The images of rendered people in which a face was found, in order.

    Attributes:
        people: (n,) the number of the person.
        index: (n,) the number of the image among the person's.
        features: (n, d) raw embeddings.
        key: identity of all of it.
    """

    people: NDArray[np.int64]
    index: NDArray[np.int64]
    features: Floats
    key: str


def embedded(spec: RunSpec, cast: Cast, images: int, recogniser: str, folder: Path) -> Embedded:
    """Return the embeddings of rendered people; what is in the folder already is read.

    Args:
        spec: says which detector and which recogniser.
        cast: the people.
        images: of each.
        recogniser: its name.
        folder: keeps the embeddings.

    Raises:
        UserError: the evaluator's networks know photographs: rendered people say nothing of them.
    """
    if not spec.evaluator.only_for:
        raise UserError(
            f"evaluator {spec.evaluator.name} knows photographs, so that rendered people cannot take their place: name "
            "a fit (`python -m bench identities fit`) as fig8.fit, or banks (`python -m bench bank add`) as fig11.banks"
        )
    part = identity(spec.evaluator.recognisers[recogniser])
    people = [cast.split, cast.people, cast.seed, cast.frontal, images]
    holds = ["people", "index", "features"]
    key = digest({"recogniser": part, "detector": detector_id(spec), "people": people, "holds": holds})[:16]
    path = folder / f"embeddings-{key}.npz"
    if not path.exists():
        _write(path, _read_faces(spec, cast, images, reader(spec, recogniser)))
    with np.load(path, allow_pickle=False) as arrays:
        return Embedded(arrays["people"], arrays["index"], arrays["features"], key)


def _read_faces(spec: RunSpec, cast: Cast, images: int, network: Reader) -> dict[str, NDArray[Any]]:
    find = finder(spec.evaluator.detector, spec.protocol.faces, Runtime("cpu", spec.execution.threads))
    rendered = Rendered(cast)
    places: list[tuple[int, int]] = []
    crops: list[Image] = []
    for person, index in product(range(cast.people), range(images)):
        image = rendered.image(person, index)
        if faces := find(image):
            places.append((person, index))
            crops.append(arcface112(image, faces[0].keypoints))
    columns = np.array(places, np.int64).reshape(-1, 2)
    return {"people": columns[:, 0], "index": columns[:, 1], "features": _features(crops, network)}


def _features(crops: Sequence[Image], network: Reader) -> Floats:
    """Return (n, d) embeddings; the last batch is padded to the network's own."""
    features = []
    for start in range(0, len(crops), network.batch):
        part = np.stack(crops[start : start + network.batch])
        padded = np.concatenate([part, np.zeros((network.batch - len(part), *part.shape[1:]), np.uint8)])
        features.append(network.network.extract(padded)["feature"][: len(part)])
    return np.concatenate(features)


def _write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    write_atomic(path, sink.getvalue())
