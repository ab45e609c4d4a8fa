"""Evaluations of any size from seeded random features: people are directions, samples lie around their reference."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.conditions.asked import ASKED, LENGTH
from bench.metrics.protocol import Evaluation, Features
from bench.status import SampleStatus

JUDGES = {"quality": 1, "sscd": 11, "head_pose": 9, "clip_text": 8, "aesthetic": 1}
ROLES = {"arcface": "recognition", "adaface": "recognition"} | {
    name: name for name in ("lpips", "flame", "inception", "dinov2", "clip", *JUDGES)
}
"""Name of each network of the world -> its role."""
BEYOND_DOUBT = {
    "n_faces": 1,
    "roll": 0.0,
    "det_configured": True,
    "scales_read": 3,
    "scales_agree": 3,
    "disagreement": 0.02,
}
"""What the search for a face records where all scales agree on one upright face."""
TINY = {"arcface": 16, "adaface": 12, "flame": 56, "inception": 10, "dinov2": 14, "clip": 9, **JUDGES}
"""Name of each network that answers with features -> their length."""
OF_WHOLE_IMAGES = ("sscd", "clip_text", "aesthetic")
"""Networks that need no face."""
PROMPTS = ("neutral", "hat")
OWN_SIZE = 3
"""Numbers in a feature of a role that the world does not have by itself."""

Rows = list[int] | NDArray[np.integer[Any]]


def evaluation(
    items: int = 24,
    per_item: int = 5,
    per_subject: int = 1,
    targets: int = 2,
    dims: Mapping[str, int] | None = None,
    seed: int = 0,
    keep: float = 0.8,
) -> Evaluation:
    """Return an evaluation in which all samples are good.

    Args:
        items: references.
        per_item: samples of each.
        per_subject: references of a subject.
        targets: further photos of each subject.
        dims: name of each network -> length of its features; None: `TINY`.
        seed: of all features and distances.
        keep: how much of its reference a sample keeps, 0 to 1; the rest is noise.
    """
    rng = np.random.default_rng(seed)
    owner = np.arange(items) // per_subject
    item = np.repeat(np.arange(items), per_item)
    references = _references(owner)
    samples = references.iloc[item].reset_index(drop=True)
    samples.insert(2, "index", np.tile(np.arange(per_item), items))
    samples["prompt_id"] = np.resize(PROMPTS, len(samples))
    people = list(dict.fromkeys(references["subject"]))
    features = {
        name: _features(rng, size, owner, item, len(people), targets, keep) for name, size in (dims or TINY).items()
    }
    pairs, to_reference = _pairs(rng, samples, per_item)
    return Evaluation(
        samples=samples,
        references=references,
        targets=_targets(people, targets),
        features=features,
        pairs=pairs,
        to_reference=to_reference,
        roles=ROLES,
        statuses={name: np.full(len(samples), "ok", dtype=object) for name in ROLES},
        recognisers={"arcface": "conditioned", "adaface": "none"},
        groups=("gender",),
        seed=7,
        texts={"clip_text": _texts(features["clip_text"])} if "clip_text" in features else {},
    )


def _references(owner: NDArray[Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item": [f"item {i:05d}" for i in range(len(owner))],
            "subject": np.array([f"subject {s:05d}" for s in owner], dtype=object),
            "status": "ok",
            "gender": np.where(owner % 2, "m", "f"),
            **BEYOND_DOUBT,
        }
    )


def _targets(people: Sequence[str], count: int) -> pd.DataFrame:
    rows = [(name, f"{name}/{k}.jpg", "ok") for name in people for k in range(count)]
    return pd.DataFrame(rows, columns=["subject", "image", "status"])


def _texts(features: Features) -> dict[str, NDArray[np.float32]]:
    """Return one vector for each prompt."""
    size = features.samples.shape[1]
    return dict(zip(PROMPTS, np.random.default_rng(5).standard_normal((2, size), dtype=np.float32), strict=True))


def _features(
    rng: np.random.Generator,
    size: int,
    owner: NDArray[Any],
    item: NDArray[Any],
    people: int,
    targets: int,
    keep: float,
) -> Features:
    scale = (1 + np.arange(size, dtype=np.float32)) ** -0.25
    person = rng.standard_normal((people, size), dtype=np.float32) * scale
    reference = person[owner] + 0.3 * scale * rng.standard_normal((len(owner), size), dtype=np.float32)
    noise = rng.standard_normal((len(item), size), dtype=np.float32)
    for start in range(0, len(item), 4096):
        part = slice(start, start + 4096)
        noise[part] = (1 - keep) * scale * noise[part] + keep * reference[item[part]]
    photo = np.repeat(person, targets, axis=0)
    photo += 0.5 * scale * rng.standard_normal(photo.shape, dtype=np.float32)
    return Features(noise, reference, photo)


def _pairs(
    rng: np.random.Generator, samples: pd.DataFrame, per_item: int
) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Return the distances between the samples of an item, and those to its reference, by network."""
    i, j = np.triu_indices(per_item, 1)
    names = samples["item"].to_numpy()[::per_item]
    count = len(names) * len(i)
    between = pd.DataFrame(
        {
            "item": np.repeat(names, len(i)),
            "i": np.tile(i, len(names)),
            "j": np.tile(j, len(names)),
            "value": rng.uniform(0.2, 0.6, count),
        }
    )
    kept = np.random.default_rng(1).uniform(0.4, 0.7, (len(names), per_item))
    between["foreground_i"] = kept[:, i].ravel()
    between["foreground_j"] = kept[:, j].ravel()
    to_reference = pd.DataFrame(
        {"item": samples["item"], "i": samples["index"], "value": rng.uniform(0.2, 0.6, len(samples))}
    )
    return {"lpips": between}, {"lpips": to_reference}


