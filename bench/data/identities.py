"""Sampled people: items without a photo, each a vector of `python -m bench identities sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from bench.data.photos import PhotoStatus, first_items, keys, listing
from bench.hashing import sha256_bytes
from bench.identities.people import Identities, person_name
from bench.identity import IDENTITY, RECORDED, Spec

NO_PHOTO = "a sampled person has no photo"


class PeopleOptions(Spec):
    """Where the people lie; they enter identities by content.

    Attributes:
        root: folder of the people (`python -m bench identities sample`).
        limit: number of people, the first ones; None: all.
        redistributable: whether images of them may be shown to others.
        licence: of the vectors.
    """

    root: Annotated[Path, RECORDED]
    limit: Annotated[int | None, IDENTITY, Field(ge=1)] = None
    redistributable: Annotated[bool, RECORDED] = True
    licence: Annotated[str, RECORDED] = "sampled people, who do not exist"


class SampledPeople:
    """Each person is an item; metrics that compare with a reference have nothing to compare with."""

    Options: ClassVar[type[Spec]] = PeopleOptions

    def __init__(self, options: PeopleOptions) -> None:
        self._options = options

    def photos(self) -> pd.DataFrame:
        """Return the table of photos (`bench.data.photos`): a row per person, with the status "absent".

        Raises:
            UserError: there are no people at `root`.
        """
        people = Identities(self._options.root)
        names = [person_name(number) for number in range(len(people))]
        listed = listing([{"item": name, "subject": name, "role": "reference", "image": name} for name in names])
        listed = first_items(listed, self._options.limit)
        vectors = [sha256_bytes(people.centre(number).astype(np.float32).tobytes()) for number in range(len(listed))]
        table = listed[["item", "subject", "role", "image"]].assign(
            listed_subject=listed["subject"], path="", sha256=vectors, width=0, height=0, reason=NO_PHOTO
        )
        return table.assign(status=str(PhotoStatus.ABSENT), key=keys(list(listed["item"])))
