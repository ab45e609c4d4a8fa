"""Images made elsewhere: `<root>/<item>/<index>.png` (or .jpg, .jpeg, .webp), index from 0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from baselines.protocol import Output, Request
from bench.errors import UserError
from bench.identity import CONTENT, Spec

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class FolderOptions(Spec):
    """The folder.

    Attributes:
        root: where the images lie; their content, not their place, is part of the run's identity.
    """

    root: Annotated[Path, CONTENT]


class Folder:
    """Shows images from a folder; a missing one is a failed sample."""

    Options: ClassVar[type[Spec]] = FolderOptions
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: FolderOptions, runtime: Any) -> None:
        if not options.root.is_dir():
            raise UserError(f"method.root={options.root} is not a folder; give it as method.root=DIR")
        self._root = options.root.resolve()

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one image per request as read from its file, (H, W, 3) uint8 RGB."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Output:
        from bench.images import ImageError, read_image

        path = find(self._root, (request.reference.item, request.reference.key), request.index)
        if path is None:
            return Output(error=f"no image {request.reference.item}/{request.index}.png (or .jpg)")
        try:
            return Output(image=read_image(path))
        except ImageError as error:
            return Output(error=f"{path.name}: {error}")


def find(root: Path, names: Sequence[str], index: int) -> Path | None:
    """Return the file of a sample under the item's own name or its file-safe key; never outside `root`."""
    for name in names:
        for suffix in SUFFIXES:
            path = (root / name / f"{index}{suffix}").resolve()
            if name and path.is_relative_to(root) and path.is_file():
                return path
    return None
