"""The Extractor protocols: views of a face in, features (or distances between samples of one item) out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.identity import Spec

Crops = NDArray[Any]
"""(b, H, W, 3) RGB of the type that `bench.faces.views.VIEWS` says: uint8, but float32 in [0, 1] for `flame224`.

b is always the declared batch: the caller pads the last one with zeros."""

Distance = Literal["cosine", "euclidean"]
"""How the embeddings of two faces are compared: by the cosine, higher is more alike, or by the length of their
difference, lower is more alike."""


class Extractor(Protocol):
    """One network that answers with a feature for each crop.

    Attributes:
        Options: frozen spec of its options; `batch` (RECORDED) is its declared batch, `view` names the crop it reads.
        role: what metrics ask for: "recognition", "lpips", "flame", "inception", "dinov2", "clip", "quality", "sscd",
            "head_pose", "shape", "clip_text", or a word of your own.
        pairwise: False: it answers with features.
    """

    Options: ClassVar[type[Spec]]
    role: ClassVar[str]
    pairwise: ClassVar[bool]

    def __init__(self, options: Any, runtime: Any) -> None:
        """Load from local files only; raise `UserError` for a missing or wrong one."""

    def extract(self, crops: Crops) -> Mapping[str, NDArray[Any]]:
        """Return columns with one row per crop; "feature" is (b, d) float32, others are (b,) scalars (e.g. "norm")."""


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


class Parser(Protocol):
    """A face parser; labels in the order of `bench.faces.parsing.Label`."""

    Options: ClassVar[type[Spec]]

    def __init__(self, options: Any, runtime: Any) -> None:
        """Load from local files only; raise `UserError` for a missing or wrong one."""

    def labels(self, crops: Crops) -> NDArray[np.uint8]:
        """Return (b, 512, 512) labels of (b, 512, 512, 3) uint8 RGB crops."""
