"""The Face Research Lab London Set (DeBruine and Jones, doi:10.6084/m9.figshare.5047666): 102 adults who consented.

CC BY 4.0, so its images may be shown to others with that credit. Ten images of 1350x1350 of a person, in one folder
per view as the archives unpack, named `{person}_{view}.jpg` with three and two digits, for example
`neutral_front/001_03.jpg`; `london_faces_info.csv` next to them has the self-reported age, gender and ethnicity. The
names of files and columns were read in public code that uses the set; the images were not at hand.
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import Field

from bench.data.lists import Listing, read_list, remarks_of
from bench.data.photos import PhotoStatus, first_items, is_image_name, listing, look, printable, root_folder
from bench.errors import UserError
from bench.identity import IDENTITY, RECORDED, Spec

REFERENCE = "03"
"""Neutral, front."""

FRONTAL = ("08", "02", "04", "07", "09")
"""Smiling front; neutral and smiling three-quarter views."""

PROFILES = ("01", "05", "06", "10")
"""Neutral and smiling, left and right."""

INFO = "london_faces_info.csv"


class LondonOptions(Spec):
    """Where the set lies and which of its photos are used.

    Attributes:
        root: folder of the set.
        list: a CSV that says which photos to use; None: all persons, by the names of the files.
        profiles: whether the views at 90 degrees are targets, too; ignored with a list.
        limit: number of items, the first of the list; None: all.
        redistributable: whether its images may be shown to others.
        licence: of the photos.
    """

    root: Annotated[Path, RECORDED]
    list: Annotated[Path | None, RECORDED] = None
    profiles: Annotated[bool, IDENTITY] = False
    limit: Annotated[int | None, IDENTITY, Field(ge=1)] = None
    redistributable: Annotated[bool, RECORDED] = True
    licence: Annotated[str, RECORDED] = "Face Research Lab London Set, DeBruine & Jones (2017): CC BY 4.0"


class London:
    """The neutral front image of a person is the reference, the other views are targets."""

    Options: ClassVar[type[Spec]] = LondonOptions

    def __init__(self, options: LondonOptions) -> None:
        self._options = options

    def photos(self) -> pd.DataFrame:
        """Return the table of photos, with the groups `gender`, `age` and `ancestry` where the info file is there.

        Raises:
            UserError: no folder at `root`, no image of the set in it, or a faulty list.
        """
        options = self._options
        root = root_folder(options.root)
        listed = read_list(options.list) if options.list else layout(root, options.profiles)
        return look(options.root, first_items(listed, options.limit))


def layout(root: Path, profiles: bool = False) -> pd.DataFrame:
    """Return the list of the set: persons by number; of each the reference, then the targets from frontal to profile.

    Raises:
        UserError: no image of the set below `root`, or a person without the reference view.
    """
    views = _views(root)
    people = sorted({person for person, _ in views})
    missing = [person for person in people if (person, REFERENCE) not in views]
    if missing or not people:
        whose = f" of {', '.join(missing[:5])}" if missing else ""
        raise UserError(f"no neutral front image{whose} (NNN_{REFERENCE}.jpg) below {root}; unpack neutral_front.zip")
    info = _info(root)
    order = (REFERENCE, *FRONTAL, *(PROFILES if profiles else ()))
    rows = [
        _row(person, view, views[person, view], info) for person in people for view in order if (person, view) in views
    ]
    return listing(rows)


def _row(person: str, view: str, image: str, info: dict[str, dict[str, str]]) -> dict[str, str]:
    role, item = ("reference", person) if view == REFERENCE else ("target", "")
    return {"item": item, "subject": person, "role": role, "image": image, **info.get(person, {})}


def _views(root: Path) -> dict[tuple[str, str], str]:
    """Return (person, view) -> place below the root; the first in the order of folders where a file is there twice."""
    found: dict[tuple[str, str], str] = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__MACOSX")
        for name in sorted(names):
            match = re.fullmatch(r"([0-9]{3})_([0-9]{2})\.[A-Za-z]+", name)
            if match and is_image_name(name):
                place = os.path.relpath(os.path.join(folder, name), root)
                found.setdefault((match[1], match[2]), printable(place).replace(os.sep, "/"))
    return found


def _info(root: Path) -> dict[str, dict[str, str]]:
    """Return person -> groups, from the info file; `face_id` with or without its X, NA for what was not said."""
    places = sorted(root.rglob(INFO))
    if not places:
        return {}
    with open(places[0], encoding="utf-8-sig", newline="") as file:
        rows = [{k: "" if v in (None, "NA") else v for k, v in row.items()} for row in csv.DictReader(file)]
    return {row.get("face_id", "").removeprefix("X").zfill(3): _groups(row) for row in rows}


def _groups(row: dict[str, str]) -> dict[str, str]:
    # The column's name changed between versions.
    gender = row.get("face_gender") or row.get("face_sex", "")
    return {"gender": gender, "age": row.get("face_age", ""), "ancestry": row.get("face_eth", "")}


def london(root: Path, *, profiles: bool = False) -> Listing:
    """Return the list of the set, with the photos that cannot be used as remarks.

    Raises:
        UserError: as `layout`.
    """
    photos = look(root, layout(root_folder(root), profiles))
    odd = photos[photos["status"] != PhotoStatus.OK]
    return Listing(photos, remarks_of(list(zip(odd["image"], odd["reason"], strict=True))))
