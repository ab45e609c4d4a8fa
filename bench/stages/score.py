"""Score: from the tables of a run and of its dataset's photos to numbers; pure arithmetic on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import registry
from bench.conditions.asked import ASKED, with_asked
from bench.console import say
from bench.csvs import csv_for_people
from bench.data.photos import group_columns
from bench.errors import UserError
from bench.extractors.protocol import FEATURE, Distance, columns_of, distance_of
from bench.identity import identity
from bench.metrics.functional.cosine import blocks
from bench.metrics.protocol import NUMBER, Evaluation, Features, Metric, Result, Score
from bench.metrics.shared.eligibility import feature_test, has_feature, subjects, usable_references, usable_samples
from bench.metrics.shared.prompts import with_prompts
from bench.metrics.shared.strangers import doubts
from bench.metrics.shared.targets import usable_targets
from bench.sample_files import PART
from bench.spec import Part, RunSpec, detector_id, feature_id
from bench.stages.features import FeatureColumn, Stored, feature_columns
from bench.stages.plan import ImageList, Job
from bench.stages.tables import (
    FACE,
    embeds_texts,
    feature_table,
    is_pairwise,
    read_faces,
    read_features,
    role_of,
    texts_table,
)
from bench.status import SampleStatus, ViewStatus
from bench.store import ANEW, ShardTable, read_table, write_atomic, write_record, write_table

_SHARDS_OF_PAIRS = 16
"""Shards whose pairs are read together."""
OF_METRIC = ("version", "unit", "higher_is_better")
"""What a row of `scores.parquet` says of its metric."""


def score(job: Job) -> None:
    """Compute every metric whose networks are there and write `scores/`."""
    folder = job.folder / "scores"
    evaluation = assemble(job)
    _warn(evaluation)
    metrics = measurable(wanted(job.spec, scored_before(folder)), evaluation.samples)
    results = {metric.name: in_range(metric, with_prompts(metric, evaluation)) for metric in metrics}
    table = scores_table(metrics, results, evaluation)
    write_table(folder / "scores.parquet", table)
    write_atomic(folder / "scores.csv", csv_for_people(table))
    write_table(folder / "samples.parquet", samples_table(evaluation, results))
    write_table(folder / "items.parquet", items_table(results))
    write_table(folder / "references.parquet", references_table(evaluation))
    write_record(folder / "scores.json", provenance(job, metrics))


def _warn(evaluation: Evaluation) -> None:
    """Say on the console which references make a threshold doubtful; the scores say it, too."""
    for recogniser in evaluation.recognisers:
        found = doubts(evaluation, recogniser) if recogniser in evaluation.features else ""
        if found:
            say(f"warning: {recogniser}: {found}")


def wanted(spec: RunSpec, before: Sequence[str] = ()) -> list[Metric]:
    """Return the metrics to compute, by name: those that the protocol names, or all whose networks the evaluator has.

    Args:
        spec: of the run.
        before: names of metrics that the run has numbers of: they are computed again rather than lost, where their
            networks are there.

    Raises:
        UserError: the protocol names a metric that does not exist, or whose networks the evaluator does not have.
    """
    networks = (registry.get("extractors", part.name) for part in spec.evaluator.all_extractors.values())
    roles = {role for network in networks for role in columns_of(network).values()}
    named = [_named(name, roles, spec.evaluator.name) for name in spec.protocol.metrics or ()]
    others = _importable(before if spec.protocol.metrics else registry.entries("metrics"))
    every = {metric.name: metric for metric in (*others, *named) if set(metric.needs) <= roles}
    return [every[name] for name in sorted(every)]


def measurable(metrics: Iterable[Metric], samples: pd.DataFrame) -> list[Metric]:
    """Return the metrics without those that read a column which the samples of the run do not have."""
    return [metric for metric in metrics if set(metric.columns) <= set(samples)]


def _named(name: str, roles: set[str], evaluator: str) -> Metric:
    metric: Metric = registry.get("metrics", name)
    missing = sorted(set(metric.needs) - roles)
    if missing:
        raise UserError(
            f"metric {name} needs a network of the role {', '.join(missing)}; evaluator {evaluator} has none"
        )
    return metric


def _importable(names: Iterable[str]) -> list[Metric]:
    """Return metrics that nobody asked for by name, without those whose package is broken or gone; these are told."""
    found = []
    for name in names:
        try:
            found.append(registry.get("metrics", name))
        except UserError as error:
            say(f"warning: {error}")
    return found


def scored_before(folder: Path) -> list[str]:
    """Return the metrics that a folder of scores has numbers of."""
    path = folder / "scores.parquet"
    return sorted(set(read_table(path)["metric"])) if path.exists() else []


def in_range(metric: Metric, result: Result) -> Result:
    """Return a metric's answer without the values that its own declaration says cannot be; each of them is told."""
    return replace(result, scores=tuple(_in_range(metric, score) for score in result.scores))


