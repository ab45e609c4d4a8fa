"""Numbers from the rows of a bundle: which samples count, and the means that several metrics share.

Nothing is taken from the stated numbers: which samples count follows from their statuses, a blank where a number must
be is a contradiction, and every item must be there. So a bundle cannot gain by leaving rows or numbers out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats, Mask, Rows
from bench.metrics.protocol import Contradiction, Number, Recomputed, Score, Tables
from bench.metrics.shared.eligibility import Eligibility, has_image, item_rows, shown_or_absent
from bench.metrics.shared.sample_means import mean_over_samples
from bench.metrics.shared.scores import mean_score
from bench.status import SampleStatus

ALL = ("value", "low", "high", "n", "n_failed", "n_unavailable")
"""Fields of a score that the rows decide where they hold every sample."""
LEAST = 2
"""Good samples of an item without which it has no pair."""


def eligibility_from(
    tables: Tables, network: str, *, against_reference: bool = False, needs_face: bool = True
) -> Eligibility:
    """Sort the samples of a bundle as `eligibility_of` does with features.

    Args:
        tables: of the bundle.
        network: name of the extractor.
        against_reference: the metric compares a sample with its own reference.
        needs_face: whether a sample without a face has failed.

    Raises:
        Contradiction: the bundle says nothing about this network.
    """
    evaluation = tables.evaluation
    good = shown_or_absent(evaluation.references)
    if network not in evaluation.statuses or (network not in tables.usable and against_reference):
        raise Contradiction(f"it does not say which samples {network} could read")
    if against_reference:
        good = good & tables.usable[network]
    item = item_rows(evaluation)
    status = evaluation.samples["status"].to_numpy(dtype=object)
    ineligible = (item < 0) | (status == SampleStatus.REFERENCE_FAILED) | ~np.append(good, False)[item]
    unavailable = ~ineligible & (status == SampleStatus.UNAVAILABLE)
    read = evaluation.statuses[network] == SampleStatus.OK
    valid = ~ineligible & has_image(status, needs_face) & read
    failed = ~(valid | unavailable | ineligible)
    return Eligibility(item, valid, failed, unavailable, ineligible, int((~good).sum()))


def values_of(tables: Tables, column: str, eligibility: Eligibility) -> Floats:
    """Return the numbers per sample of a column: one for each valid sample, and none for any other.

    Raises:
        Contradiction: the column is missing, a valid sample has no number, or another one has.
    """
    values = tables.samples.get(column)
    if values is None:
        raise Contradiction(f"samples.csv has no column {column}, which the numbers need")
    number = np.isfinite(values)
    where = np.flatnonzero(number != eligibility.valid)
    if len(where):
        sample = tables.evaluation.samples.iloc[int(where[0])]
        found = "has a number, but does not count" if number[where[0]] else "counts, but has no number"
        raise Contradiction(f"{column}: sample {sample['index']} of {sample['item']} {found}")
    return values


def sample_means(
    tables: Tables,
    network: str,
    *,
    against_reference: bool = True,
    needs_face: bool = True,
    statistic: str = "mean_detected",
) -> Recomputed:
    """Compute the mean again from the numbers per sample; arguments as `eligibility_from`.

    Raises:
        Contradiction: see `values_of`.
    """
    eligibility = eligibility_from(tables, network, against_reference=against_reference, needs_face=needs_face)
    values = values_of(tables, tables.column, eligibility)
    score, items = mean_over_samples(tables.evaluation, eligibility, values, tables.metric, tables.variant, statistic)
    return Recomputed([score], ALL, items)


def item_means(tables: Tables) -> Recomputed:
    """Compute `mean_items` again from the means that each item has; the distances behind them are not in a bundle.

    Raises:
        Contradiction: an item with two good samples has no number, or one without them has.
    """
    network = tables.variant
    eligibility = eligibility_from(tables, network)
    pairable = _pairable(eligibility, len(tables.evaluation.references))
    scores: list[Score] = []
    for number in tables.scores:
        if number.level or number.subset or number.group or not number.statistic.endswith("mean_items"):
            continue
        rows = _rows_of(tables, number)
        if rows is not None:
            scores.append(_item_mean(tables, number, rows, pairable))
    return Recomputed(scores, ("value", "low", "high", "n_items"))


def _pairable(eligibility: Eligibility, size: int) -> Mask:
    """Return which items have enough good samples for a pair."""
    number: Rows = np.bincount(eligibility.item[eligibility.valid], minlength=size)
    return number >= LEAST


def _rows_of(tables: Tables, number: Number) -> pd.DataFrame | None:
    """Return the rows per item of a number; None for a statistic that has none (the foreground of LPIPS)."""
    rows = tables.items[tables.items["statistic"] == number.statistic]
    return rows if len(rows) or number.statistic == "mean_items" else None


def _item_mean(tables: Tables, number: Number, rows: pd.DataFrame, pairable: Mask) -> Score:
    values = dict(zip(rows["item"], rows["value"].to_numpy(dtype=float), strict=True))
    references = tables.evaluation.references
    means = np.array([values.get(item, np.nan) for item in references["item"]], dtype=float)
    wrong = np.flatnonzero(np.isfinite(means) != pairable)
    if len(wrong):
        found = "has no number" if pairable[wrong[0]] else "has a number"
        count = "enough" if pairable[wrong[0]] else "too few"
        raise Contradiction(f"{number}: {references['item'].iloc[int(wrong[0])]} has {count} good samples and {found}")
    people = references["subject"].to_numpy(dtype=object)[pairable]
    seed = tables.evaluation.seed
    return mean_score(number, means[pairable], people, seed, empty="none", n_items=int(pairable.sum()))
