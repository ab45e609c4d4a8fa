"""A folder of photos: one sub-folder per subject, or one image per subject at the top, or both."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pandas as pd
from pydantic import Field

from bench.data.lists import Listing, read_list, remarks_of
from bench.data.photos import (
    PhotoStatus,
    first_items,
    images_in,
    is_image_name,
    listing,
    look,
    natural,
    printable,
    root_folder,
)
from bench.data.unused import files_below, unused
from bench.identity import IDENTITY, RECORDED, Spec


class FolderOptions(Spec):
    """Where the photos lie and how they are read; they enter identities by content.

    Attributes:
        root: folder of the photos.
        list: a CSV that says which photos to use; None: all, by their names.
        references: which photos of a subject are references; ignored with a list.
        limit: number of items, the first of the list; None: all.
        redistributable: whether its images may be shown to others.
        licence: of the photos.
    """

    root: Annotated[Path, RECORDED]
    list: Annotated[Path | None, RECORDED] = None
    references: Annotated[Literal["first", "all"], IDENTITY] = "first"
    limit: Annotated[int | None, IDENTITY, Field(ge=1)] = None
    redistributable: Annotated[bool, RECORDED] = False
    licence: Annotated[str, RECORDED] = "unknown"


class Folder:
    """The subject's first photo by name is the reference and the others are targets; or as the list says."""

    Options: ClassVar[type[Spec]] = FolderOptions

    def __init__(self, options: FolderOptions) -> None:
        self._options = options

    def photos(self) -> pd.DataFrame:
        """Return the table of photos (`bench.data.photos`).

        Raises:
            UserError: no folder at `root`, no photo in it, or a faulty list.
        """
        options = self._options
        root = root_folder(options.root)
        listed = read_list(options.list) if options.list else layout(root, options.references)
        return look(options.root, first_items(listed, options.limit))

    def remarks(self) -> list[str]:
        """Return what below the root gives no photo; nothing where a list chooses."""
        options = self._options
        return [] if options.list else unused_below(root_folder(options.root))


def layout(root: Path, references: Literal["first", "all"] = "first") -> pd.DataFrame:
    """Return the list of a folder.

    Subjects come in natural order, a subject's photos by their place in natural order. `anna.jpg` at the top and the
    images in `anna/` are the same subject. Sub-folders are read one level deep. With "first" the item is named after
    the subject; with "all" every photo is an item, named after its place, and there are no targets.
    """
    rows = []
    for subject, images in sorted(_subjects(root).items(), key=lambda pair: natural(pair[0])):
        for number, image in enumerate(sorted(images, key=natural)):
            reference = references == "all" or number == 0
            item = (image if references == "all" else subject) if reference else ""
            role = "reference" if reference else "target"
            rows.append({"item": item, "subject": subject, "role": role, "image": image})
    return listing(rows)


def _subjects(root: Path) -> dict[str, list[str]]:
    images: dict[str, list[str]] = {}
    for name in images_in(root):
        images.setdefault(os.path.splitext(name)[0], []).append(name)
    for raw in sorted(os.listdir(root)):
        name = printable(raw)
        if not name.startswith(".") and not is_image_name(name) and (root / raw).is_dir():
            images.setdefault(name, []).extend(f"{name}/{image}" for image in images_in(root / raw))
    return images


def unused_below(root: Path) -> list[str]:
    """Return lines that count and name the files and folders below a root that give no photo.

    Raises:
        OSError: a folder cannot be read.
    """
    used = set(layout(root)["image"])
    files = [printable(path.relative_to(root).as_posix()) for path in files_below(root)]
    empty = [printable(name) for name in sorted(os.listdir(root)) if _has_no_image(root, name)]
    counted = (
        ("files", sorted(file for file in files if file not in used)),
        ("folders without an image", empty),
    )
    return [f"dataset.root: {unused(what, names)}" for what, names in counted if names]


def _has_no_image(root: Path, name: str) -> bool:
    folder = root / name
    return folder.is_dir() and not name.startswith(".") and not images_in(folder)


def folder_list(root: Path) -> Listing:
    """Return the list of a folder, with the photos that cannot be used as remarks.

    Raises:
        UserError: no folder at `root`, or no photo in it.
    """
    photos = look(root, layout(root_folder(root)))
    odd = photos[photos["status"] != PhotoStatus.OK]
    below = [(str(root), line) for line in unused_below(root_folder(root))]
    return Listing(photos, remarks_of([*zip(odd["image"], odd["reason"], strict=True), *below]))