def _in_range(metric: Metric, score: Score) -> Score:
    try:
        low, high = metric.range_of(score.number.statistic)
    except KeyError:
        return score
    slack = metric.tolerance.absolute
    lowest, highest = (-np.inf if low is None else low - slack), (np.inf if high is None else high + slack)
    if score.value is None or lowest <= score.value <= highest:
        return score
    fault = f"error of the metric: {score.value:g} is outside of its declared range {low} to {high}"
    say(f"warning: {score.number}: {fault}")
    return replace(score, value=None, low=None, high=None, note="; ".join(filter(None, (fault, score.note))))


def population_names(job: Job) -> list[str]:
    """Return the extractors whose features some metric compares as distributions."""
    metrics = wanted(job.spec, scored_before(job.folder / "scores"))
    roles = {role for metric in metrics if metric.distribution for role in metric.needs}
    return [name for name, part in job.spec.evaluator.all_extractors.items() if role_of(part) in roles]


def assemble(job: Job) -> Evaluation:
    """Return the evaluation of a run, from its tables and those of its dataset's photos; each is read once."""
    spec, photos, samples = job.spec, job.photo_images(), job.sample_images()
    references = (photos.frame["role"] == "reference").to_numpy()
    targets = _targets(job)
    groups = _groups(job)
    named = photos.frame[["item", "subject", "listed_subject", "image", *groups]]
    rows = named.reset_index(drop=True).join(read_faces(photos, spec)[["status", *FACE]])
    networks = spec.evaluator.all_extractors
    distances = {name: _distances(samples, spec, name) for name, part in networks.items() if is_pairwise(part)}
    columns = _all_columns(samples, spec)
    of_samples, of_photos = _stored_features(samples, photos, spec, columns)
    # `map` makes one array at a time, which is cut into references and targets and then forgotten.
    features = {
        c.name: Features(made, listed[references], listed[targets], c.distance)
        for c, made, listed in zip(columns, feature_columns(of_samples), map(np.asarray, of_photos), strict=True)
    }
    return Evaluation(
        samples=with_asked(
            _samples(samples.frame, read_faces(samples, spec), rows[references], groups), job.samples, job.folder
        ),
        references=rows[references].reset_index(drop=True),
        targets=rows[targets].reset_index(drop=True),
        features=features,
        pairs={name: own.pairs for name, own in distances.items()},
        to_reference={name: own.to_reference for name, own in distances.items()},
        roles={c.name: c.role for c in columns} | {name: role_of(networks[name]) for name in distances},
        recognisers={name: spec.method.card.relation(name) for name in spec.evaluator.recognisers},
        groups=groups,
        seed=spec.protocol.seed,
        population=_population(job),
        statuses={c.name: _statuses(one, features[c.name]) for c, one in zip(columns, of_samples, strict=True)}
        | {name: own.statuses for name, own in distances.items()},
        texts={name: _texts(samples, spec, name) for name, part in networks.items() if embeds_texts(part)},
        fmr_levels=spec.protocol.fmr_levels,
    )


class Column(NamedTuple):
    """A column of a feature table that metrics read.

    Attributes:
        name: as metrics know it.
        extractor: whose table it is in.
        column: its name there.
        role: what metrics ask for.
        distance: how two of its features are compared.
    """

    name: str
    extractor: str
    column: str
    role: str
    distance: Distance


def _all_columns(samples: ImageList, spec: RunSpec) -> list[Column]:
    """Return the columns of all feature tables."""
    networks = spec.evaluator.all_extractors
    return [
        column
        for name, part in networks.items()
        if not is_pairwise(part)
        for column in _columns(name, part, feature_table(samples, spec, name), samples.shards)
    ]


def _columns(name: str, extractor: Part, table: ShardTable, shards: int) -> list[Column]:
    """Return the columns of an extractor's table, the feature first; those that the network left out are not there."""
    network = registry.get("extractors", extractor.name)
    table.check(range(shards))
    (_, role), *further = columns_of(network).items()
    feature = Column(name, name, FEATURE, role, distance_of(network))
    return [
        feature,
        *(
            Column(f"{name}:{column}", name, column, own, "cosine")
            for column, own in further
            if FeatureColumn(table, column).exists(shards)
        ),
    ]


