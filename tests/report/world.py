"""Scored run folders in the store's own format, from seeded random features: every number is computed by the metrics."""

from dataclasses import replace

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from bench import registry
from bench.metrics.protocol import Features
from bench.stages.score import items_table, samples_table, scores_table
from bench.store import write_json, write_table
from tests.metrics.world import evaluation

RELATIONS = {"arcface": "none", "adaface": "none"}


def write_run(
    folder, method, *, keep=0.8, seed=0, items=24, failed=0.0, pictures=True, dataset="mini", relations=None, names=None
):
    """A run whose samples keep as much of their reference as said; `failed` of them have no face or were not made.

    References are those of seed 0 for every method; `names` replaces the first items' names.
    """
    given = _evaluation(items, keep, seed)
    samples, references = _told(given.samples, failed, seed), given.references
    if names:
        new = dict(zip(references["item"], names, strict=False))
        samples, references = (frame.assign(item=frame["item"].replace(new)) for frame in (samples, references))
    bad = (samples["status"] != "ok").to_numpy()
    features = {name: replace(one, samples=_without(one.samples, bad)) for name, one in given.features.items()}
    pairs = (
        {name: frame.assign(item=frame["item"].replace(new)) for name, frame in given.pairs.items()}
        if names
        else given.pairs
    )
    spread = {name: frame.assign(value=frame["value"] * (1.6 - keep)) for name, frame in pairs.items()}
    given = replace(
        given, samples=samples, references=references, features=features, pairs=spread,
        recognisers=RELATIONS | (relations or {}),
    )  # fmt: skip
    metrics = [registry.get("metrics", name) for name in sorted(registry.targets("metrics"))]
    results = {metric.name: metric.compute(given) for metric in metrics}
    write_table(folder / "scores/scores.parquet", scores_table(metrics, results, given))
    write_table(folder / "scores/samples.parquet", samples_table(given, results))
    write_table(folder / "scores/items.parquet", items_table(results))
    write_json(folder / "scores/scores.json", comparable(dataset, metrics))
    write_json(folder / "run.json", record(method, dataset))
    write_table(folder / "photos.parquet", photos(folder, references))
    if pictures:
        _draw(folder, samples, references)
    return folder


def _evaluation(items, keep, seed):
    """References of seed 0, samples of `seed`."""
    base, own = evaluation(items=items, keep=keep), evaluation(items=items, keep=keep, seed=seed)
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(items), 5)
    features = {
        name: Features(
            (keep * one.references[row] + (1 - keep) * rng.standard_normal((len(row), one.references.shape[1]))).astype(np.float32),
            one.references, one.targets,
        )
        for name, one in base.features.items()
    }  # fmt: skip
    return replace(base, features=features, pairs=own.pairs)


def _told(samples, failed, seed):
    lost = np.random.default_rng(seed + 1).random(len(samples)) < failed
    kinds = np.array(["no_face", "generation_error"])[np.arange(len(samples)) % 2]
    reasons = {
        "no_face": "no face found at 512, 256 pixels",
        "generation_error": "RuntimeError: out of memory, at step 7",
        "ok": "",
    }
    status = np.where(lost, kinds, "ok")
    path = [
        f"samples/{i}/{k}.png" if s != "generation_error" else ""
        for i, k, s in zip(samples["item"], samples["index"], status)
    ]
    return samples.assign(
        seed=range(len(samples)), prompt_id="neutral", sha256="", path=path, status=status,
        reason=[reasons[s] for s in status], n_faces=1, score=0.9, box=None, keypoints=None, det_size=512,
    )  # fmt: skip


def _without(matrix, bad):
    matrix = matrix.copy()
    matrix[bad] = np.nan
    return matrix


def photos(folder, references):
    shown = references[["item", "subject", "status"]].assign(role="reference", image="", sha256="", reason="")
    return shown.assign(path=[str(folder / "references" / f"{k}.png") for k in range(len(references))])


def record(method, dataset):
    return {
        "method": method, "dataset": dataset,
        "spec": {
            "method": {"name": method, "card": {"licence": "MIT"}},
            "dataset": {"name": dataset, "options": {"licence": "MIT", "redistributable": dataset == "mini"}},
            "evaluator": {"licences": []},
            "execution": {"device": "cpu", "threads": 1},
        },
    }  # fmt: skip


def comparable(dataset, metrics):
    return {
        "dataset": {"label": dataset}, "protocol": {"name": "arc2face_eccv24"}, "detector": "d", "extractors": {},
        "metrics": {metric.name: metric.version for metric in metrics},
    }  # fmt: skip


def _draw(folder, samples, references):
    """Drawn heads, each item of its own colour."""
    for number, item in enumerate(references["item"]):
        _head(folder / "references" / f"{number}.png", number, "ref")
        for _, row in samples[samples["item"] == item].iterrows():
            if row["path"]:
                _head(folder / row["path"], number, str(row["index"]))


def _head(path, number, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (200, 200), (40, 40, 60))
    draw = ImageDraw.Draw(image)
    draw.ellipse((50, 30, 150, 170), fill=tuple(int(c) for c in np.random.default_rng(number).integers(90, 255, 3)))
    draw.text((90, 90), text, fill=(0, 0, 0))
    image.save(path)


def methods(folder, **options):
    """Four generators that differ, and a control, of 24 people."""
    kept = {"arc2face": 0.9, "instantid": 0.85, "photomaker": 0.6, "fastcomposer": 0.59, "copy": 1.0}
    return [
        write_run(folder / name, name, keep=keep, seed=k + 1, **options) for k, (name, keep) in enumerate(kept.items())
    ]


def frames(folder):
    return {name: pd.read_parquet(folder / "scores" / f"{name}.parquet") for name in ("scores", "samples", "items")}
