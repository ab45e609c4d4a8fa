"""Embeddings of rendered people: they take the place of photographs where a user of the embedded world gives none."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import product
from pathlib import Path

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


def embedded(
    spec: RunSpec, cast: Cast, images: int, recogniser: str, folder: Path
) -> tuple[NDArray[np.int64], Floats, str]:
    """Return the embeddings of rendered people; what is in the folder already is read.

    Args:
        spec: says which detector and which recogniser.
        cast: the people.
        images: of each.
        recogniser: its name.
        folder: keeps the embeddings.

    Returns:
        (n,) the number of the person of each image that shows a face, in order; (n, d) raw embeddings; the identity of
        both.

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
    key = digest({"recogniser": part, "detector": detector_id(spec), "people": people})[:16]
    path = folder / f"embeddings-{key}.npz"
    if not path.exists():
        _write(path, *_read_faces(spec, cast, images, reader(spec, recogniser)))
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["people"], arrays["features"], key


def _read_faces(spec: RunSpec, cast: Cast, images: int, network: Reader) -> tuple[NDArray[np.int64], Floats]:
    find = finder(spec.evaluator.detector, spec.protocol.faces, Runtime("cpu", spec.execution.threads))
    rendered = Rendered(cast)
    people: list[int] = []
    crops: list[Image] = []
    for person, index in product(range(cast.people), range(images)):
        image = rendered.image(person, index)
        if faces := find(image):
            people.append(person)
            crops.append(arcface112(image, faces[0].keypoints))
    return np.array(people, np.int64), _features(crops, network)


def _features(crops: Sequence[Image], network: Reader) -> Floats:
    """Return (n, d) embeddings; the last batch is padded to the network's own."""
    features = []
    for start in range(0, len(crops), network.batch):
        part = np.stack(crops[start : start + network.batch])
        padded = np.concatenate([part, np.zeros((network.batch - len(part), *part.shape[1:]), np.uint8)])
        features.append(network.network.extract(padded)["feature"][: len(part)])
    return np.concatenate(features)


def _write(path: Path, people: NDArray[np.int64], features: Floats) -> None:
    sink = io.BytesIO()
    np.savez(sink, people=people, features=features)
    write_atomic(path, sink.getvalue())
