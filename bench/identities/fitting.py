"""Fit principal components on the embeddings of a dataset, and keep them with what they were fitted on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import UserError
from bench.identities.pca import Pca, fit, gather, reconstruction
from bench.identities.within import covariance_root, deviations
from bench.identity import IDENTITY, Spec
from bench.metrics.functional.cosine import Floats, unit
from bench.store import read_json, write_atomic, write_json, write_table

FILE = "pca.npz"
RECORD = "pca.json"
SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)
"""The record says how many components explain these shares of the variance."""
_CHECKED = 10_000
"""Embeddings that the reconstruction is measured on, at most."""

Block = tuple[NDArray[np.floating], NDArray[np.int64]]
"""(n, d) embeddings and (n,) the number of the subject of each."""
Blocks = Callable[[], Iterator[Block]]
"""Yields all embeddings anew at each call; the images of a subject follow one another."""


class FitOptions(Spec):
    """What the paper leaves open about the fit.

    Attributes:
        per: one vector an image, or the mean of each subject's.
        length: embeddings as the recogniser gives them (`raw`), or divided by their length (`unit`).
    """

    per: Annotated[Literal["image", "subject"], IDENTITY] = "image"
    length: Annotated[Literal["raw", "unit"], IDENTITY] = "unit"


def fit_blocks(blocks: Blocks, options: FitOptions) -> tuple[Pca, Floats | None]:
    """Return the components of embeddings, and the root of the covariance within subjects.

    Returns:
        The components; and (d, d) r with r.T @ r the covariance of a subject's images about their mean, None where no
        subject has two images.
    """
    pca = fit(gather(_rows(blocks, options)))
    products, degrees = np.zeros((pca.width, pca.width)), 0
    for rows, subjects in whole_subjects(_scaled(blocks, options)):
        difference, free = deviations(rows, np.unique(subjects, return_inverse=True)[1])
        products += difference.T @ difference
        degrees += free
    return pca, covariance_root(products / degrees) if degrees else None


def _scaled(blocks: Blocks, options: FitOptions) -> Iterator[Block]:
    for rows, subjects in blocks():
        usable = np.isfinite(rows).all(1) & (np.abs(rows).sum(1) > 0)
        kept = rows[usable]
        yield (unit(kept) if options.length == "unit" else kept), subjects[usable]


def _rows(blocks: Blocks, options: FitOptions) -> Iterator[Floats]:
    if options.per == "image":
        yield from (np.asarray(rows, np.float64) for rows, _ in _scaled(blocks, options))
        return
    for rows, subjects in whole_subjects(_scaled(blocks, options)):
        _, number = np.unique(subjects, return_inverse=True)
        totals = np.zeros((number.max() + 1, rows.shape[1]))
        np.add.at(totals, number, rows)
        yield totals / np.bincount(number)[:, None]


def whole_subjects(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the same rows in blocks that cut no subject in two; the images of a subject follow one another.

    >>> cut = [(np.ones((2, 1)), np.array([0, 1])), (np.ones((1, 1)), np.array([1]))]
    >>> [subjects.tolist() for _, subjects in whole_subjects(cut)]
    [[0], [1, 1]]
    """
    held: list[Block] = []
    for rows, subjects in blocks:
        if not len(subjects):
            continue
        start = int((subjects == subjects[-1]).argmax())
        if start:
            held.append((rows[:start], subjects[:start]))
        elif held and held[-1][1][-1] == subjects[0]:
            held.append((rows, subjects))
            continue
        if held:
            yield _joined(held)
        held = [(rows[start:], subjects[start:])]
    if held:
        yield _joined(held)


def _joined(parts: list[Block]) -> Block:
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([subjects for _, subjects in parts])


