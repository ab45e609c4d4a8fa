"""Evaluations written out by hand, and their scores by name."""

import numpy as np
import pandas as pd

from bench.metrics.protocol import Evaluation, Features

OFFICIAL = {"arcface": 512, "adaface": 512, "flame": 56, "inception": 2048, "dinov2": 1024, "clip": 768}


def by_hand(samples, references, targets=(), role="net", pairs=None, **fields):
    """An evaluation from rows written out.

    samples: (item, index, status, vector or None); references: (item, subject, status, vector or None);
    targets: (subject, status, vector or None). The vectors become the features of `role`.
    """
    owner = {item: subject for item, subject, *_ in references}
    size = next(len(row[-1]) for row in [*samples, *references] if row[-1] is not None)
    features = Features(*(_matrix([row[-1] for row in rows], size) for rows in (samples, references, targets)))
    return Evaluation(
        samples=pd.DataFrame(
            [(item, owner.get(item, "?"), index, status) for item, index, status, _ in samples],
            columns=["item", "subject", "index", "status"],
        ),
        references=pd.DataFrame([row[:3] for row in references], columns=["item", "subject", "status"]),
        targets=pd.DataFrame(
            [(subject, str(k), status) for k, (subject, status, _) in enumerate(targets)],
            columns=["subject", "image", "status"],
        ),
        features={role: features},
        pairs=pairs or {},
        roles={role: "recognition" if role == "net" else role} | dict.fromkeys(pairs or {}, "lpips"),
        recognisers={"net": "none"} if role == "net" else {},
        **fields,
    )


def _matrix(vectors, size):
    rows = [np.full(size, np.nan) if vector is None else np.asarray(vector, dtype=float) for vector in vectors]
    return np.array(rows, dtype=np.float32).reshape(len(rows), size)


def scores(result):
    """(variant, the rest of the number's name as golden files spell it) -> Score."""
    return {
        (score.number.variant, str(score.number._replace(variant="")).partition(".")[2]): score
        for score in result.scores
    }