def _stored_features(
    samples: ImageList, photos: ImageList, spec: RunSpec, columns: Sequence[Column]
) -> tuple[list[Stored], list[Stored]]:
    """Return the features of the samples and of the photos by each column."""
    made, listed = (
        [FeatureColumn(feature_table(images, spec, c.extractor), c.column) for c in columns]
        for images in (samples, photos)
    )
    widths = [
        max(one.width(samples.shards), other.width(photos.shards)) for one, other in zip(made, listed, strict=True)
    ]
    of_samples, of_photos = (
        [Stored(column, images.bounds, width) for column, width in zip(each, widths, strict=True)]
        for each, images in ((made, samples), (listed, photos))
    )
    return of_samples, of_photos


def _texts(samples: ImageList, spec: RunSpec, name: str) -> dict[str, NDArray[np.float32]]:
    """Return the embedding of each prompt by one extractor."""
    table = texts_table(samples, spec, name).read(samples.shards)
    return dict(zip(table["prompt_id"], table[FEATURE], strict=True))


def _groups(job: Job) -> tuple[str, ...]:
    """Return the list's columns that say something of a reference: by them numbers are also given apart."""
    references = job.photos[job.photos["role"] == "reference"]
    return tuple(column for column in group_columns(job.photos) if (references[column].astype(str) != "").any())


def _population(job: Job) -> dict[str, NDArray[np.float32]]:
    """Return the features of the protocol's reference set; those of images without a face are NaN."""
    images = job.reference_set()
    if images is None:
        return {}
    tables = {name: feature_table(images, job.spec, name) for name in population_names(job)}
    return {name: read_features(table, images.shards) for name, table in tables.items()}


def _samples(
    made: pd.DataFrame, faces: pd.DataFrame, references: pd.DataFrame, groups: tuple[str, ...]
) -> pd.DataFrame:
    """Return a row per sample with its final status: the face's where an image was made."""
    place = made[["file", *(name for name in PART if name in made)]].rename(columns={"file": "path"})
    rows = made[["item", "subject", "index", "seed", "prompt_id", "sha256", "reason"]].join(place)
    is_made = made["status"] == SampleStatus.OK
    rows["status"] = np.where(is_made, faces["status"], made["status"])
    rows["reason"] = np.where(is_made, faces["reason"], made["reason"])
    rows = rows.reset_index(drop=True).join(faces[FACE])
    return rows.merge(references[["item", *groups]], on="item", how="left", validate="many_to_one")


def _targets(job: Job) -> NDArray[np.bool_]:
    """Return which photos are targets that the method never saw."""
    targets: NDArray[np.bool_] = (job.photos["role"] == "target").to_numpy()
    return targets & (not job.spec.method.card.sees_targets)


class Distances(NamedTuple):
    """What a pair extractor found.

    Attributes:
        pairs: item, i, j, value, and what it knows of the two crops: a row per pair of samples that has a distance.
        to_reference: the same without j: a row per sample that has a distance to its item's reference.
        statuses: (n_samples,) status of each sample.
    """

    pairs: pd.DataFrame
    to_reference: pd.DataFrame
    statuses: NDArray[np.object_]


def _distances(samples: ImageList, spec: RunSpec, name: str) -> Distances:
    """Return the distances of a pair extractor, taken together a few shards at a time: there are many pairs."""
    table = feature_table(samples, spec, name)
    chunks = [range(part.start, part.stop) for part in blocks(samples.shards, _SHARDS_OF_PAIRS)]
    parts = [_distances_of(samples.rows_of(chunk), table.read(chunk)) for chunk in chunks]
    pairs, to_reference, statuses = zip(*parts, strict=True)
    return Distances(
        pd.concat(pairs, ignore_index=True), pd.concat(to_reference, ignore_index=True), np.concatenate(statuses)
    )


def _distances_of(rows: pd.DataFrame, table: pd.DataFrame) -> Distances:
    between = _good(table[table["j"] >= 0]).astype({"i": np.int32, "j": np.int32})
    return Distances(between, _good(table[table["j"] < 0]).drop(columns="j"), _pair_statuses(rows, table))


def _statuses(stored: Stored, features: Features) -> NDArray[np.object_]:
    """Return the status of each sample under an extractor; a feature without a direction is not a feature."""
    some = usable_samples(features, feature_test(features.samples))
    status = stored.status()
    return np.where((status == ViewStatus.OK) & ~some, str(ViewStatus.NOT_FINITE), status)


