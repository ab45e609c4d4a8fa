"""What an extractor promises: one row per crop, which does not see its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from bench.extractors.protocol import Distance, ReadsKeypoints, columns_of, distance_of
from bench.faces.views import View, view_read_by
from bench.identity import Mark, mark_of
from bench.testing.images import KEYPOINTS, photo
from bench.testing.parts import (
    PartUnderTest,
    declares_its_options,
    has_a_version,
    imports_nothing_heavy,
    names_a_missing_file,
)

Crops = Callable[..., NDArray[Any]]
"""Names -> (n, S, S, 3) crops, one for each name."""
ROUNDING = 1e-6
"""A distance of an image to itself is at most this."""


def extractor_contract(
    extractor: Any, values: Mapping[str, Any], side: int | None = None
) -> dict[str, Callable[[], None]]:
    """Return what an extractor promises: words -> function that raises AssertionError where the promise is broken.

    Args:
        extractor: the class.
        values: of its options: those without a default.
        side: of the crops in pixels, for a network that takes any size; None: the view's.
    """
    tested = PartUnderTest(extractor, values)
    crops = partial(crops_of, tested, side)
    declarations = (
        declares_its_options,
        imports_nothing_heavy,
        names_a_missing_file,
        has_a_version,
        declares_what_it_is,
    )
    of_features = (answers_a_row_for_each_crop, rows_do_not_see_each_other, repeats_itself_and_leaves_crops_alone)
    of_pairs = (answers_a_distance_for_each_pair, pairs_do_not_see_the_other_crops)
    checks: dict[str, Callable[[], None]] = {one.__name__: partial(one, tested) for one in declarations}
    answers = of_pairs if extractor.pairwise else of_features
    return checks | {one.__name__: partial(one, tested, crops) for one in answers}


def view_of(tested: PartUnderTest) -> View:
    """Return the view that an extractor reads."""
    return view_read_by(tested.part.__name__, str(tested.options.view))


def crops_of(tested: PartUnderTest, side: int | None, *names: str) -> NDArray[Any]:
    """Return (n, S, S, 3) crops of the type that the extractor's view has, one for each name."""
    view = view_of(tested)
    pixels = np.stack([photo(name, side or view.side) for name in names])
    return pixels if view.dtype is np.uint8 else (pixels / np.float32(255)).astype(view.dtype)


def declares_what_it_is(tested: PartUnderTest) -> None:
    """Assert that role, kind of answer, view, batch and distance are declared."""
    options = tested.part.Options
    assert isinstance(tested.part.role, str)
    assert tested.part.role, "role says what metrics ask for"
    assert tested.part.pairwise in (True, False)
    assert view_of(tested).name == tested.options.view
    assert mark_of(options, "batch") is Mark.RECORDED
    assert mark_of(options, "view") is Mark.IDENTITY
    assert tested.options.batch >= 1
    assert distance_of(tested.part) in get_args(Distance)
    assert all(columns_of(tested.part).values())


def answers_a_row_for_each_crop(tested: PartUnderTest, crops: Crops) -> None:
    """Assert that the answer is finite columns with a row per crop, and that equal crops have equal features."""
    answer = columns(tested, crops("ann", "bob", "ann"))
    feature = next(iter(columns_of(tested.made)))
    assert feature in answer, f"the answer has no column {feature!r}"
    for name, values in answer.items():
        assert len(values) == 3, f"{name} has a row for each crop"
        assert np.issubdtype(values.dtype, np.floating), name
        assert np.isfinite(values).all(), name
    np.testing.assert_array_equal(answer[feature][0], answer[feature][2])
    assert not np.array_equal(answer[feature][0], answer[feature][1]), "two images have the same feature"


def rows_do_not_see_each_other(tested: PartUnderTest, crops: Crops) -> None:
    """Assert that neither the place in a batch nor a neighbour changes a row: the last batch is padded with zeros."""
    shown = crops("ann", "bob", "cleo")
    first = rows(tested, shown[:2])
    moved = rows(tested, shown[[2, 0]])
    padded = rows(tested, np.stack([shown[1], np.zeros_like(shown[1])]))
    np.testing.assert_array_equal(moved[1], first[0])
    np.testing.assert_array_equal(padded[0], first[1])


def repeats_itself_and_leaves_crops_alone(tested: PartUnderTest, crops: Crops) -> None:
    """Assert that the same crops give the same answer, and are not written to."""
    shown = crops("ann", "bob")
    before = shown.copy()
    np.testing.assert_array_equal(rows(tested, shown), rows(tested, shown))
    np.testing.assert_array_equal(shown, before)


def answers_a_distance_for_each_pair(tested: PartUnderTest, crops: Crops) -> None:
    """Assert that distances are finite and symmetric, none between equal crops, and that crops are not written to."""
    shown = crops("ann", "bob", "ann")
    before = shown.copy()
    found = np.asarray(tested.made.distances(shown))
    assert found.shape == (3, 3)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, found.T)
    assert abs(found[0, 2]) <= ROUNDING
    assert found[0, 1] > found[0, 2]
    np.testing.assert_array_equal(shown, before)


def pairs_do_not_see_the_other_crops(tested: PartUnderTest, crops: Crops) -> None:
    """Assert that neither its place nor another crop of the item changes the distance of a pair."""
    shown = crops("ann", "bob", "cleo", "dora")
    expected = np.asarray(tested.made.distances(shown[:3]))[0, 1]
    assert np.asarray(tested.made.distances(shown[[1, 3, 0]]))[2, 0] == expected


def columns(tested: PartUnderTest, crops: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
    """Return the answer of an extractor of features."""
    if isinstance(tested.made, ReadsKeypoints):
        points = np.tile(np.array(KEYPOINTS) * crops.shape[1], (len(crops), 1, 1))
        return tested.made.embed(crops, points)
    answer: Mapping[str, NDArray[Any]] = tested.made.extract(crops)
    return answer


def rows(tested: PartUnderTest, crops: NDArray[Any]) -> NDArray[Any]:
    """Return one row of numbers per crop, of all columns."""
    return np.column_stack([np.asarray(values) for values in columns(tested, crops).values()])
