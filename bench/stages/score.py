"""Score: from the tables of a run and of its dataset's photos to numbers; pure arithmetic on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import registry
from bench.identity import identity
from bench.metrics.protocol import Evaluation, Features, Metric, Result, Score
from bench.metrics.shared.scores import named
from bench.spec import RunSpec, detector_id, feature_id
from bench.stages.plan import Job
from bench.stages.tables import feature_table, is_pairwise, parts, read_faces, read_features, view_of
from bench.store import write_atomic, write_json, write_table

GROUP_COLUMNS = ("gender", "age", "ancestry")
DISTRIBUTIONS = ("inception", "dinov2", "clip")
"""Roles of extractors whose features are compared as distributions."""


def score(job: Job) -> None:
    """Computes every metric whose networks are there and writes `scores/`."""
    evaluation = assemble(job)
    metrics = wanted(job.spec)
    results = {metric.name: metric.compute(evaluation) for metric in metrics}
    folder = job.folder / "scores"
    table = scores_table(metrics, results, evaluation)
    write_table(folder / "scores.parquet", table)
    write_atomic(folder / "scores.csv", table.to_csv(index=False, lineterminator="\n").encode())
    write_table(folder / "samples.parquet", samples_table(evaluation, results))
    write_table(folder / "items.parquet", items_table(results))
    write_json(folder / "scores.json", provenance(job, metrics))


def wanted(spec: RunSpec) -> list[Metric]:
    """The protocol's metrics, or all whose networks the evaluator has."""
    names = spec.protocol.metrics or sorted(registry.targets("metrics"))
    metrics = [registry.get("metrics", name) for name in names]
    roles = {*spec.evaluator.extractors, "recognition"}
    return [m for m in metrics if spec.protocol.metrics or set(m.needs) <= roles]


def assemble(job: Job) -> Evaluation:
    """The evaluation of a run, from its tables and those of its dataset's photos."""
    spec, photos, targets = job.spec, job.photo_pictures(), _targets(job)
    groups = tuple(c for c in GROUP_COLUMNS if c in job.photos)
    samples = job.sample_pictures()
    roles = photos.frame["role"].to_numpy()
    photo_faces = read_faces(photos, spec)
    photo_rows = photos.frame[["item", "subject", "image", *groups]].assign(status=photo_faces["status"].to_numpy())
    references = photo_rows[roles == "reference"].reset_index(drop=True)
    single = [name for name, part in parts(spec).items() if not is_pairwise(part)]
    features = {name: _features(job, name, roles == "reference", targets) for name in single}
    return Evaluation(
        samples=_samples(samples.frame, read_faces(samples, spec), references, groups),
        references=references,
        targets=photo_rows[targets].reset_index(drop=True),
        features=features,
        pairs=_pairs(job, [name for name, part in parts(spec).items() if is_pairwise(part)]),
        recognisers={name: spec.method.card.relation(name) for name in spec.evaluator.recognisers},
        groups=groups,
        seed=spec.protocol.seed,
        population=_population(job),
    )


def population_names(spec: RunSpec) -> list[str]:
    """The extractors whose features are compared as distributions."""
    return [name for role in DISTRIBUTIONS for name in named(spec.evaluator.extractors, role)]


def _population(job: Job) -> dict[str, NDArray[np.float32]]:
    """Features of the protocol's reference set; those of pictures without a face are NaN."""
    pictures = job.reference_set()
    if pictures is None:
        return {}
    tables = {name: feature_table(pictures, job.spec, name) for name in population_names(job.spec)}
    return {name: read_features(table, pictures.shards) for name, table in tables.items()}


def _samples(
    made: pd.DataFrame, faces: pd.DataFrame, references: pd.DataFrame, groups: tuple[str, ...]
) -> pd.DataFrame:
    """A row per sample with the status that it has in the end: the face's where a picture was made."""
    rows = made[["item", "subject", "index", "seed", "prompt_id", "sha256", "reason"]].assign(path=made["file"])
    rows["status"] = np.where(made["status"] == "ok", faces["status"], made["status"])
    rows["reason"] = np.where(made["status"] == "ok", faces["reason"], made["reason"])
    for column in ("n_faces", "score", "box", "keypoints", "det_size"):
        rows[column] = faces[column].to_numpy()
    return rows.merge(references[["item", *groups]], on="item", how="left", validate="many_to_one")


