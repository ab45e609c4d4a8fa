"""Say how close samples come to a bank, next to how close anybody comes.

The mean similarity to the nearest of many faces says little: unseen people reach about as much, because the best of N
strangers grows with N. The tail speaks, and the same numbers for held-out photos of real people.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bench.errors import UserError
from bench.metrics.functional.cosine import Floats
from bench.statistics import clustered_rate, mean
from bench.store import locked, sweep, write_atomic
from bench.studies.bank import Bank, codes_of, key_of, read_blocks
from bench.studies.nearest import Neighbours, nearest, nothing

QUANTILES = (0.5, 0.95, 0.99, 0.999)


def distribution(cosines: ArrayLike) -> dict[str, float | None]:
    """Return mean, quantiles and maximum of the similarities to the nearest row of a bank.

    Args:
        cosines: (q,) the best cosine of each query; NaN where it has none.

    >>> distribution([0.2, 0.4, float("nan")])["mean"]
    0.30000000000000004
    """
    values = np.asarray(cosines, dtype=np.float64)
    values = values[np.isfinite(values)]
    quantiles = np.quantile(values, QUANTILES) if len(values) else [None] * len(QUANTILES)
    named = {f"q{str(q)[2:]:0<2}": None if v is None else float(v) for q, v in zip(QUANTILES, quantiles, strict=True)}
    return {"mean": mean(values), **named, "max": float(values.max()) if len(values) else None}


def share_by_chance(fmr: float, rows: int) -> float:
    """Return the chance that a stranger's best match among `rows` people passes a threshold of that false match rate.

    1 - (1 - fmr)^rows: it takes the rows as independent strangers, so it is too high where a bank has many photos of
    each person.

    >>> round(share_by_chance(1e-6, 1_000_000), 4)
    0.6321
    """
    return -math.expm1(rows * math.log1p(-fmr))


def shares_above(
    cosines: ArrayLike, subjects: NDArray[Any], thresholds: Mapping[float, float | None], rows: int
) -> pd.DataFrame:
    """Return, for each threshold, the share of queries whose nearest row passes it.

    Args:
        cosines: (q,) the best cosine of each query; NaN where it has none: such a query is left out.
        subjects: (q,) the cluster of each query.
        thresholds: false match rate -> cosine; None where the recogniser has no threshold at that rate.
        rows: vectors in the bank.

    Returns:
        Columns fmr, threshold, share, low, high (clustered by subject), by_chance, n.
    """
    values = np.asarray(cosines, dtype=np.float64)
    finite = np.isfinite(values)
    lines = []
    for fmr, threshold in thresholds.items():
        line: dict[str, Any] = {"fmr": fmr, "threshold": threshold, "by_chance": share_by_chance(fmr, rows)}
        if threshold is not None and finite.any():
            passes = values[finite] >= threshold
            interval = clustered_rate(passes, subjects[finite])
            line |= {"share": float(passes.mean()), "low": interval.low, "high": interval.high}
        lines.append({**line, "n": int(finite.sum())})
    columns = ["fmr", "threshold", "share", "low", "high", "by_chance", "n"]
    return pd.DataFrame(lines, columns=columns)


def search(
    queries: NDArray[np.float32],
    banks: Sequence[Bank],
    k: int,
    state: Path,
    *,
    subjects: Sequence[str] | None = None,
) -> Neighbours:
    """Return the k nearest rows of several banks taken as one; a killed search goes on at the shard it was in.

    Args:
        queries: (q, d) embeddings of the banks' recogniser; NaN for a query without one.
        banks: in the order that positions count in.
        k: neighbours of each query.
        state: folder for the neighbours so far, of these very queries, banks and k.
        subjects: (q,) the person of each query by the name that it was added with, to leave a query's own person out;
            None: nobody is left out.

    Raises:
        UserError: banks of different recognisers or dimensions, or a damaged shard.
    """
    _check(queries, banks)
    path = state / f"nearest-{_identity(queries, banks, k, subjects)[:16]}.npz"
    offsets = np.cumsum([0, *(bank.rows for bank in banks)])
    own = [None if subjects is None else codes_of(key_of(bank, name) for name in subjects) for bank in banks]
    with locked(state):
        sweep(state)
        done, best = _read_state(path, len(queries), k)
        parts = [(b, number) for b, bank in enumerate(banks) for number in range(len(bank.shards))]
        for b, number in parts[done:]:
            rows = read_blocks(banks[b], number, offset=int(offsets[b]), subjects=subjects is not None)
            best, done = nearest(queries, rows, best, subjects=own[b]), done + 1
            _write_state(path, done, best)
    return best


def _check(queries: NDArray[np.float32], banks: Sequence[Bank]) -> None:
    networks = sorted({bank.recogniser for bank in banks})
    if len(networks) != 1:
        raise UserError(f"banks must hold vectors of one recogniser; these have: {', '.join(networks) or 'none'}")
    dimension = queries.shape[1]
    wrong = [bank for bank in banks if bank.dimension != dimension]
    if wrong:
        raise UserError(
            f"{wrong[0].folder} holds vectors of {wrong[0].dimension} numbers, queries have {queries.shape[1]}"
        )


def _identity(queries: NDArray[np.float32], banks: Sequence[Bank], k: int, subjects: Sequence[str] | None) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(queries).tobytes())
    digest.update(repr((k, [bank.shards for bank in banks], subjects)).encode())
    return digest.hexdigest()


def _read_state(path: Path, queries: int, k: int) -> tuple[int, Neighbours]:
    if not path.exists():
        return 0, nothing(queries, k)
    with np.load(path) as saved:
        return int(saved["done"]), Neighbours(saved["position"], saved["cosine"])


def _write_state(path: Path, done: int, best: Neighbours) -> None:
    data = io.BytesIO()
    np.savez(data, done=done, position=best.position, cosine=best.cosine)
    write_atomic(path, data.getvalue())


def top_pairs(best: Neighbours, count: int) -> NDArray[np.int64]:
    """Return (n, 2) the queries and ranks of the largest cosines, in descending order; ties by query, then by rank.

    >>> top_pairs(Neighbours(np.array([[4, 7], [5, -1]]), np.array([[0.9, 0.2], [0.95, np.nan]])), 2)
    array([[1, 0],
           [0, 0]])
    """
    values: Floats = best.cosine.ravel()
    order = np.argsort(-values, kind="stable")[: min(count, int(np.isfinite(values).sum()))]
    return np.stack(np.divmod(order, best.cosine.shape[1]), axis=1)
