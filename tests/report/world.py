"""Scored run folders in the store's own format: random features, but every number is computed by the metrics."""

from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from bench import registry
from bench.metrics.protocol import Features
from bench.stages.score import items_table, samples_table, scores_table
from bench.store import write_json, write_table
from bench.testing.world import evaluation

RELATIONS = {"arcface": "none", "adaface": "none"}


def write_run(
    folder, method, *, keep=0.8, seed=0, items=24, failed=0.0, pictures=True, dataset="mini", relations=None, names=(),
    networks=None, metrics=None,
):  # fmt: skip
    """A run whose samples keep as much of their reference as said; `failed` of them have no face or were not made.

    References are those of seed 0 for every method; `names` replaces the first items' names; `networks` are further
    extractors with their roles. All metrics are computed unless some are named.
    """
    base, own = evaluation(items=items, keep=keep), evaluation(items=items, keep=keep, seed=seed)
    named = dict(zip(base.references["item"], names, strict=False))
    samples, references = (_renamed(frame, named) for frame in (base.samples, base.references))
    samples = _told(samples, failed, seed)
    bad = (samples["status"] != "ok").to_numpy()
    rng = np.random.default_rng(seed)
    base = replace(base, roles=base.roles | (networks or {}))
    features = base.features | {name: base.features["clip"] for name in networks or {}}
    given = replace(
        base,
        samples=samples,
        references=references,
        features={name: _features(rng, one, keep, bad) for name, one in features.items()},
        pairs={n: _renamed(f, named).assign(value=f["value"] * (1.6 - keep)) for n, f in own.pairs.items()},
        recognisers=RELATIONS | (relations or {}),
    )
    metrics = [registry.get("metrics", name) for name in metrics or sorted(registry.entries("metrics"))]
    metrics = [metric for metric in metrics if {*metric.needs} <= {*given.roles.values()}]
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


def _renamed(frame, names):
    return frame.assign(item=[names.get(item, item) for item in frame["item"]])


def _features(rng, one, keep, bad):
    noise = rng.standard_normal(one.samples.shape)
    samples = keep * np.repeat(one.references, 5, axis=0) + (1 - keep) * noise
    samples[bad] = np.nan
    return Features(samples.astype(np.float32), one.references, one.targets)


def _told(samples, failed, seed):
    """The samples with what a run knows of each; the pictures of item k lie in folder k."""
    reasons = {"no_face": "no face at 512, 256 pixels", "generation_error": "RuntimeError: out of memory", "ok": ""}
    lost = np.random.default_rng(seed + 1).random(len(samples)) < failed
    kinds = np.array(["no_face", "generation_error"])[np.arange(len(samples)) % 2]
    status = np.where(lost, kinds, "ok")
    path = [f"samples/{k // 5}/{k % 5}.png" if s != "generation_error" else "" for k, s in enumerate(status)]
    return samples.assign(
        seed=range(len(samples)), prompt_id="neutral", sha256="", path=path, status=status,
        reason=[reasons[s] for s in status], n_faces=1, score=0.9, box=None, keypoints=None, det_size=512,
    )  # fmt: skip


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
    for number in range(len(references)):
        _head(folder / "references" / f"{number}.png", number, "ref")
    for k, path in enumerate(samples["path"]):
        if path:
            _head(folder / path, k // 5, str(k % 5))


def _head(path, number, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (200, 200), (40, 40, 60))
    draw = ImageDraw.Draw(image)
    draw.ellipse((50, 30, 150, 170), fill=tuple(int(c) for c in np.random.default_rng(number).integers(90, 255, 3)))
    draw.text((90, 90), text, fill=(0, 0, 0))
    image.save(path)
