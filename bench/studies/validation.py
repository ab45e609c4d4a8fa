"""Put metrics next to people's judgements of the same images: one table of agreement, one of differences."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.data.lists import csv_line
from bench.errors import UserError
from bench.metrics.functional.cosine import Floats
from bench.store import write_atomic
from bench.studies import agreement
from bench.studies.agreement import Estimate, Pairs

ONE_RATER = "one rater"
LOWEST, LEFT_OUT = "lowest", "left_out"
"""What becomes of an image on which a metric has no value: the lowest rank, or no place at all."""
FEW_SOURCES = 20
COLUMNS = ["metric", "dimension", "statistic", "failures", "value", "low", "high", "n", "n_failed", "n_sources", "note"]


@dataclass(frozen=True, eq=False)
class Validation:
    """How far metrics agree with people.

    Attributes:
        agreement: a row per metric, dimension, statistic and treatment of failures (`lowest` or `left_out`): value,
            low, high, n (images, pairs, votes, sources or methods), n_failed, n_sources, note.
        differences: a row per dimension, statistic and two metrics: difference, low, high, p_value, p_holm, n.
    """

    agreement: pd.DataFrame
    differences: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Judged:
    """One dimension of the ratings with the metrics' values on the same images.

    Attributes:
        dimension: its name.
        values: (n, m) metrics, higher is better, NaN where there is none; columns are names.
        human: (n,) scores.
        sources: (n,) source of each image.
        methods: (n,) method of each image, "" where unknown.
    """

    dimension: str
    values: pd.DataFrame
    human: Floats
    sources: NDArray[Any]
    methods: NDArray[Any]

    @property
    def ranks(self) -> Floats:
        """The (n, m) values with -inf for those that are missing."""
        return np.asarray(self.values.fillna(-np.inf).to_numpy(dtype=np.float64))

    def only(self, metric: str) -> Judged:
        """Return one metric on the images on which it has a value."""
        known = self.values[metric].notna().to_numpy()
        return Judged(
            self.dimension,
            self.values.loc[known, [metric]],
            self.human[known],
            self.sources[known],
            self.methods[known],
        )


def validate(
    values: pd.DataFrame, ratings: pd.DataFrame | None, votes: pd.DataFrame | None, *, seed: int = 0, width: float = 0.0
) -> Validation:
    """Return how far metrics agree with ratings and votes.

    Args:
        values: a row per image (the index), a column per metric, higher is better, NaN for no value.
        ratings: as `bench.studies.ratings.read_ratings` gives them.
        votes: as `bench.studies.ratings.read_votes` gives them.
        seed: of every resampling.
        width: pairs of images whose scores differ by no more than this are left out.

    Raises:
        UserError: an image that was judged has no row in `values`.
    """
    lines: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for judged in _dimensions(values, ratings):
        lines += _correlations(judged, seed)
        lines += _pairs(judged, seed, width)
        lines += _systems(judged)
        differences += _differences(judged, seed, width)
    if votes is not None:
        lines += [
            line
            for name, part in votes.groupby("dimension", sort=False)
            for line in _votes(values, str(name), part, seed)
        ]
    names = ["dimension", "statistic", "a", "b", "difference", "low", "high", "p_value", "p_holm", "n"]
    table = pd.DataFrame(lines, columns=COLUMNS).astype({"value": float, "low": float, "high": float})
    return Validation(table, pd.DataFrame(differences, columns=names))


def _dimensions(values: pd.DataFrame, ratings: pd.DataFrame | None) -> Iterator[Judged]:
    if ratings is None:
        return
    _check_known(values, ratings["image"])
    for name, part in ratings.groupby("dimension", sort=False):
        rows = values.loc[part["image"]].reset_index(drop=True)
        sources, methods = (part[column].to_numpy(dtype=object) for column in ("source", "method"))
        yield Judged(str(name), rows, part["score"].to_numpy(dtype=np.float64), sources, methods)


def _check_known(values: pd.DataFrame, images: pd.Series) -> None:
    missing = images[~images.isin(values.index)]
    if len(missing):
        raise UserError(f"{len(missing)} judged images have no row of values, the first is {missing.iloc[0]!r}")


def _line(
    judged: Judged, metric: str, statistic: str, failures: str, estimate: Estimate, note: str = ""
) -> dict[str, Any]:
    sources = len(set(judged.sources))
    few = f"only {sources} sources" if sources < FEW_SOURCES and estimate.low is not None else ""
    return {
        "metric": metric, "dimension": judged.dimension, "statistic": statistic, "failures": failures,
        **estimate._asdict(), "n_failed": int(judged.values[metric].isna().sum()), "n_sources": sources,
        "note": "; ".join(filter(None, (note, few))),
    }  # fmt: skip


def _correlations(judged: Judged, seed: int) -> Iterator[dict[str, Any]]:
    for name, coefficient in agreement.RANKED.items():
        for metric, estimate in zip(judged.values, _estimates(coefficient, judged, seed), strict=True):
            yield _line(judged, str(metric), name, LOWEST, estimate)
    for metric in judged.values:
        known = judged.only(str(metric))
        failed = len(judged.human) - len(known.human)
        coefficients = {"plcc": agreement.plcc} | (dict(agreement.RANKED) if failed else {})
        for name, coefficient in coefficients.items():
            estimate = _estimates(coefficient, known, seed)[0]
            yield _line(known, str(metric), name, LEFT_OUT, estimate) | {"n_failed": failed}
        fitted = agreement.logistic_plcc(known.values.to_numpy(dtype=np.float64), known.human)[0]
        estimate = agreement.estimate(fitted, np.empty(0), len(known.human))
        yield _line(known, str(metric), "plcc_logistic5", LEFT_OUT, estimate, "fitted on these scores") | {
            "n_failed": failed
        }


def _estimates(coefficient: agreement.Coefficient, judged: Judged, seed: int) -> list[Estimate]:
    metrics = judged.ranks
    if len(judged.human) < 3:
        return [Estimate(None, None, None, len(judged.human))] * metrics.shape[1]
    draws = agreement.resampled(coefficient, metrics, judged.human, judged.sources, seed)
    values = coefficient(metrics, judged.human)
    return [agreement.estimate(value, column, len(judged.human)) for value, column in zip(values, draws.T, strict=True)]


def _pairs(judged: Judged, seed: int, width: float) -> Iterator[dict[str, Any]]:
    for metric in map(str, judged.values):
        failed = bool(judged.values[metric].isna().any())
        for part, failures in [(judged, LOWEST), *([(judged.only(metric), LEFT_OUT)] if failed else [])]:
            ranks = part.ranks[:, list(part.values).index(metric)]
            pairs = agreement.pairs_of(part.human, part.sources, width)
            count = {"n_failed": int(judged.values[metric].isna().sum())}
            yield _line(part, metric, "pairwise_accuracy", failures, agreement.accuracy(ranks, pairs, seed)) | count
            inside = agreement.mean_within_source(ranks, part.human, part.sources, seed)
            yield _line(part, metric, "srcc_within_source", failures, inside) | count


def _systems(judged: Judged) -> Iterator[dict[str, Any]]:
    methods = len(set(judged.methods))
    if methods < 2:
        return
    for metric in map(str, judged.values):
        values = judged.values[metric].to_numpy(dtype=np.float64)
        for name, estimate in agreement.system_level(values, judged.human, judged.methods).items():
            note = f"{methods} methods: too few for an interval"
            yield _line(judged, metric, f"system_{name}", LEFT_OUT, estimate, note)


def _differences(judged: Judged, seed: int, width: float) -> list[dict[str, Any]]:
    """SRCC and pairwise accuracy of every two metrics, on the same images and the same resamples."""
    names = [str(name) for name in judged.values]
    metrics = {name: judged.ranks[:, place] for place, name in enumerate(names)}
    pairs = agreement.pairs_of(judged.human, judged.sources, width)
    families = {
        "srcc": _srcc_differences(judged, names, seed),
        "pairwise_accuracy": agreement.pair_differences(metrics, pairs, seed),
    }
    return [
        {
            "dimension": judged.dimension, "statistic": statistic, "a": a, "b": b, "difference": one.difference,
            "low": one.low, "high": one.high, "p_value": one.p_value, "p_holm": p_holm, "n": one.n,
        }
        for statistic, family in families.items()
        for ((a, b), one), p_holm in zip(family.items(), agreement.adjusted(family), strict=True)
    ]  # fmt: skip


def _srcc_differences(judged: Judged, names: Sequence[str], seed: int) -> dict[tuple[str, str], agreement.Paired]:
    if len(judged.human) < 3:
        return {}
    draws = agreement.resampled(agreement.srcc, judged.ranks, judged.human, judged.sources, seed)
    values = agreement.srcc(judged.ranks, judged.human)
    return {
        (a, names[j]): agreement.difference(draws[:, i], draws[:, j], values[i], values[j])
        for i, a in enumerate(names)
        for j in range(i + 1, len(names))
    }


def _votes(values: pd.DataFrame, dimension: str, votes: pd.DataFrame, seed: int) -> Iterator[dict[str, Any]]:
    """Accuracy against the other raters' majority: of one rater (the ceiling), and of each metric on the same votes."""
    _check_known(values, pd.concat([votes["image_a"], votes["image_b"]]))
    pair = votes.groupby(["source", "image_a", "image_b"], sort=False).ngroup()
    majority = agreement.others_majority(votes.assign(pair=pair))
    sources = votes["source"].to_numpy(dtype=object)
    base: dict[str, Any] = {"dimension": dimension, "statistic": "vote_accuracy", "failures": LOWEST, "note": ""}
    base["n_sources"] = len(set(sources))
    ceiling = agreement.vote_accuracy(votes["value"].to_numpy(dtype=np.float64), majority, sources, seed)
    yield {"metric": ONE_RATER, **base, **ceiling._asdict(), "n_failed": 0, "note": "the ceiling"}
    first, second = (values.index.get_indexer(pd.Index(votes[name])) for name in ("image_a", "image_b"))
    rows = Pairs(first.astype(np.int64), second.astype(np.int64), sources)
    for metric in map(str, values):
        ranks = values[metric].fillna(-np.inf).to_numpy(dtype=np.float64)
        accuracy = agreement.vote_accuracy(agreement.outcomes(ranks, rows), majority, sources, seed)
        yield {"metric": metric, **base, **accuracy._asdict(), "n_failed": int(values[metric].isna().sum())}


