"""AgeDB: photos of public figures at many ages, named `{id}_{Name}_{age}_{m|f}.jpg`, some with a space in the name.

The photos come from iBUG on request, for research that is not commercial; nothing of them may be passed on. The paper
tests on 400 of them, "chosen for higher resolution", and doesn't say which; `agedb400` is a rule that chooses so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import pandas as pd
from pydantic import Field

from bench.data.lists import Listing, read_list, remarks_of
from bench.data.photos import first_items, images_in, listing, look, root_folder
from bench.errors import UserError
from bench.identity import IDENTITY, RECORDED, Spec
from bench.images import Image, ImageError, image_size, read_image


class AgeDBOptions(Spec):
    """Where AgeDB lies and which of its photos are used.

    Attributes:
        root: folder of the photos.
        list: a CSV as `python -m bench data agedb400` writes it.
        targets: of each subject, where the list has none.
        limit: number of items, the first of the list; None: all.
        redistributable: whether its images may be shown to others.
        licence: of the photos.
    """

    root: Annotated[Path, RECORDED]
    list: Annotated[Path | None, RECORDED] = None
    targets: Annotated[int, IDENTITY, Field(ge=0)] = 5
    limit: Annotated[int | None, IDENTITY, Field(ge=1)] = None
    redistributable: Annotated[bool, RECORDED] = False
    licence: Annotated[str, RECORDED] = "AgeDB: non-commercial research only"


class Name(NamedTuple):
    """What a file name of AgeDB says."""

    number: int
    person: str
    age: int
    gender: str


def parse(filename: str) -> Name | None:
    """Read a file name from its right end; None where it isn't one of AgeDB's.

    >>> parse("16020_MorganFreeman _73_m.jpg")
    Name(number=16020, person='MorganFreeman', age=73, gender='m')
    """
    match = re.fullmatch(r"([0-9]+)_(.*\S.*)_ *([0-9]+) *_ *([mf]) *", os.path.splitext(filename)[0])
    return Name(int(match[1]), match[2].strip(), int(match[3]), match[4]) if match else None


class AgeDB:
    """The references of a list; as targets other photos of their subjects from the whole set."""

    Options: ClassVar[type[Spec]] = AgeDBOptions

    def __init__(self, options: AgeDBOptions) -> None:
        self._options = options

    def photos(self) -> pd.DataFrame:
        """Return the table of photos, with the groups `gender`, `age` and `age_gap`.

        `age_gap` of a target is the distance in years to the nearest reference of its subject.

        Raises:
            UserError: no list, a faulty one, or no folder at `root`.
        """
        options = self._options
        if options.list is None:
            command = f"python -m bench data agedb400 --root {options.root} --out agedb400.csv"
            raise UserError(f"agedb needs a list: make one with `{command}` and give it as dataset.list=agedb400.csv")
        listed = read_list(options.list)
        if not (listed["role"] == "target").any():
            listed = with_targets(root_folder(options.root), listed, options.targets)
        return look(options.root, first_items(listed, options.limit))


def with_targets(root: Path, listed: pd.DataFrame, count: int) -> pd.DataFrame:
    """Add to each subject of a list at most `count` other photos: the nearest in age first, then by number."""
    ages = _reference_ages(listed)
    taken = set(listed["image"])
    found: dict[str, list[tuple[int, int, str, Name]]] = {person: [] for person in ages}
    for image, name in _named(root):
        if image not in taken and name.person in found:
            gap = min(abs(name.age - age) for age in ages[name.person])
            found[name.person].append((gap, name.number, image, name))
    nearest = [row for rows in found.values() for row in sorted(rows)[:count]]
    targets = listing([{**_row("", "target", image, name), "age_gap": str(gap)} for gap, _, image, name in nearest])
    return pd.concat([listed, targets], ignore_index=True).fillna("")


def _reference_ages(listed: pd.DataFrame) -> dict[str, list[int]]:
    ages: dict[str, list[int]] = {}
    for image, subject in zip(listed["image"], listed["subject"], strict=True):
        name = parse(image.rpartition("/")[2])
        if name is not None:
            ages.setdefault(subject, []).append(name.age)
    return ages


def _named(root: Path) -> Iterator[tuple[str, Name]]:
    for image in images_in(root):
        name = parse(image)
        if name is not None:
            yield image, name


def _row(item: str, role: str, image: str, name: Name) -> dict[str, str]:
    groups = {"gender": {"m": "male", "f": "female"}[name.gender], "age": str(name.age)}
    return {"item": item, "subject": name.person, "role": role, "image": image, **groups}


def agedb400(
    root: Path,
    count_faces: Callable[[Image], int] | None = None,
    *,
    count: int = 400,
    one_per_subject: bool = False,
    min_age: int = 0,
) -> Listing:
    """Return the deterministic list of the largest photos.

    In the order of (shorter side, descending; area, descending; number in the name, ascending) the first `count`
    photos that can be decoded and show exactly one face.

    Args:
        root: the folder of AgeDB's photos.
        count_faces: number of faces in a (H, W, 3) uint8 RGB image, by a detector whose name and threshold belong
            next to the list; None leaves the condition out.
        count: how many.
        one_per_subject: takes each person once only.
        min_age: leaves out photos at a younger age (the paper doesn't; 18 keeps to adults).

    Raises:
        UserError: no folder at `root`, or fewer than `count` photos that fit.
    """
    root = root_folder(root)
    chosen = dict[str, Name]()
    remarks = [(image, "not named {id}_{Name}_{age}_{m|f}") for image in images_in(root) if not parse(image)]
    for image, name in _by_size(root, min_age, remarks):
        if len(chosen) == count:
            break
        if one_per_subject and name.person in {other.person for other in chosen.values()}:
            continue
        fault = _fault(root / image, count_faces)
        if fault:
            remarks.append((image, fault))
        else:
            chosen[image] = name
    if len(chosen) < count:
        raise UserError(f"{root} has {len(chosen)} photos that fit, not {count}; --count {len(chosen)} lists those")
    rows = [_row(os.path.splitext(image)[0], "reference", image, name) for image, name in chosen.items()]
    return Listing(look(root, listing(rows)), remarks_of(remarks))


def _by_size(root: Path, min_age: int, remarks: list[tuple[str, str]]) -> list[tuple[str, Name]]:
    """Return the photos in the order of the rule; those without a readable header become remarks."""
    order = []
    for image, name in _named(root):
        if name.age >= min_age:
            try:
                width, height = image_size(root / image)
                order.append((-min(width, height), -width * height, name.number, image, name))
            except ImageError as error:
                remarks.append((image, error.reason))
    return [(image, name) for *_, image, name in sorted(order)]


def _fault(path: Path, count_faces: Callable[[Image], int] | None) -> str:
    try:
        image = read_image(path)
    except ImageError as error:
        return error.reason
    faces = 1 if count_faces is None else count_faces(image)
    return "" if faces == 1 else f"{faces} faces"
