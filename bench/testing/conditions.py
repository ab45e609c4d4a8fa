"""What a source of conditions promises: a table that a run can be made from, the same each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.conditions.kinds import ConditionKind
from bench.conditions.planned import FIXED, Known, planned
from bench.conditions.protocol import Inputs
from bench.testing.images import PEOPLE
from bench.testing.parts import (
    PartUnderTest,
    declares_its_options,
    has_a_version,
    imports_nothing_heavy,
    made_by_options,
)

REFERENCES = 3
"""Photos of each person that a sample may be made from."""
EMBEDDING = 512
PROMPTS = {"neutral": "photo of a person"}


def conditions_contract(source: Any, values: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
    """Return what a source of conditions promises: words -> function that raises AssertionError where it is broken.

    Args:
        source: the class.
        values: of its options: those without a default. A table of rows has one for each item: ann, bob and cleo.
    """
    tested = PartUnderTest(source, values, load=made_by_options)
    promises = (
        declares_its_options,
        imports_nothing_heavy,
        has_a_version,
        gives_a_table_that_a_run_takes,
        answers_for_people_without_a_face,
        names_other_items_in_columns_that_say_so,
        gives_the_same_table_again,
        leaves_its_inputs_alone,
    )
    return {one.__name__: partial(one, tested) for one in promises}


def inputs(faceless: str = "") -> Inputs:
    """Return what a source may read of a run of three people who do not exist.

    Args:
        faceless: a person in whose photos no face is found; "": nobody.
    """
    photos = {name: tuple(f"{name}/{number}.png" for number in range(REFERENCES)) for name in PEOPLE}
    rng = np.random.default_rng(3)
    vectors = {
        photo: rng.standard_normal(EMBEDDING, dtype=np.float32)
        for name, names in photos.items()
        for photo in names
        if name != faceless
    }

    def embeddings(recogniser: str) -> Mapping[str, NDArray[np.float32]]:
        return {photo: vector.copy() for photo, vector in vectors.items()}

    rows = [(name, name, names[0]) for name, names in photos.items()]
    items = pd.DataFrame(rows, columns=["item", "subject", "image"])
    return Inputs(items, photos, samples_per_item=2, prompts=PROMPTS, seed=5, embeddings=embeddings)


def _table(tested: PartUnderTest, given: Inputs) -> pd.DataFrame:
    """Return the table as a run keeps it.

    Raises:
        UserError: a run would refuse it.
    """
    photos = [photo for names in given.references.values() for photo in names]
    return planned(tested.make().table(given), Known(given.items, photos, list(given.prompts))).table


def gives_a_table_that_a_run_takes(tested: PartUnderTest) -> None:
    """Assert that the rows name items, prompts and photos of the run, and that cells hold what their kinds want."""
    given = inputs()
    assert set(_table(tested, given)["item"]) == set(given.items["item"])


def answers_for_people_without_a_face(tested: PartUnderTest) -> None:
    """Assert that an item has its rows where no face is found in its photos: its samples fail, and are counted."""
    found = _table(tested, inputs(faceless=PEOPLE[-1]))
    assert set(found["item"]) == set(PEOPLE)


def names_other_items_in_columns_that_say_so(tested: PartUnderTest) -> None:
    """Assert that a column with the name of another item ends in `_item`: it may name a person."""
    found = _table(tested, inputs())
    for column in found.columns.difference([*FIXED, *ConditionKind]):
        assert str(column).endswith("_item") or not set(PEOPLE) & set(found[column]), f"call it {column}_item"


def gives_the_same_table_again(tested: PartUnderTest) -> None:
    """Assert that the source, made again, gives the same rows: a run that is resumed makes its table again."""
    pd.testing.assert_frame_equal(_table(tested, inputs()), _table(tested, inputs()))


def leaves_its_inputs_alone(tested: PartUnderTest) -> None:
    """Assert that the source does not write into the table of items: the plan goes on with it."""
    given = inputs()
    before = given.items.copy()
    tested.make().table(given)
    pd.testing.assert_frame_equal(given.items, before)
