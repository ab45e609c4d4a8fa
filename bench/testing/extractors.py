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
from bench.testing.parts import PartUnderTest, declares_its_options, imports_nothing_heavy, names_a_missing_file

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
    tested = ExtractorUnderTest(extractor, values, side)
    promises = (
        declares_its_options,
        imports_nothing_heavy,
        names_a_missing_file,
        declares_what_it_is,
        answers_a_row_for_each_crop,
        rows_do_not_see_each_other,
        repeats_itself_and_leaves_crops_alone,
    )
    return {one.__name__: partial(one, tested) for one in promises}


class ExtractorUnderTest(PartUnderTest):
    """An extractor with crops of the view that it reads."""

    def __init__(self, part: Any, values: Mapping[str, Any], side: int | None) -> None:
        super().__init__(part, values)
        self._side = side

    @property
    def view(self) -> View:
        """The view that it reads."""
        return view_read_by(self.part.__name__, str(self.options.view))

    def crops(self, *names: str) -> NDArray[Any]:
        """Return (n, S, S, 3) crops of the view's type, one for each name."""
        pixels = np.stack([photo(name, self._side or self.view.side) for name in names])
        return pixels if self.view.dtype is np.uint8 else (pixels / np.float32(255)).astype(self.view.dtype)


def declares_what_it_is(tested: ExtractorUnderTest) -> None:
    """Assert that role, kind of answer, view, batch and distance are declared."""
    options = tested.part.Options
    assert isinstance(tested.part.role, str)
    assert tested.part.role, "role says what metrics ask for"
    assert tested.part.pairwise in (True, False)
    assert tested.view.name == tested.options.view
    assert mark_of(options, "batch") is Mark.RECORDED
    assert mark_of(options, "view") is Mark.IDENTITY
    assert tested.options.batch >= 1
    assert distance_of(tested.part) in get_args(Distance)
    assert all(columns_of(tested.part).values())


def answers_a_row_for_each_crop(tested: ExtractorUnderTest) -> None:
    """Assert the shape of the answer: columns with a row per crop, or symmetric distances with zeros between equals."""
    crops = tested.crops("ann", "bob", "ann")
    if tested.part.pairwise:
        found = np.asarray(tested.made.distances(crops))
        assert found.shape == (3, 3)
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, found.T)
        assert abs(found[0, 2]) <= ROUNDING
        assert found[0, 1] > found[0, 2]
        return
    answer = columns(tested, crops)
    feature = next(iter(columns_of(tested.made)))
    assert feature in answer, f"the answer has no column {feature!r}"
    for name, values in answer.items():
        assert len(values) == 3, f"{name} has a row for each crop"
        assert np.issubdtype(values.dtype, np.floating), name
        assert np.isfinite(values).all(), name
    np.testing.assert_array_equal(answer[feature][0], answer[feature][2])
    assert not np.array_equal(answer[feature][0], answer[feature][1]), "two images have the same feature"


def rows_do_not_see_each_other(tested: ExtractorUnderTest) -> None:
    """Assert that neither the place in a batch nor a neighbour changes a row: the last batch is padded with zeros."""
    crops = tested.crops("ann", "bob", "cleo")
    blank = np.zeros_like(crops[0])
    first = rows(tested, crops[:2])
    moved = rows(tested, crops[[2, 0]])
    padded = rows(tested, np.stack([crops[1], blank]))
    if tested.part.pairwise:
        np.testing.assert_array_equal(first[0, 1], rows(tested, crops[[1, 0]])[0, 1])
        return
    np.testing.assert_array_equal(moved[1], first[0])
    np.testing.assert_array_equal(padded[0], first[1])


def repeats_itself_and_leaves_crops_alone(tested: ExtractorUnderTest) -> None:
    """Assert that the same crops give the same answer, and are not written to."""
    crops = tested.crops("ann", "bob")
    before = crops.copy()
    np.testing.assert_array_equal(rows(tested, crops), rows(tested, crops))
    np.testing.assert_array_equal(crops, before)


def columns(tested: ExtractorUnderTest, crops: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
    """Return the answer of an extractor of features."""
    if isinstance(tested.made, ReadsKeypoints):
        points = np.tile(np.array(KEYPOINTS) * crops.shape[1], (len(crops), 1, 1))
        return tested.made.embed(crops, points)
    answer: Mapping[str, NDArray[Any]] = tested.made.extract(crops)
    return answer


def rows(tested: ExtractorUnderTest, crops: NDArray[Any]) -> NDArray[Any]:
    """Return one row of numbers per crop: its columns, or its distances."""
    if tested.part.pairwise:
        return np.asarray(tested.made.distances(crops))
    return np.column_stack([np.asarray(values) for values in columns(tested, crops).values()])