# Values of images, by running the benchmark on them


def oriented(values: pd.DataFrame, lower_is_better: Sequence[str]) -> pd.DataFrame:
    """Return the values with the sign of some metrics turned, so that higher is better everywhere.

    Raises:
        UserError: a name is not a column.
    """
    unknown = [name for name in lower_is_better if name not in values]
    if unknown:
        raise UserError(f"no metric {unknown[0]!r} to turn; there are: {', '.join(map(str, values))}")
    return values.assign(**{name: -values[name] for name in lower_is_better})


def measure(
    ratings: pd.DataFrame, images: Path, out: Path, run: Callable[[Sequence[str]], int], overrides: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the per-sample metrics of judged images: one run with `method=folder` for each method that made some.

    The source's own photo is the reference: the column `reference`, or `<source>.<suffix>` in the folder.

    Args:
        ratings: as `bench.studies.ratings.read_ratings` gives them.
        images: the folder that image names are relative to.
        out: folder for the laid-out images, the list and the runs; it is made again where it is there.
        run: `python -m bench`, as a function of its arguments.
        overrides: further settings of the runs, such as `profile=paper`.

    Returns:
        A row per image (the index), a column per per-sample metric, NaN where a sample failed.

    Raises:
        UserError: an image or a source's photo is missing, or a run fails.
    """
    first = ratings.drop_duplicates("image")
    listed = _write_sources(first, images, out / "sources.csv")
    dataset = ["dataset=folder", f"dataset.root={_quoted(images)}", f"dataset.list={_quoted(listed)}"]
    tables = []
    for number, (method, part) in enumerate(first.groupby("method", sort=True)):
        folder, runs = out / "samples" / f"{number:03d}", out / "runs" / f"{number:03d}"
        placed = _lay_out(part, images, folder)
        size = f"protocol.samples_per_item={int(placed['index'].max()) + 1}"
        own = ["method=folder", f"method.root={_quoted(folder)}", size, f"out={_quoted(runs)}"]
        if run(["run", *own, *dataset, *overrides]):
            raise UserError(
                f"the run on the images of {str(method) or 'the only method'!r} failed; see the lines above"
            )
        tables.append(_per_sample(runs, placed))
    return pd.concat(tables)


def _quoted(path: Path) -> str:
    """A path as Hydra reads it back whatever characters it holds."""
    escaped = str(path.resolve()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write_sources(ratings: pd.DataFrame, images: Path, path: Path) -> Path:
    """Writes the list of references, one item for each source."""
    rows = [("item", "subject", "role", "image")]
    for source, reference in ratings.groupby("source", sort=False)["reference"].first().items():
        rows.append((str(source), str(source), "reference", reference or _photo(images, str(source))))
    write_atomic(path, "".join(map(csv_line, rows)).encode())
    return path


def _photo(images: Path, source: str) -> str:
    from baselines.folder import SUFFIXES

    for suffix in ("", *SUFFIXES):
        if (images / f"{source}{suffix}").is_file():
            return f"{source}{suffix}"
    raise UserError(f"no photo of the source {source!r} in {images}; name it in a column `reference`")


def _lay_out(ratings: pd.DataFrame, images: Path, folder: Path) -> pd.DataFrame:
    """Puts the images of one method where `method=folder` looks for them; item, index and image of each."""
    shutil.rmtree(folder, ignore_errors=True)
    placed = ratings.assign(index=ratings.groupby("source", sort=False).cumcount())
    for image, source, index in zip(placed["image"], placed["source"], placed["index"], strict=True):
        original, target = images / image, folder / source / f"{index}{Path(image).suffix.lower()}"
        if not original.is_file():
            raise UserError(f"no image {image!r} in {images}")
        if not target.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"source {source!r} cannot be the name of a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(original, target)
    return placed


def _link(original: Path, target: Path) -> None:
    try:
        os.link(original.resolve(), target)
    except OSError:
        shutil.copyfile(original, target)


def _per_sample(runs: Path, placed: pd.DataFrame) -> pd.DataFrame:
    from bench.report.frames import load_run

    folders = [path.parent for path in runs.glob("*/*/run.json")]
    newest = max(folders, key=lambda folder: (folder / "scores/scores.json").stat().st_mtime)
    samples = load_run(newest).samples
    metrics = [column for column in samples if str(column).endswith("]")]
    joined = placed.merge(samples, left_on=["source", "index"], right_on=["item", "index"], how="left", validate="1:1")
    return joined.set_index("image")[metrics]


def directions(columns: Sequence[str], better: Mapping[str, bool | None]) -> tuple[list[str], list[str]]:
    """Return the columns whose metric is better when lower, and those without a direction.

    >>> directions(["a[x]", "b[x]", "c[x]"], {"a": True, "b": False, "c": None})
    (['b[x]'], ['c[x]'])
    """
    names = {column: column.partition("[")[0] for column in columns}
    return (
        [column for column, name in names.items() if better.get(name) is False],
        [column for column, name in names.items() if better.get(name) is None],
    )
