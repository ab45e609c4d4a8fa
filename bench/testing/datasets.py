"""What a dataset promises: the table of its photos, the same each time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bench.data.photos import PHOTO_COLUMNS, ROLES, PhotoStatus, content_id
from bench.hashing import sha256_bytes
from bench.testing.parts import PartUnderTest, declares_its_options, imports_nothing_heavy, made_by_options

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a file may be called everywhere."""


def dataset_contract(dataset: Any, values: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
    """Return what a dataset promises: words -> function that raises AssertionError where the promise is broken.

    Args:
        dataset: the class.
        values: of its options: those without a default, such as the place of some photos.
    """
    tested = PartUnderTest(dataset, values, load=made_by_options)
    promises = (
        declares_its_options,
        imports_nothing_heavy,
        declares_what_may_be_shown,
        names_every_item_once,
        describes_files_as_they_are,
        gives_the_same_table_again,
    )
    return {one.__name__: partial(one, tested) for one in promises}


def photos_of(tested: PartUnderTest) -> pd.DataFrame:
    """Return the table of photos."""
    found: pd.DataFrame = tested.made.photos()
    return found


def declares_what_may_be_shown(tested: PartUnderTest) -> None:
    """Assert that options say whether its images may be shown to others, and under which licence they are."""
    assert isinstance(tested.options.redistributable, bool), "pages and bundles ask `redistributable`"
    assert isinstance(tested.options.licence, str)


def names_every_item_once(tested: PartUnderTest) -> None:
    """Assert the columns, and that each reference is an item with a name and a key of its own."""
    photos = photos_of(tested)
    assert [column for column in PHOTO_COLUMNS if column not in photos] == []
    assert set(photos["role"]) <= set(ROLES)
    is_reference = photos["role"] == "reference"
    assert is_reference.any(), "a dataset has at least one reference"
    for column in ("item", "key"):
        names = photos.loc[is_reference, column]
        assert names.is_unique, column
        assert (names != "").all(), column
        assert (photos.loc[~is_reference, column] == "").all(), f"a target has no {column}"
    keys = photos.loc[is_reference, "key"]
    assert [key for key in keys if not KEY.fullmatch(key)] == [], "bench.data.photos.keys makes keys"
    assert (photos["subject"] != "").all()


def describes_files_as_they_are(tested: PartUnderTest) -> None:
    """Assert that a photo that can be used is a file with the sha256 that the table says, and others have a reason."""
    for row in photos_of(tested).to_dict("records"):
        assert row["status"] in set(PhotoStatus)
        if row["status"] == PhotoStatus.OK:
            path = Path(row["path"])
            assert path.is_absolute()
            assert sha256_bytes(path.read_bytes()) == row["sha256"], path
            assert row["width"] > 0
            assert row["height"] > 0
        else:
            assert row["reason"], f"{row['image']} is {row['status']}: say why"


def gives_the_same_table_again(tested: PartUnderTest) -> None:
    """Assert that the dataset, made again, gives the same rows in the same order."""
    again = tested.make().photos()
    pd.testing.assert_frame_equal(photos_of(tested), again)
    assert content_id(photos_of(tested)) == content_id(again)
