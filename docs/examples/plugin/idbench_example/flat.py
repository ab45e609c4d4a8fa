"""Dataset `flat`: one folder of images whose names say who they show, and in which light."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd

from bench.data.photos import images_in, listing, look, root_folder
from bench.errors import UserError
from bench.identity import RECORDED, Spec


class FlatOptions(Spec):
    """Where the images are, and what may be done with them.

    Attributes:
        root: the folder.
        redistributable: whether its images may be shown to others.
        licence: of the images.
    """

    root: Annotated[Path, RECORDED]
    redistributable: Annotated[bool, RECORDED] = False
    licence: Annotated[str, RECORDED] = "unknown"


class Flat:
    """The first image of a person is the reference, the others are targets; the light is a group."""

    Options = FlatOptions

    def __init__(self, options: FlatOptions) -> None:
        self._root = options.root

    def photos(self) -> pd.DataFrame:
        """Return the table of photos (`bench.data.photos`).

        Raises:
            UserError: no folder, or an image that is not called person_light_number.
        """
        rows: list[dict[str, str]] = []
        people: set[str] = set()
        for image in images_in(root_folder(self._root)):
            words = image.split("_")
            if len(words) != 3:
                raise UserError(f"{self._root / image}: call it person_light_number, for example anna_day_1.png")
            person, light, _ = words
            is_reference = person not in people
            people.add(person)
            rows.append(
                {
                    "item": person if is_reference else "",
                    "subject": person,
                    "role": "reference" if is_reference else "target",
                    "image": image,
                    "light": light,
                }
            )
        return look(self._root, listing(rows))
