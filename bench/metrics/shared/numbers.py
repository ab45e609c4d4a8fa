"""Networks that answer one number for an image: the samples' numbers, and the same of the references."""

from __future__ import annotations

import numpy as np

from bench.metrics.functional.arrays import Floats
from bench.metrics.protocol import Evaluation, Number, Score
from bench.metrics.shared.eligibility import Eligibility, eligibility_of, finite, subjects, usable_references
from bench.metrics.shared.scores import mean_score


def sample_numbers(evaluation: Evaluation, variant: str, needs_face: bool = True) -> tuple[Floats, Eligibility]:
    """Return the (n_samples,) number of each valid sample (else NaN), and which samples count."""
    features = evaluation.features[variant]
    eligibility = eligibility_of(evaluation, features, needs_face=needs_face)
    return np.where(eligibility.valid, features.samples[:, 0].astype(np.float64), np.nan), eligibility


def reference_numbers(evaluation: Evaluation, variant: str) -> Floats:
    """Return the numbers of the usable references, in their order."""
    features = evaluation.features[variant]
    return features.references[usable_references(evaluation, features), 0].astype(np.float64)


def real_level(evaluation: Evaluation, number: Number) -> Score:
    """Return the mean of the references' numbers, with its interval: what photographs of these people score."""
    features = evaluation.features[number.variant]
    people = subjects(evaluation.references)[usable_references(evaluation, features, finite)]
    values = reference_numbers(evaluation, number.variant)
    return mean_score(number, values, people, evaluation.seed, empty="no usable reference", n_items=len(values))