def _targets(job: Job) -> NDArray[np.bool_]:
    """Which photos are targets that the method never saw."""
    targets: NDArray[np.bool_] = (job.photos["role"] == "target").to_numpy()
    return targets & (not job.spec.method.card.sees_targets)


def _features(job: Job, name: str, references: NDArray[np.bool_], targets: NDArray[np.bool_]) -> Features:
    photos, samples = job.photo_pictures(), job.sample_pictures()
    of_photos = read_features(feature_table(photos, job.spec, name), photos.shards)
    of_samples = read_features(feature_table(samples, job.spec, name), samples.shards)
    of_samples, of_photos = equally_wide(of_samples, of_photos)
    return Features(of_samples, of_photos[references], of_photos[targets])


def equally_wide(*tables: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """(n, d) tables of one network; one in which no row has a feature does not know its d, and takes the others'.

    >>> [table.shape for table in equally_wide(np.zeros((2, 56)), np.full((3, 1), np.nan))]
    [(2, 56), (3, 56)]
    """
    width = max(table.shape[1] for table in tables)
    return [t if t.shape[1] == width else np.full((len(t), width), np.nan, np.float32) for t in tables]


def _pairs(job: Job, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """By pair extractor: item, i, j, value among samples; as "<name>_reference": item, i, value to the reference."""
    samples, found = job.sample_pictures(), {}
    for name in names:
        rows = feature_table(samples, job.spec, name).read(samples.shards)
        rows = rows.loc[rows["status"] == "ok"].drop(columns=["row", "status"])
        found[name] = rows[rows["j"] >= 0].reset_index(drop=True)
        found[f"{name}_reference"] = rows[rows["j"] < 0].drop(columns="j").reset_index(drop=True)
    return found


def scores_table(metrics: list[Metric], results: dict[str, Result], evaluation: Evaluation) -> pd.DataFrame:
    """The aggregates: a row per number, with the metric's version, unit and direction and the recogniser's relation."""
    rows = [
        {
            **asdict(one),
            "version": metric.version,
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "relation": evaluation.recognisers.get(one.variant, ""),
        }
        for metric in metrics
        for one in results[metric.name].scores
    ]
    columns = [field.name for field in fields(Score)] + ["version", "unit", "higher_is_better", "relation"]
    return pd.DataFrame(rows, columns=columns)


def samples_table(evaluation: Evaluation, results: dict[str, Result]) -> pd.DataFrame:
    """A row per sample: what it is, its status, and every per-sample number."""
    columns = [r.per_sample for r in results.values() if r.per_sample is not None]
    return pd.concat([evaluation.samples.reset_index(drop=True), *columns], axis=1)


def items_table(results: dict[str, Result]) -> pd.DataFrame:
    """A row per item and number: what `compare` pairs."""
    tables = [r.per_item for r in results.values() if r.per_item is not None]
    empty = pd.DataFrame(columns=["item", "subject", "metric", "variant", "statistic", "value"])
    return pd.concat(tables, ignore_index=True) if tables else empty


def provenance(job: Job, metrics: list[Metric]) -> dict[str, Any]:
    """What makes these scores comparable with others: list, protocol, extractor identities, metric versions.

    `identity` says the same at length, for `check`: every setting that changes a number, files by their sha256.
    """
    spec = job.spec
    return {
        "run": job.id,
        "dataset": {"label": spec.dataset.label, "content": job.content},
        "protocol": identity(spec.protocol),
        "evaluator": spec.evaluator.name,
        "detector": detector_id(spec),
        "extractors": {name: feature_id(spec, name, view_of(part)) for name, part in parts(spec).items()},
        "metrics": {metric.name: metric.version for metric in metrics},
        "identity": identity(spec),
    }