def _good(table: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs that have a distance."""
    return table[table["status"] == SampleStatus.OK].drop(columns=["row", "subject", "status"])


def _pair_statuses(samples: pd.DataFrame, table: pd.DataFrame) -> NDArray[np.object_]:
    """Return the status of each sample under a pair extractor: "ok" where it is in a pair that has a distance.

    A sample that is in none has the status of its pair with the reference.

    Raises:
        UserError: the table has no such pair of a sample.
    """
    keys = pd.MultiIndex.from_frame(samples[["item", "index"]])
    # Pairs of samples that nobody planned are put into a last row.
    statuses = np.full(len(samples) + 1, "", dtype=object)
    own, good = table[table["j"] < 0], table[table["status"] == SampleStatus.OK]
    statuses[_rows(keys, own, "i")] = own["status"]
    for end in ("i", "j"):
        statuses[_rows(keys, good[good[end] >= 0], end)] = str(SampleStatus.OK)
    missing = np.flatnonzero(statuses[:-1] == "")
    if len(missing):
        item, index = keys[missing[0]]
        raise UserError(f"a table of distances has no row of sample {index} of item {item!r}; {ANEW}")
    return statuses[:-1]


def _rows(keys: pd.MultiIndex, pairs: pd.DataFrame, end: str) -> NDArray[np.intp]:
    """Return the row, among (item, index), of the sample at an end of each pair; -1 where there is none."""
    return keys.get_indexer(pd.MultiIndex.from_frame(pairs[["item", end]]))


def scores_table(metrics: Sequence[Metric], results: dict[str, Result], evaluation: Evaluation) -> pd.DataFrame:
    """Return the aggregates: a row per number, with its metric's declaration and the recogniser's relation."""
    rows = [
        {
            **one.row(),
            **{name: getattr(metric, name) for name in OF_METRIC},
            "higher_is_better": metric.direction(one.number.statistic),
            "relation": evaluation.recognisers.get(one.number.variant, ""),
        }
        for metric in metrics
        for one in results[metric.name].scores
    ]
    of_score = [field.name for field in fields(Score) if field.name != "number"]
    return pd.DataFrame(rows, columns=[*NUMBER, *of_score, *OF_METRIC, "relation"])


def samples_table(evaluation: Evaluation, results: dict[str, Result]) -> pd.DataFrame:
    """Return a row per sample: what it is, its status, its status under each network, and every per-sample number."""
    columns = [r.per_sample for r in results.values() if r.per_sample is not None]
    statuses = pd.DataFrame({f"status[{name}]": values for name, values in evaluation.statuses.items()})
    samples = evaluation.samples.reset_index(drop=True).drop(columns=ASKED, errors="ignore")
    return pd.concat([samples, statuses, *columns], axis=1)


def references_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row per item: its reference's status and groups, and what each network found of it and its targets.

    `usable[<network>]` is whether the reference has a feature, `targets[<network>]` the number of the subject's targets
    that have one.
    """
    columns: dict[str, Any] = {}
    for name, features in evaluation.features.items():
        columns[f"usable[{name}]"] = usable_references(evaluation, features, has_feature)
        owners = subjects(evaluation.targets)[usable_targets(evaluation, features)]
        numbers = pd.Series(owners, dtype=object).value_counts()
        columns[f"targets[{name}]"] = evaluation.references["subject"].map(numbers).fillna(0).astype(int).to_numpy()
    return pd.concat(
        [evaluation.references[["item", "subject", "status", *evaluation.groups]], pd.DataFrame(columns)], axis=1
    )


def items_table(results: dict[str, Result]) -> pd.DataFrame:
    """Return a row per item and number: what `compare` pairs."""
    tables = [r.per_item for r in results.values() if r.per_item is not None]
    empty = pd.DataFrame(columns=["item", "subject", *NUMBER, "value"])
    return pd.concat(tables, ignore_index=True) if tables else empty


def provenance(job: Job, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Return what makes these scores comparable with others: list, protocol, extractor identities, metric versions.

    `identity` says the same at length, for `check`: every setting that changes a number, files by their sha256.
    """
    spec = job.spec
    shown = {"name": spec.conditions.name, "samples": len(job.samples)}
    return {
        "run": job.id,
        "dataset": {"label": spec.dataset.label, "content": job.content},
        "protocol": identity(spec.protocol),
        "evaluator": spec.evaluator.name,
        "detector": detector_id(spec),
        "extractors": {name: feature_id(spec, name) for name in spec.evaluator.all_extractors},
        "metrics": {metric.name: metric.version for metric in metrics},
        **_conditions(job, shown),
        "identity": identity(spec) | _conditions(job, identity(spec, only=("conditions",)).get("conditions", {})),
    }


def _conditions(job: Job, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts about the conditions, with the content of their table; nothing by default."""
    return {} if job.conditions is None else {"conditions": {**facts, "content": job.conditions}}
