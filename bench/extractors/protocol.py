"""The Extractor protocols: views of a face in, features (or distances between samples of one item) out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bench.identity import Spec

Crops = NDArray[Any]
"""(b, H, W, 3) RGB of the type that `bench.faces.views.VIEWS` says: uint8, but float32 in [0, 1] for `flame224`.

b is always the declared batch: the caller pads the last one with zeros."""

FEATURE = "feature"
"""The column of a feature table that holds what metrics compare, whatever its extractor calls it."""

Distance = Literal["cosine", "euclidean"]
"""How the embeddings of two faces are compared: by the cosine, higher is more alike, or by the length of their
difference, lower is more alike."""


class Extractor(Protocol):
    """One network that answers with a feature for each crop.

    Attributes:
        Options: frozen spec of its options; `batch` (RECORDED) is its declared batch, `view` names the crop it reads.
        role: what metrics ask for: "recognition", "lpips", "flame", "inception", "dinov2", "clip", "quality", "sscd",
            "head_pose", "shape", "clip_text", "aesthetic", or a word of your own.
        pairwise: False: it answers with features.

    A class may further declare, where what is said here of a class without them does not hold:
        columns (Mapping[str, str]): the columns of its answer that metrics read -> the role of each. The first is the
            feature; a further one may be missing from an answer. Without it: the column "feature", of the class's role.
        distance (Distance): how two features are compared. Without it: by the cosine.
    """

    Options: ClassVar[type[Spec]]
    role: ClassVar[str]
    pairwise: ClassVar[bool]

    def __init__(self, options: Any, runtime: Any) -> None:
        """Load from local files only; raise `UserError` for a missing or wrong one."""

    def extract(self, crops: Crops) -> Mapping[str, NDArray[Any]]:
        """Return columns with one row per crop: vectors (b, d) or numbers (b,), float32."""


@runtime_checkable
class ReadsKeypoints(Protocol):
    """An extractor that is also told where the five key points of each crop are."""

    def embed(self, crops: Crops, keypoints: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """Return what `extract` returns; `keypoints` is (b, 5, 2): x, y in pixels of the crop."""


@runtime_checkable
class ReadsPrompts(Protocol):
    """An extractor that has texts and images in one space."""

    def texts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, d) embeddings of texts, to be compared with its features."""


class Recogniser(Extractor, Protocol):
    """An extractor whose features are embeddings of a person.

    Attributes:
        distance: how two embeddings are compared.
    """

    distance: ClassVar[Distance]


class PairExtractor(Protocol):
    """A network whose features are too large to keep: it answers with distances.

    Attributes:
        Options: as an `Extractor`'s.
        role: as an `Extractor`'s.
        pairwise: True: it answers with distances between the crops of one item.
    """

    Options: ClassVar[type[Spec]]
    role: ClassVar[str]
    pairwise: ClassVar[bool]

    def __init__(self, options: Any, runtime: Any) -> None:
        """Load from local files only; raise `UserError` for a missing or wrong one."""

    def distances(self, crops: Crops) -> NDArray[np.float64]:
        """Return (b, b) symmetric distances between the crops of one item (each crop's features computed once)."""


def columns_of(extractor: Any) -> Mapping[str, str]:
    """Return the columns that metrics read of an extractor (or of its class) -> their roles, the feature first."""
    columns: Mapping[str, str] = getattr(extractor, "columns", {FEATURE: extractor.role})
    return columns


def distance_of(extractor: Any) -> Distance:
    """Return how two features of an extractor (or of its class) are compared."""
    distance: Distance = getattr(extractor, "distance", "cosine")
    return distance


class Parser(Protocol):
    """A face parser; labels in the order of `bench.faces.parsing.Label`."""

    Options: ClassVar[type[Spec]]

    def __init__(self, options: Any, runtime: Any) -> None:
        """Load from local files only; raise `UserError` for a missing or wrong one."""

    def labels(self, crops: Crops) -> NDArray[np.uint8]:
        """Return (b, 512, 512) labels of (b, 512, 512, 3) uint8 RGB crops."""
