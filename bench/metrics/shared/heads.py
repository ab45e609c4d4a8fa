"""Networks of head pose: those whose features are rotations, and the turn of each sample's head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.rotation import DIMENSION, turn_bins, yaw_degrees
from bench.metrics.protocol import Evaluation, Features
from bench.metrics.shared.eligibility import finite

NONE = "no network was run that answers with the rotation of a head"


def heads(evaluation: Evaluation) -> list[str]:
    """Return the extractors of head pose whose features are rotation matrices, or that have no feature at all."""
    names = evaluation.of_role("head_pose", evaluation.features)
    return [name for name in names if is_rotation(part := evaluation.features[name]) or not finite(part.samples).any()]


def is_rotation(features: Features) -> bool:
    """Return whether features have the length of a rotation matrix."""
    return features.samples.shape[1] == DIMENSION


def yaw_bins(features: Features, edges: Sequence[float]) -> NDArray[np.int64]:
    """Return the bin (n_samples,) of each sample by how far its head is turned to either side; -1 without a pose."""
    if not is_rotation(features):
        return np.full(len(features.samples), -1)
    return turn_bins(yaw_degrees(features.samples), edges)
