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
    """One network. `options.batch` (RECORDED) is its declared batch; `options.view` names the crop it reads."""

    Options: ClassVar[type[Spec]]

    def __init__(self, options: Any, runtime: Any) -> None:
        """Loads from local files only; raises `UserError` for a missing or wrong one."""

    def extract(self, crops: Crops) -> Mapping[str, NDArray[Any]]:
        """Columns with one row per crop; "feature" is (b, d) float32, others are (b,) scalars (e.g. "norm")."""


class PairExtractor(Protocol):
    """A network whose features are too large to keep: it answers with distances."""

    Options: ClassVar[type[Spec]]

    def __init__(self, options: Any, runtime: Any) -> None:
        """Loads from local files only; raises `UserError` for a missing or wrong one."""

    def distances(self, crops: Crops) -> NDArray[np.float64]:
        """(b, b) symmetric distances between the crops of one item (each crop's features computed once)."""


class Parser(Protocol):
    """A face parser; labels in the order of `bench.faces.parsing.Label`."""

    Options: ClassVar[type[Spec]]

    def __init__(self, options: Any, runtime: Any) -> None:
        """Loads from local files only; raises `UserError` for a missing or wrong one."""

    def labels(self, crops: Crops) -> NDArray[np.uint8]:
        """(b, 512, 512) labels of (b, 512, 512, 3) uint8 RGB crops."""
