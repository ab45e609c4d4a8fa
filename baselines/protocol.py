"""The Method protocol: references and seeds in, images out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.faces.face import Face
from bench.identity import Spec

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


@dataclass(frozen=True, eq=False)
class Collection:
    """All photos of the dataset, for controls that show somebody's photo (need "collection").

    Attributes:
        references: eligible references in the order of the list, as (item, subject, path).
        targets: subject -> paths of the subject's other photos, in the order of the list.
        read: path -> image; raises `bench.images.ImageError`.
        seed: of the protocol.
        samples_per_item: of the protocol.
    """

    references: Sequence[tuple[str, str, Path]]
    targets: Mapping[str, Sequence[Path]]
    read: Callable[[Path], Image]
    seed: int
    samples_per_item: int


Gallery = Collection
"""The former name, for one version."""

FORMER_NEEDS = {"gallery": "collection"}
"""Former name of a need -> its name, for one version."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a method may see of one reference: only what it declared in `needs` is filled.

    Attributes:
        item: name from the dataset's list; two references of a run never share it, so methods key by it.
        subject: name from the dataset's list.
        key: the item's name, fit for a file.
        path: the file, where "image" is needed (for a method that runs in another process).
        image: the whole image, (H, W, 3) uint8 RGB.
        face: the largest face under the evaluator's detector.
        embeddings: recogniser name -> (d,) float32, raw (not normalised).
        collection: all photos of the dataset.
    """

    item: str
    subject: str
    key: str = ""
    path: Path | None = None
    image: Image | None = None
    face: Face | None = None
    embeddings: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    collection: Collection | None = None

    @property
    def gallery(self) -> Collection | None:
        """The former name of `collection`, for one version."""
        return self.collection


@dataclass(frozen=True, eq=False)
class Request:
    """One sample to be made.

    Attributes:
        reference: whose sample it is.
        index: which of the item's samples, from 0.
        seed: of its noise.
        prompt: the text.
    """

    reference: Reference
    index: int
    seed: int
    prompt: str


@dataclass(frozen=True, eq=False)
class Output:
    """One sample made, or the reason why not: exactly one of `image` and `error` is set.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        error: the reason.
        unavailable: whether a control has no image to show, which counts neither as success nor as failure.
        note: what should be recorded of how it was made and changes nothing in it, such as a smaller batch.
    """

    image: Image | None = None
    error: str | None = None
    unavailable: bool = False
    note: str = ""


class Method(Protocol):
    """Loaded once, called with batches. A plain class; nothing is inherited.

    Attributes:
        Options: frozen spec of its options (`bench.identity.Spec`), importable without heavy packages.
        needs: what `Reference` must hold: any of "image", "face", "embedding:<recogniser>", "collection".
            Options may have a property of that name, which then counts.
        remarks: optional static method (options, items, samples_per_item) -> lines: what of its files a run will
            not use; `items` is a table with the columns item, subject and key. Asked once, before the first sample.
        generates: whether its images are made by a model (and their files say so); True where it is left out.
    """

    Options: ClassVar[type[Spec]]
    needs: ClassVar[frozenset[str]]

    def __init__(self, options: Any, runtime: Any) -> None:
        """Load everything; raise `UserError` for a missing or wrong file."""

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request, in order.

        A result depends on its own request alone, never on its neighbours.

        An exception here fails every sample of the batch; an `Output.error` fails one.
        """
