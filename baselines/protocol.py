"""The Method protocol: references and seeds in, images out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.conditions.kinds import NOTHING, Condition
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
        samples_per_item: samples that an item of the run has at most.
    """

    references: Sequence[tuple[str, str, Path]]
    targets: Mapping[str, Sequence[Path]]
    read: Callable[[Path], Image]
    seed: int
    samples_per_item: int


Photos = tuple[str, tuple[str, ...]]
"""An item and the names of the photos that a sample of it is made from."""

Gallery = Collection
"""The former name, for one version."""

FORMER_NEEDS = {"gallery": "collection"}
"""Former name of a need -> its name, for one version."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a method may see of one reference: only what it declared in `needs` is filled.

    Attributes:
        item: name from the dataset's list; "" for a further reference of an item.
        subject: name from the dataset's list.
        key: the item's name, fit for a file.
        photo: the photo's name in the dataset's list; no two photos of a run share it, so methods key by it.
        path: the file, where "image" is needed (for a method that runs in another process).
        image: the whole image, (H, W, 3) uint8 RGB.
        face: the largest face under the evaluator's detector.
        embeddings: recogniser name -> (d,) float32, raw (not normalised).
        collection: all photos of the dataset.
    """

    item: str
    subject: str
    key: str = ""
    photo: str = ""
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
        prompt_id: its name.
        references: what the sample is made from: with `many_references` all references of the item that have a face,
            the item's own first, or those of the sample's condition; else `reference` alone.
        condition: what else the sample is made from; a kind that the method does not accept is None.
    """

    reference: Reference
    index: int
    seed: int
    prompt: str
    prompt_id: str = ""
    references: tuple[Reference, ...] = ()
    condition: Condition = NOTHING

    def __post_init__(self) -> None:
        """Make `reference` the one reference where no others are given."""
        if not self.references:
            object.__setattr__(self, "references", (self.reference,))

    @property
    def photos(self) -> Photos:
        """The item and the names of its references: what a method keys by where it reads several."""
        return self.reference.item, tuple(reference.photo for reference in self.references)


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
        accepts: kinds of conditions that it follows; none where it is left out. A run that asks for another kind stops
            before its first sample.
        many_references: whether it reads `Request.references`; it then accepts the kind "references", too. False where
            it is left out.
        remarks: optional static method (options, items, samples_per_item) -> lines: what of its files a run will
             not use; `items` is a table with the columns item, subject and key. Asked once, before the first sample.
        generates: whether its images are made by a model (and their files say so); True where it is left out.
        version: of how it makes samples; another version is another run. 1 where it is left out.

    `needs` and `accepts` stand in one place: here where they are always the same, else as a property of `Options`.
    A method may have `close()`, which is called once, at the end: there it lets go of what would outlive it.
    """

    Options: ClassVar[type[Spec]]

    def __init__(self, options: Any, runtime: Any) -> None:
        """Load everything; raise `UserError` for a missing or wrong file."""

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request, in order.

        A result depends on its own request alone, never on its neighbours.

        An exception here fails every sample of the batch; an `Output.error` fails one.
        """


def declared(method: Any, options: Any, name: str) -> Any:
    """Return a method's `needs` or `accepts`: as its options say where it depends on them, else as its class does.

    >>> from baselines.controls import Copy
    >>> sorted(declared(Copy, Copy.Options(), "needs")), declared(Copy, Copy.Options(), "accepts")
    (['image'], frozenset())
    """
    return getattr(options, name, getattr(method, name, frozenset()))
