"""Evaluations of any size from seeded random features: people are directions, samples lie around their reference."""

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.metrics.protocol import Evaluation, Features

JUDGES = {"quality": 1, "sscd": 11, "head_pose": 9, "clip_text": 8, "aesthetic": 1}
ROLES = {"arcface": "recognition", "adaface": "recognition"} | {
    name: name for name in ("lpips", "flame", "inception", "dinov2", "clip", *JUDGES)
}
TINY = {"arcface": 16, "adaface": 12, "flame": 56, "inception": 10, "dinov2": 14, "clip": 9, **JUDGES}
OF_WHOLE_IMAGES = ("sscd", "clip_text", "aesthetic")
"""Networks that need no face."""
PROMPTS = ("neutral", "hat")
OFFICIAL = {"arcface": 512, "adaface": 512, "flame": 56, "inception": 2048, "dinov2": 1024, "clip": 768}


def evaluation(items=24, per_item=5, per_subject=1, targets=2, dims=None, seed=0, keep=0.8):
    """All samples are good. `keep` is how much of its reference a sample keeps; the rest is noise."""
    rng = np.random.default_rng(seed)
    owner = np.arange(items) // per_subject
    names = np.array([f"subject {s:05d}" for s in owner], dtype=object)
    item = np.repeat(np.arange(items), per_item)
    references = pd.DataFrame(
        {
            "item": [f"item {i:05d}" for i in range(items)],
            "subject": names,
            "status": "ok",
            "gender": np.where(owner % 2, "m", "f"),
        }
    )
    references = references.assign(
        n_faces=1, roll=0.0, det_configured=True, scales_read=3, scales_agree=3, disagreement=0.02
    )
    samples = references.iloc[item].reset_index(drop=True)
    samples.insert(2, "index", np.tile(np.arange(per_item), items))
    samples["prompt_id"] = np.resize(PROMPTS, len(samples))
    people = list(dict.fromkeys(names))
    photos = pd.DataFrame(
        [(name, f"{name}/{k}.jpg", "ok") for name in people for k in range(targets)],
        columns=["subject", "image", "status"],
    )
    features = {
        name: _features(rng, size, owner, item, len(people), targets, keep) for name, size in (dims or TINY).items()
    }
    return Evaluation(
        samples=samples,
        references=references,
        targets=photos,
        features=features,
        **_pairs(rng, samples, per_item),
        roles=ROLES,
        statuses={name: np.full(len(samples), "ok", dtype=object) for name in ROLES},
        recognisers={"arcface": "conditioned", "adaface": "none"},
        groups=("gender",),
        seed=7,
        texts={"clip_text": _texts(features["clip_text"])} if "clip_text" in features else {},
    )


def _texts(features):
    """One vector for each prompt."""
    size = features.samples.shape[1]
    return dict(zip(PROMPTS, np.random.default_rng(5).standard_normal((2, size), dtype=np.float32), strict=True))


def _features(rng, size, owner, item, people, targets, keep):
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


def _pairs(rng, samples, per_item):
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
    between["foreground_i"], between["foreground_j"] = kept[:, i].ravel(), kept[:, j].ravel()
    to_reference = pd.DataFrame(
        {"item": samples["item"], "i": samples["index"], "value": rng.uniform(0.2, 0.6, len(samples))}
    )
    return {"pairs": {"lpips": between}, "to_reference": {"lpips": to_reference}}


def fail(given, rows, status):
    """The same with the samples of some rows failed: what needs a face is NaN, and they are in no pair."""
    samples = given.samples.copy()
    samples.loc[rows, "status"] = status
    features = {}
    for name, part in given.features.items():
        values = part.samples.copy()
        if not (status == "no_face" and name in OF_WHOLE_IMAGES):
            values[rows] = np.nan
        features[name] = replace(part, samples=values)
    gone = set(zip(samples["item"][rows], samples["index"][rows], strict=True))
    pairs = {name: _without(table, gone) for name, table in given.pairs.items()}
    to_reference = {name: _without(table, gone) for name, table in given.to_reference.items()}
    statuses = {name: _marked(old, rows, status) for name, old in given.statuses.items()}
    return replace(given, samples=samples, features=features, pairs=pairs, to_reference=to_reference, statuses=statuses)


def _marked(statuses, rows, status):
    marked = statuses.copy()
    marked[rows] = status
    return marked


def _without(table, gone):
    ends = [end for end in ("i", "j") if end in table]
    keep = [
        not any((item, row[end]) in gone for end in ends)
        for item, (_, row) in zip(table["item"], table.iterrows(), strict=True)
    ]
    return table[keep].reset_index(drop=True)


def reorder(given, order_samples, order_references, order_targets):
    """The same evaluation with the rows of its tables in another order."""
    features = {
        name: Features(part.samples[order_samples], part.references[order_references], part.targets[order_targets])
        for name, part in given.features.items()
    }
    return replace(
        given,
        samples=given.samples.iloc[order_samples].reset_index(drop=True),
        references=given.references.iloc[order_references].reset_index(drop=True),
        targets=given.targets.iloc[order_targets].reset_index(drop=True),
        features=features,
        pairs={name: table.iloc[::-1].reset_index(drop=True) for name, table in given.pairs.items()},
        to_reference={name: table.iloc[::-1].reset_index(drop=True) for name, table in given.to_reference.items()},
    )


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