def write(blocks: Blocks, options: FitOptions, folder: Path, origin: dict[str, Any]) -> Pca:
    """Fit and write `pca.npz`, its record, the tables of Fig. 8c and 8d, and their figure.

    Args:
        blocks: the embeddings.
        options: see `FitOptions`.
        folder: where to.
        origin: dataset, recogniser and whatever else the embeddings come from.
    """
    pca, root = fit_blocks(blocks, options)
    width = {} if root is None else {"within": root}
    _write_arrays(folder / FILE, mean=pca.mean, components=pca.components, variances=pca.variances, **width)
    rebuilt = rebuilding(pca, _some(blocks, options))
    write_table(folder / "components.parquet", component_table(pca))
    write_table(folder / "reconstruction.parquet", rebuilt)
    needed = {f"{share:g}": pca.needed(share) for share in SHARES}
    note = "" if pca.complete else f"fitted on {pca.n} vectors of {pca.width}: the last components mean little"
    record = {**origin, "n": pca.n, "width": pca.width, "options": options.model_dump(), "components": needed}
    write_json(folder / RECORD, {**record, "note": note})
    from bench.identities.figures import write_variance

    write_variance(pca, rebuilt, folder / "variance")
    return pca


def _write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    import io

    sink = io.BytesIO()
    np.savez(sink, **arrays)  # type: ignore[arg-type]
    write_atomic(path, sink.getvalue())


def _some(blocks: Blocks, options: FitOptions) -> Floats:
    found: list[Floats] = []
    for rows in _rows(blocks, options):
        found.append(rows[: _CHECKED - sum(map(len, found))])
        if sum(map(len, found)) >= _CHECKED:
            break
    return np.concatenate(found)


def component_table(pca: Pca) -> pd.DataFrame:
    """Return a row per component: component (from 1), variance, share, cumulative (Fig. 8c)."""
    share = pca.variances / pca.variances.sum()
    number = np.arange(1, pca.width + 1)
    columns = {"component": number, "variance": pca.variances, "share": share, "cumulative": pca.cumulative}
    return pd.DataFrame(columns)


def rebuilding(pca: Pca, rows: Floats) -> pd.DataFrame:
    """Return a row per number of kept components: 1, 2, 4, ... and all; `bench.identities.pca.reconstruction`."""
    steps = [2**k for k in range(pca.width.bit_length()) if 2**k < pca.width]
    kept = sorted({*steps, *range(64, pca.width, 64), pca.width})
    return pd.DataFrame([{"kept": k, **reconstruction(pca, rows, k)} for k in kept])


def load(folder: Path) -> tuple[Pca, Floats | None, dict[str, Any]]:
    """Return the components, the root of the covariance within subjects, and the record of a fit.

    Raises:
        UserError: the fit is missing, or its file is damaged.
    """
    if not (folder / FILE).is_file():
        raise UserError(f"no {FILE} in {folder}; make it with `python -m bench identities fit`")
    record = read_json(folder / RECORD)
    try:
        with np.load(folder / FILE, allow_pickle=False) as arrays:
            pca = Pca(arrays["mean"], arrays["components"], arrays["variances"], record["n"])
            return pca, arrays.get("within"), record
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder / FILE} is damaged: {error}; fit again") from error


def from_files(folder: Path) -> Blocks:
    """Return the embeddings of a folder of `.npy` files, (n, d) each, read by memory map.

    Next to `NAME.npy` there may be `NAME.subjects.npy`, (n,) whole numbers; without it each image is a subject.

    Raises:
        UserError: the file is missing.
    """
    files = sorted(path for path in folder.glob("*.npy") if not path.name.endswith(".subjects.npy"))
    if not files:
        raise UserError(f"no .npy file of embeddings in {folder}")

    def blocks() -> Iterator[Block]:
        start = 0
        for path in files:
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
            named = path.with_suffix(".subjects.npy")
            own = np.arange(start, start + len(rows))
            subjects = np.load(named, allow_pickle=False) if named.is_file() else own
            for at in range(0, len(rows), _CHECKED):
                yield np.asarray(rows[at : at + _CHECKED]), subjects[at : at + _CHECKED]
            start += len(rows)

    return blocks
