"""Synth-500: images of people who don't exist (thispersondoesnotexist.com), one image per subject.

The licence of the images is unclear: lists hold names, sizes and sha256, and nothing is passed on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import Field

from bench.data.lists import Listing, read_list, remarks_of
from bench.data.photos import first_items, images_in, listing, look, root_folder
from bench.identity import IDENTITY, RECORDED, Spec
from bench.images import Image, ImageError, read_image


class Synth500Options(Spec):
    """Where the images lie and which of them are used.

    Attributes:
        root: folder of the images.
        list: a CSV as `python -m bench data synth500` writes it; None: all of them.
        limit: number of items, the first of the list; None: all.
        redistributable: whether its images may be shown to others.
        licence: of the images.
    """

    root: Annotated[Path, RECORDED]
    list: Annotated[Path | None, RECORDED] = None
    limit: Annotated[int | None, IDENTITY, Field(ge=1)] = None
    redistributable: Annotated[bool, RECORDED] = False
    licence: Annotated[str, RECORDED] = "thispersondoesnotexist.com: unclear"


class Synth500:
    """Every image is a reference and, unless it is there twice, a subject of its own; there are no targets."""

    Options: ClassVar[type[Spec]] = Synth500Options

    def __init__(self, options: Synth500Options) -> None:
        self._options = options

    def photos(self) -> pd.DataFrame:
        """Return the table of photos.

        Raises:
            UserError: no folder at `root`, no image in it, or a faulty list.
        """
        options = self._options
        root = root_folder(options.root)
        listed = read_list(options.list) if options.list else layout(root)
        return look(options.root, first_items(listed, options.limit))


def layout(root: Path) -> pd.DataFrame:
    """Return the list of a folder in natural order; an item has the name of its file, with the suffix where needed."""
    images = images_in(root)
    stems = Counter(os.path.splitext(image)[0] for image in images)
    names = [stem if stems[stem] == 1 else image for image in images for stem in [os.path.splitext(image)[0]]]
    rows = [
        {"item": name, "subject": name, "role": "reference", "image": image}
        for name, image in zip(names, images, strict=True)
    ]
    return listing(rows)


def synth500(root: Path, count_faces: Callable[[Image], int] | None = None, *, count: int = 500) -> Listing:
    """Return the list of the first `count` images of a folder in natural order.

    Nothing is left out: duplicates share a subject, and an image without a face is for each run to count. Both are
    remarked on, as are images that cannot be read and another number of images.

    Args:
        root: the folder.
        count_faces: number of faces in a (H, W, 3) uint8 RGB image; None doesn't look for faces.
        count: how many.

    Raises:
        UserError: no folder at `root`, or no image in it.
    """
    listed = layout(root_folder(root))
    photos = look(root, first_items(listed, count))
    remarks = [] if len(listed) == count else [("", f"{len(listed)} images, not {count}")]
    for row in photos.to_dict("records"):
        remark = row["reason"] or _twice(row) or _remark(Path(row["path"]), count_faces)
        remarks += [(row["image"], remark)] if remark else []
    return Listing(photos, remarks_of(remarks))


def _twice(row: Mapping[Hashable, str]) -> str:
    return f"the same bytes as {row['subject']}" if row["subject"] != row["item"] else ""


def _remark(path: Path, count_faces: Callable[[Image], int] | None) -> str:
    try:
        image = read_image(path)
    except ImageError as error:
        return error.reason
    return "no face" if count_faces is not None and count_faces(image) == 0 else ""