def features_of(parts: Iterable[NDArray[np.float32]]) -> Features:
    """Return features from those of the samples, of the references and of the targets, in this order."""
    samples, references, targets = parts
    return Features(samples, references, targets)


def with_roles(given: Evaluation, features: Collection[str] = (), pairs: Collection[str] = ()) -> Evaluation:
    """Return an evaluation with one network more for each role that the world does not have, of the role's name.

    Args:
        given: as `evaluation` returns it.
        features: roles of networks that answer with features: three numbers each, from 0 to 1.
        pairs: roles of networks that answer with distances: those of the world's `lpips`, from 0.2 to 0.6.
    """
    rng = np.random.default_rng(9)
    sizes = [len(table) for table in (given.samples, given.references, given.targets)]
    own = {
        role: features_of(rng.uniform(0, 1, (size, OWN_SIZE)).astype(np.float32) for size in sizes) for role in features
    }
    names = [*features, *pairs]
    return replace(
        given,
        features={**given.features, **own},
        pairs={**given.pairs, **{role: given.pairs["lpips"] for role in pairs}},
        to_reference={**given.to_reference, **{role: given.to_reference["lpips"] for role in pairs}},
        roles={**given.roles, **{role: role for role in names}},
        statuses={**given.statuses, **{role: given.statuses["lpips"] for role in names}},
    )


def with_asked(given: Evaluation) -> Evaluation:
    """Return an evaluation whose samples were asked for about what the network `flame` reads of them."""
    read = given.features["flame"].samples.astype(np.float64)
    noise = np.random.default_rng(11).normal(0, 0.1, (len(read), LENGTH))
    noise[:, : read.shape[1]] += read
    return replace(given, samples=given.samples.assign(**{ASKED: pd.Series(list(noise), dtype=object)}))


def fail(given: Evaluation, rows: Rows, status: str) -> Evaluation:
    """Return the same with the samples of some rows failed: what needs a face is NaN, and they are in no pair."""
    samples = given.samples.copy()
    samples.loc[rows, "status"] = status
    features = {}
    for name, part in given.features.items():
        values = part.samples.copy()
        if not (status == SampleStatus.NO_FACE and name in OF_WHOLE_IMAGES):
            values[rows] = np.nan
        features[name] = replace(part, samples=values)
    items, numbers = samples["item"].to_numpy(), samples["index"].to_numpy()
    gone = set(zip(items[rows], numbers[rows], strict=True))
    pairs = {name: _without(table, gone) for name, table in given.pairs.items()}
    to_reference = {name: _without(table, gone) for name, table in given.to_reference.items()}
    statuses = {name: _marked(old, rows, status) for name, old in given.statuses.items()}
    return replace(given, samples=samples, features=features, pairs=pairs, to_reference=to_reference, statuses=statuses)


def _marked(statuses: NDArray[np.object_], rows: Rows, status: str) -> NDArray[np.object_]:
    marked = statuses.copy()
    marked[rows] = status
    return marked


def _without(table: pd.DataFrame, gone: Collection[tuple[str, int]]) -> pd.DataFrame:
    """Return the pairs of a table in which no sample is gone."""
    keep = np.ones(len(table), dtype=bool)
    for end in [end for end in ("i", "j") if end in table]:
        keep &= [place not in gone for place in zip(table["item"], table[end], strict=True)]
    return table[keep].reset_index(drop=True)


def cut(given: Evaluation, rows: Rows) -> Evaluation:
    """Return an evaluation with the samples of some rows alone, and everything of its references."""
    kept = np.asarray(rows, dtype=int)
    samples = given.samples.iloc[kept].reset_index(drop=True)
    every = set(zip(given.samples["item"], given.samples["index"], strict=True))
    gone = every - set(zip(samples["item"], samples["index"], strict=True))
    return replace(
        given,
        samples=samples,
        features={name: replace(part, samples=part.samples[kept]) for name, part in given.features.items()},
        pairs={name: _without(table, gone) for name, table in given.pairs.items()},
        to_reference={name: _without(table, gone) for name, table in given.to_reference.items()},
        statuses={name: values[kept] for name, values in given.statuses.items()},
    )


def reorder(given: Evaluation, of_samples: Rows, of_references: Rows, of_targets: Rows) -> Evaluation:
    """Return the same evaluation with the rows of its tables in another order."""
    features = {
        name: replace(
            part,
            samples=part.samples[of_samples],
            references=part.references[of_references],
            targets=part.targets[of_targets],
        )
        for name, part in given.features.items()
    }
    return replace(
        given,
        samples=given.samples.iloc[of_samples].reset_index(drop=True),
        references=given.references.iloc[of_references].reset_index(drop=True),
        targets=given.targets.iloc[of_targets].reset_index(drop=True),
        features=features,
        pairs={name: table.iloc[::-1].reset_index(drop=True) for name, table in given.pairs.items()},
        to_reference={name: table.iloc[::-1].reset_index(drop=True) for name, table in given.to_reference.items()},
    )
