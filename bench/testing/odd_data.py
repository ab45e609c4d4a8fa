"""Evaluations that a metric must answer without an error: empty ones, failures, NaN, names that nobody expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.metrics.protocol import Evaluation, Features
from bench.testing.world import cut, fail, features_of

World = Callable[..., Evaluation]
"""`bench.testing.world.evaluation`, with the roles that the metric reads."""


def bare(world: World) -> Evaluation:
    """Return a run of an empty folder: tables of no columns but the required ones, no features."""
    return Evaluation(
        samples=pd.DataFrame(columns=["item", "subject", "index", "status"]),
        references=pd.DataFrame(columns=["item", "subject", "status"]),
        targets=pd.DataFrame(),
        features={},
        pairs={},
    )


def empty(world: World) -> Evaluation:
    """Return an evaluation of no reference and no sample."""
    given = cut(world(items=1, targets=0), [])
    features = {
        name: features_of([np.empty((0, part.samples.shape[1]), np.float32)] * 3)
        for name, part in given.features.items()
    }
    return replace(given, references=given.references.iloc[:0], features=features)


def identical_images(world: World) -> Evaluation:
    """Return an evaluation in which all images are one image: every feature equal, every distance 0."""
    given = world()
    features = {
        name: features_of(np.ones_like(part) for part in (old.samples, old.references, old.targets))
        for name, old in given.features.items()
    }
    pairs = {name: table.assign(value=0.0) for name, table in given.pairs.items()}
    to_reference = {name: table.assign(value=0.0) for name, table in given.to_reference.items()}
    return replace(given, features=features, pairs=pairs, to_reference=to_reference)


def with_nan(world: World) -> Evaluation:
    """Return one with NaN in a number of a good sample's, of a good reference's and of a good target's features."""
    given = world()
    features = {}
    for name, old in given.features.items():
        parts = [part.copy() for part in (old.samples, old.references, old.targets)]
        for row, part in zip((3, 2, 1), parts, strict=True):
            part[row, 0] = np.nan
        parts[0][11] = np.inf
        parts[0][12] = 0.0
        features[name] = features_of(parts)
    pairs = {name: table.assign(value=table["value"].where(table.index != 4)) for name, table in given.pairs.items()}
    return replace(given, features=features, pairs=pairs)


def strange_names(world: World) -> Evaluation:
    """Return one whose subjects have names with signs of HTML, CSV and formats; one group has no column."""
    given = world()
    odd = {name: f"{name}</td>,\n\"'%s" for name in given.references["subject"].unique()}

    def renamed(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(subject=frame["subject"].map(odd))

    return replace(
        given,
        samples=renamed(given.samples),
        references=renamed(given.references),
        targets=renamed(given.targets),
        groups=("gender", "age"),
    )


def all_failed(world: World, status: str) -> Evaluation:
    """Return one in which every sample has the status."""
    given = world()
    return fail(given, np.arange(len(given.samples)), status)


def faceless_references(world: World) -> Evaluation:
    """Return one in which no reference has a face, so that nothing was asked of the method."""
    given = world()
    features = {
        name: Features(np.full_like(old.samples, np.nan), np.full_like(old.references, np.nan), old.targets)
        for name, old in given.features.items()
    }
    return replace(
        given,
        samples=given.samples.assign(status="reference_failed"),
        references=given.references.assign(status="no_face"),
        features=features,
        pairs={},
        to_reference={},
    )


def no_feature_at_all(world: World) -> Evaluation:
    """Return one in which no image has a feature, so that not even its length is known."""
    given = all_failed(world, "no_face")
    features = {
        name: features_of(np.full((len(part), 1), np.nan, np.float32) for part in (f.samples, f.references, f.targets))
        for name, f in given.features.items()
    }
    return replace(given, features=features)


def unknown_items(world: World) -> Evaluation:
    """Return one whose samples are of items that are not among the references."""
    given = world()
    return replace(given, references=given.references.assign(item="x"))


ODD_DATA: Mapping[str, Callable[[World], Evaluation]] = {
    "bare": bare,
    "empty": empty,
    "one sample": lambda world: cut(world(items=1), [0]),
    "one sample, other references": lambda world: cut(world(), [0]),
    "one sample per item": lambda world: world(per_item=1),
    "one identity": lambda world: world(items=1),
    "one identity, several items": lambda world: world(items=6, per_subject=6),
    "two identities": lambda world: world(items=2),
    "all samples of an identity failed": lambda world: fail(world(), np.arange(5), "no_face"),
    "all without a face": lambda world: all_failed(world, "no_face"),
    "no feature at all": no_feature_at_all,
    "all undecodable": lambda world: all_failed(world, "undecodable"),
    "all unavailable": lambda world: all_failed(world, "unavailable"),
    "no reference has a face": faceless_references,
    "NaN": with_nan,
    "identical images": identical_images,
    "no targets": lambda world: world(targets=0),
    "strange names": strange_names,
    "unknown status": lambda world: all_failed(world, "lost"),
    "samples of unknown items": unknown_items,
}
"""What is odd -> how to make it."""
EMPTY = ("bare", "empty", "no reference has a face")
"""The ones in which nothing was asked of the method."""
