"""Images made elsewhere, read from a folder; how its files are named is a pattern.

    {item}     the item's name in the dataset's list, or its name as a file
    {index}    the number of the sample, with or without zeros in front; {index:04d} is read alike
    {ext}      png, jpg, jpeg or webp, in upper or lower case

An item's images are numbered from 0; where an item has no image of number 0, from 1. Names are compared by their
characters, not by how Unicode composes them. Without `{index}` there is one image per item.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import AfterValidator

from baselines.protocol import Output, Request
from bench.data.photos import printable
from bench.data.unused import files_below, unused
from bench.errors import UserError
from bench.identity import ADDED, CONTENT, IDENTITY, Spec

SUFFIXES = ("png", "jpg", "jpeg", "webp")
"""Of images, the preferred first: where two files are the same sample, that is the one that counts."""
PATTERN = "{item}/{index}.{ext}"
_FIELD = re.compile(r"\{(\w+)(?::0?\d*d)?\}")
_READS = {"item": "(?P<item>.+)", "index": "(?P<index>[0-9]+)", "ext": f"(?P<ext>(?i:{'|'.join(SUFFIXES)}))"}


def _check_pattern(pattern: str) -> str:
    """Return a pattern as it is.

    Raises:
        ValueError: it has no {item}, an unknown field, or one field twice.
    """
    fields = _FIELD.findall(pattern)
    if "item" not in fields or len(set(fields)) < len(fields) or not {*fields} <= {*_READS}:
        raise ValueError("a pattern has {item} and may have {index} (or {index:04d}) and {ext}, each once")
    return pattern


class FolderOptions(Spec):
    """The folder.

    Attributes:
        root: where the images lie; their content, not their place, is part of the run's identity.
        pattern: how the images below `root` are named; see the module.
    """

    root: Annotated[Path, CONTENT]
    pattern: Annotated[str, IDENTITY, ADDED, AfterValidator(_check_pattern)] = PATTERN


class Folder:
    """Shows images from a folder; a missing one is a failed sample."""

    Options: ClassVar[type[Spec]] = FolderOptions
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: FolderOptions, runtime: Any) -> None:
        _check_root(options.root)
        self._pattern = options.pattern
        self._images = _images(options.root, options.pattern)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one image per request as read from its file, (H, W, 3) uint8 RGB."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Output:
        from bench.images import ImageError, read_image

        path = _find(self._images, (request.reference.item, request.reference.key), request.index)
        if path is None:
            return Output(error=f"no image number {request.index} of this item that fits {self._pattern}")
        try:
            return Output(image=read_image(path))
        except ImageError as error:
            return Output(error=f"{path.name}: {error}")

    @staticmethod
    def remarks(options: FolderOptions, items: pd.DataFrame, samples_per_item: int) -> list[str]:
        """Return what of the folder a run does not use.

        Args:
            options: of the method.
            items: the dataset's items, with the columns item and key.
            samples_per_item: samples that the run asks of each.

        Returns:
            Lines that count and name people who are not in the dataset, images beyond `samples_per_item`, and files
            that fit no sample.
        """
        _check_root(options.root)
        images = _images(options.root, options.pattern)
        names = {_normal(str(name)) for column in ("item", "key") for name in items[column]}
        strangers = sorted(set(images) - names)
        surplus = [path for item in sorted(set(images) & names) for path in images[item][samples_per_item:] if path]
        fitting = {path for paths in images.values() for path in paths}
        others = [path for path in _files(options.root.resolve()) if path not in fitting]
        counted = (
            ("people unknown to the dataset", strangers),
            (f"images beyond protocol.samples_per_item={samples_per_item}", _shown(options.root, surplus)),
            (f"files that do not fit {options.pattern}", _shown(options.root, others)),
        )
        return [f"method.root: {unused(what, found)}" for what, found in counted if found]


def _check_root(root: Path) -> None:
    if not root.is_dir():
        raise UserError(f"method.root={root} is not a folder; give it as method.root=DIR")


def _shown(root: Path, paths: Iterable[Path]) -> list[str]:
    return [printable(path.relative_to(root.resolve()).as_posix()) for path in paths]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _find(images: Mapping[str, Sequence[Path | None]], names: Sequence[str], index: int) -> Path | None:
    """Return the file of a sample under the item's own name or its name as a file."""
    for name in names:
        paths = images.get(_normal(name), ())
        if index < len(paths) and paths[index] is not None:
            return paths[index]
    return None


@lru_cache(maxsize=4)
def _images(root: Path, pattern: str) -> dict[str, list[Path | None]]:
    """Return the images of each item below a folder by their number, counted from 0; None where a number is missing."""
    top = root.resolve()
    fits = _regex(pattern)
    numbered: dict[str, dict[int, Path]] = {}
    for path in _files(top):
        match = fits.fullmatch(_normal(path.relative_to(top).as_posix()))
        # A link may lead out of the folder; nothing there is read.
        if match is not None and path.resolve().is_relative_to(top):
            index = int(match.groupdict().get("index") or 0)
            numbered.setdefault(match["item"], {}).setdefault(index, path)
    return {item: _from_zero(paths) for item, paths in numbered.items()}


def _from_zero(paths: Mapping[int, Path]) -> list[Path | None]:
    """Return numbered paths in order; where there is no number 0, the first is number 1.

    >>> _from_zero({1: Path("a"), 3: Path("c")}) == [Path("a"), None, Path("c")]
    True
    """
    first = 0 if 0 in paths else 1
    last = min(max(paths), first + 10_000)
    return [paths.get(number) for number in range(first, last + 1)]


def _regex(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern.

    >>> _regex("{item}_{index:04d}.{ext}").fullmatch("anna_b_0003.PNG").groups()
    ('anna_b', '0003', 'PNG')
    """
    parts = _FIELD.split(_normal(pattern))
    return re.compile("".join(_READS[part] if place % 2 else re.escape(part) for place, part in enumerate(parts)))


def _files(top: Path) -> list[Path]:
    """Return all files below a folder, preferred suffixes first."""
    return sorted(files_below(top), key=lambda path: (path.parent, path.stem, _preference(path), path.name))


def _preference(path: Path) -> int:
    suffix = path.suffix.lower().removeprefix(".")
    return SUFFIXES.index(suffix) if suffix in SUFFIXES else len(SUFFIXES)
