"""Which samples count: each is valid, failed, unavailable or ineligible, for one feature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Mask, Rows
from bench.metrics.functional.cosine import blocks
from bench.metrics.protocol import Evaluation, Features
from bench.metrics.shared.cache import cached
from bench.status import SampleStatus

Test = Callable[[NDArray[Any]], Mask]


def finite(matrix: NDArray[Any]) -> Mask:
    """(n,) rows without a NaN or an infinity.

    >>> finite(np.array([[1.0, 2.0], [np.nan, 0.0], [np.inf, -np.inf]]))
    array([ True, False, False])
    """
    found = np.empty(len(matrix), dtype=bool)
    with np.errstate(invalid="ignore"):
        for part in blocks(len(matrix)):
            found[part] = np.isfinite(matrix[part].sum(axis=1, dtype=np.float64))
    return found


def nonzero(matrix: NDArray[Any]) -> Mask:
    """(n,) finite rows that are not all zeros: those that have a cosine.

    >>> nonzero(np.array([[1.0, 2.0], [0.0, 0.0], [np.nan, 1.0]]))
    array([ True, False, False])
    """
    found = np.empty(len(matrix), dtype=bool)
    for part in blocks(len(matrix)):
        rows = matrix[part]
        found[part] = finite(rows) & rows.any(axis=1)
    return found


def has_feature(matrix: NDArray[Any]) -> Mask:
    """(n,) rows that are a feature: a finite number, or a vector that has a direction.

    >>> has_feature(np.array([[0.0], [np.nan]])).tolist(), has_feature(np.zeros((1, 2))).tolist()
    ([True, False], [False])
    """
    return feature_test(matrix)(matrix)


def feature_test(matrix: NDArray[Any]) -> Test:
    """Return the test that a row which is a feature passes, by the number of columns."""
    return finite if matrix.shape[1] == 1 else nonzero


def usable_samples(features: Features, usable: Test) -> Mask:
    """(n_samples,) samples whose feature passes a test; it may be on a disk, and is read once for both tests."""
    known = _tested(features)
    return known[usable] if usable in known else usable(features.samples)


@cached
def _tested(features: Features) -> dict[Test, Mask]:
    found: dict[Test, Mask] = {test: np.empty(len(features.samples), dtype=bool) for test in (finite, nonzero)}
    for part in blocks(len(features.samples)):
        rows = features.samples[part]
        for test, mask in found.items():
            mask[part] = test(rows)
    return found


def has_image(status: NDArray[np.object_], needs_face: bool) -> Mask:
    """(n,) statuses of samples that a feature can be read of: with a face, or of any image where no face is needed."""
    found = status == SampleStatus.OK
    return np.asarray(found if needs_face else found | (status == SampleStatus.NO_FACE), dtype=bool)


@dataclass(frozen=True, eq=False)
class Eligibility:
    """How each sample enters a metric (the design's rule on failures). The four masks are disjoint and cover all.

    Attributes:
        item: (n_samples,) row of `Evaluation.references`; -1 for a sample whose item is not among them.
        valid: the sample has a face and the feature.
        failed: its reference is usable, but the method made nothing, or nothing with a face, or the feature is missing.
        unavailable: a control that has no image to show.
        ineligible: its reference has no face (or no feature, where the metric compares with it).
        ineligible_items: number of such references.
        note: what the numbers don't show, for `Score.note`.
    """

    item: Rows
    valid: Mask
    failed: Mask
    unavailable: Mask
    ineligible: Mask
    ineligible_items: int
    note: str = ""

    @property
    def trial(self) -> Mask:
        """(n_samples,) valid or failed: the trials of a rate."""
        return self.valid | self.failed

    def among(self, kept: Mask) -> Eligibility:
        """Return the same with the samples outside `kept`, (n_samples,), made ineligible."""
        return replace(
            self,
            valid=self.valid & kept,
            failed=self.failed & kept,
            unavailable=self.unavailable & kept,
            ineligible=self.ineligible | ~kept,
        )

    def counts(self) -> dict[str, Any]:
        """Return `n_failed` and `n_unavailable` of a score."""
        return {"n_failed": int(self.failed.sum()), "n_unavailable": int(self.unavailable.sum())}


def eligibility_of(
    evaluation: Evaluation,
    features: Features | None = None,
    *,
    against_reference: bool = False,
    usable: Test = finite,
    needs_face: bool = True,
) -> Eligibility:
    """Sort the samples into valid, failed, unavailable and ineligible.

    Args:
        evaluation: its tables.
        features: where given, a sample with a face but without a usable feature has failed.
        against_reference: the metric compares a sample with its own reference; references without a usable
            feature are then ineligible too.
        usable: which rows of a feature matrix are: `finite`, or `nonzero` for cosines.
        needs_face: whether a sample without a face has failed; not so where the feature is of the whole image.
    """
    good = usable_references(evaluation, features if against_reference else None, usable)
    samples = evaluation.samples
    item, status = item_rows(evaluation), samples["status"].to_numpy(dtype=object)
    ineligible = (item < 0) | (status == SampleStatus.REFERENCE_FAILED) | ~np.append(good, False)[item]
    unavailable = ~ineligible & (status == SampleStatus.UNAVAILABLE)
    found = ~ineligible & has_image(status, needs_face)
    valid = found if features is None else found & usable_samples(features, usable)
    lost = int((found & ~valid).sum())
    shown = "a face" if needs_face else "an image"
    note = f"{lost} samples with {shown} but without this feature count as failed" if lost else ""
    failed = ~(valid | unavailable | ineligible)
    return Eligibility(item, valid, failed, unavailable, ineligible, int((~good).sum()), note)


def usable_references(evaluation: Evaluation, features: Features | None = None, usable: Test = finite) -> Mask:
    """(n_items,) references with a face and, where `features` is given, with a usable feature.

    A person without a photo does not count as a failed reference: a metric that compares with nothing counts the item.
    """
    ok = shown_or_absent(evaluation.references)
    return ok if features is None else ok & usable(features.references)


def shown_or_absent(references: pd.DataFrame) -> Mask:
    """(n_items,) references with a face, or of people who have no photo."""
    return references["status"].isin([SampleStatus.OK, SampleStatus.UNAVAILABLE]).to_numpy(dtype=bool)


def item_rows(evaluation: Evaluation) -> Rows:
    """(n_samples,) row of each sample's item in `Evaluation.references`; -1 where there is none."""
    names = evaluation.references["item"]
    first = np.flatnonzero(~names.duplicated())
    places = pd.Index(names.iloc[first]).get_indexer(pd.Index(evaluation.samples["item"]))
    return np.append(first, -1)[places]


@cached
def people(evaluation: Evaluation) -> Rows:
    """(n_samples,) number of each sample's subject: what makes clusters, and is faster than names."""
    return np.asarray(pd.factorize(subjects(evaluation.samples))[0], dtype=np.int64)


def subjects(frame: pd.DataFrame) -> NDArray[Any]:
    """(n,) the subject of each row, as objects."""
    return frame["subject"].to_numpy(dtype=object)
