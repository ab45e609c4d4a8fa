"""Scored runs without a network: the project's own metrics over seeded random features, in the folder of a run."""

import numpy as np
import pandas as pd

from bench import registry, spec
from bench.images import write_png
from bench.stages import score as stage
from bench.store import write_json, write_table
from bench.testing.world import TINY, evaluation, fail

ALL = (
    "copy_paste", "copying", "copying_lpips", "expression_diversity", "failure_to_acquire", "fid", "groups",
    "id_similarity", "kid", "lpips_diversity", "pose_diversity", "retrieval", "target_similarity", "verification",
    "within_similarity",
)  # fmt: skip
CARD = {"licence": "MIT", "relations": {"arcface": "conditioned", "adaface": "none"}}
FEW = ("failure_to_acquire", "fid", "id_similarity", "retrieval")
REASONS = {"generation_error": "RuntimeError: /home/jo/secret dir/model.bin is gone", "no_face": "no face above 0.5"}
HOSTILE = (
    '<script>alert("x")</script>', "it's \"quoted\" & 'more'", "line\nbreak\ttab", "اسم \u202eمن اليمين", "n" * 200,
    "</script><img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "=cmd()", "名前", "../../etc/passwd",
)  # fmt: skip


def scored(
    folder,
    method="arc",
    *,
    given=None,
    failed=0,
    redistributable=False,
    pictures=False,
    rename=None,
    keep=0.8,
    metrics=FEW,
    warnings=(),
):
    """Writes a scored run of `given` (default: 24 items of 24 people, 5 samples each) and returns its folder."""
    given = evaluation(keep=keep) if given is None else given
    given = _with_failures(given, failed)
    samples = _samples(given, folder if pictures else None)
    metrics = [registry.get("metrics", name) for name in metrics]
    given = _renamed(given, rename) if rename else given
    samples = samples.assign(item=given.samples["item"], subject=given.samples["subject"])
    results = {metric.name: metric.compute(given) for metric in metrics}
    numbers = pd.concat([r.per_sample for r in results.values() if r.per_sample is not None], axis=1)
    write_table(folder / "scores/scores.parquet", stage.scores_table(metrics, results, given))
    statuses = pd.DataFrame({f"status[{name}]": values for name, values in given.statuses.items()})
    write_table(folder / "scores/samples.parquet", pd.concat([samples, statuses, numbers], axis=1))
    write_table(folder / "scores/references.parquet", stage.references_table(given))
    write_table(folder / "scores/items.parquet", stage.items_table(results))
    write_table(folder / "photos.parquet", _photos(given, folder if pictures else None))
    _records(folder, method, metrics, redistributable, len(given.references), list(warnings))
    return folder


def _with_failures(given, count):
    rows = np.arange(count) * 2 % len(given.samples)
    for status, part in (("no_face", rows[::2]), ("generation_error", rows[1::2])):
        given = fail(given, part, status) if len(part) else given
    return given


def _samples(given, pictures):
    frame = given.samples[["item", "subject", "index", "status"]].copy()
    frame["reason"] = [REASONS.get(status, "") for status in frame["status"]]
    frame["seed"], frame["prompt_id"], frame["n_faces"] = np.arange(len(frame)), "neutral", 1
    made = [bool(pictures) and status != "generation_error" for status in frame["status"]]
    frame["path"] = [f"samples/{row}.png" if there else "" for row, there in enumerate(made)]
    frame["sha256"] = [f"{row:020x}{0:044x}" if there else "" for row, there in enumerate(made)]
    for row in np.flatnonzero(made):
        write_png(picture(row), pictures / f"samples/{row}.png", {})
    return frame


def picture(number, size=24):
    """A small picture that no other number has."""
    ramp = np.linspace(0, 180, size, dtype=np.uint8)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(number % 256)), axis=-1)
    return np.ascontiguousarray(image)


def _photos(given, pictures):
    frame = given.references[["item", "subject"]].assign(role="reference", image=given.references["item"] + ".png")
    frame["path"] = [str(pictures / f"photos/{row}.png") for row in range(len(frame))] if pictures else ""
    frame["sha256"] = [f"{10**6 + row:020x}{0:044x}" for row in range(len(frame))]
    for row in range(len(frame)) if pictures else ():
        write_png(picture(200 + row), pictures / f"photos/{row}.png", {})
    return frame.assign(status="ok", reason="")


def _renamed(given, rename):
    from dataclasses import replace

    items = {name: rename(at, name) for at, name in enumerate(given.references["item"])}
    people = {name: f"{rename(at, name)}!" for at, name in enumerate(dict.fromkeys(given.references["subject"]))}

    def of(frame):
        return frame.assign(**{c: frame[c].map(m) for c, m in (("item", items), ("subject", people)) if c in frame})

    pairs = {name: of(table) for name, table in given.pairs.items()}
    to_reference = {name: of(table) for name, table in given.to_reference.items()}
    samples, references, targets = (of(frame) for frame in (given.samples, given.references, given.targets))
    tables = {"samples": samples, "references": references, "targets": targets}
    return replace(given, **tables, pairs=pairs, to_reference=to_reference)


def _records(folder, method, metrics, redistributable, items, warnings):
    networks = {"weights": "/home/jo/weights/net.onnx", "view": "arcface112"}
    plain = spec.from_mapping(
        {
            "method": {"name": "folder", "root": "/home/jo/pictures", "card": CARD},
            "dataset": {
                "name": "folder", "root": "/home/jo/people", "redistributable": redistributable, "licence": "CC BY 4.0",
                "label": "toys",
            },
            "protocol": {"name": "toy", "seed": 7},
            "evaluator": {
                "name": "toy", "detector": {"name": "scrfd", "weights": "/home/jo/weights/det.onnx"},
                "recognisers": {name: {"name": "arcface_onnx", **networks} for name in ("arcface", "adaface")},
                "licences": ["non-commercial research only"],
            },
            "out": "/home/jo/runs",
        }
    ).model_dump(mode="json")  # fmt: skip
    plain["method"]["name"] = method
    run, content = f"{abs(hash_of(method)):064x}", "c" * 64
    write_json(
        folder / "run.json",
        {
            "id": run, "method": method, "dataset": "toys", "content": content, "items": items, "spec": plain,
            "weights": {"evaluator.detector.options.weights": "d" * 64}, "begun": 1.0, "command": ["/home/jo/bench"],
            "environment": {"python": "3.11", "packages": {"numpy": "2"}, "commit": None, "dirty": False},
            "warnings": warnings,
        },
    )  # fmt: skip
    write_json(
        folder / "scores/scores.json",
        {
            "run": run, "dataset": {"label": "toys", "content": content}, "protocol": plain["protocol"],
            "evaluator": "toy", "detector": "e" * 64, "extractors": dict.fromkeys(TINY, "f" * 64),
            "metrics": {metric.name: metric.version for metric in metrics},
            "identity": {"dataset": {"options": {"root": "/home/jo/people"}}},
        },
    )  # fmt: skip


def hash_of(text):
    """A number that differs from text to text and not from process to process."""
    return int.from_bytes(text.encode()[:16], "big")
