"""The numbers of a metric over the samples of each prompt, next to those over all samples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Mask
from bench.metrics.protocol import Evaluation, Metric, Result
from bench.metrics.shared.scores import concat

PROMPT = "prompt_id"
"""The column by which these numbers are grouped."""


def with_prompts(metric: Metric, evaluation: Evaluation) -> Result:
    """Return a metric's result; where the samples have several prompts, also its numbers by prompt.

    A number by prompt is the metric's own over the samples of that prompt alone: distances between samples are within
    the prompt. Numbers that are grouped already are not grouped again.

    >>> from bench.metrics.id_similarity import METRIC
    >>> from bench.metrics.shared.example import example, numbers
    >>> given = example()
    >>> given = replace(given, samples=given.samples.assign(prompt_id=["hat", "beard", "hat", "beard"]))
    >>> [numbers(with_prompts(METRIC, given), "mean_detected", member=name) for name in ("", "hat", "beard")]
    [[0.8667], [1.0], [0.6]]
    """
    whole = metric.compute(evaluation)
    parts = {name: metric.compute(of_prompt(evaluation, name)) for name in prompts(evaluation)}
    scores = [
        replace(score, number=score.number._replace(group=PROMPT, member=name))
        for name, part in parts.items()
        for score in part.scores
        if not score.number.group
    ]
    items = [
        part.per_item[part.per_item["group"] == ""].assign(group=PROMPT, member=name)
        for name, part in parts.items()
        if part.per_item is not None
    ]
    own = [] if whole.per_item is None else [whole.per_item]
    return replace(whole, scores=(*whole.scores, *scores), per_item=concat([*own, *items]) if items else whole.per_item)


def prompts(evaluation: Evaluation) -> list[str]:
    """Return the ids of the samples' prompts, in the order of the samples; none where all have one prompt."""
    names = [] if PROMPT not in evaluation.samples else [str(name) for name in evaluation.samples[PROMPT].unique()]
    return names if len(names) > 1 else []


def of_prompt(evaluation: Evaluation, prompt: str) -> Evaluation:
    """Return the evaluation of one prompt's samples alone; references, targets and texts stay as they are."""
    rows = (evaluation.samples[PROMPT] == prompt).to_numpy(dtype=bool)
    samples = evaluation.samples[rows].reset_index(drop=True)
    keys = set(zip(samples["item"], samples["index"], strict=True))
    return replace(
        evaluation,
        samples=samples,
        features={name: replace(part, samples=part.samples[rows]) for name, part in evaluation.features.items()},
        pairs={name: table[_listed(table, keys, ("i", "j"))] for name, table in evaluation.pairs.items()},
        to_reference={name: table[_listed(table, keys, ("i",))] for name, table in evaluation.to_reference.items()},
        statuses={name: status[rows] for name, status in evaluation.statuses.items()},
    )


def _listed(table: pd.DataFrame, keys: Collection[tuple[Any, Any]], ends: tuple[str, ...]) -> Mask:
    """Return which rows of a distance table are about these samples alone."""
    found = np.ones(len(table), dtype=bool)
    for end in ends:
        found &= np.array([key in keys for key in zip(table["item"], table[end], strict=True)], dtype=bool)
    return found
