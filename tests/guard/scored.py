"""A scored run written by hand, as far as `check` reads it."""

import pandas as pd

from bench.metrics.protocol import Number
from bench.store import write_json, write_table

COUNTS = {"n": 50, "n_failed": 2, "n_unavailable": 0, "n_items": 10, "n_pairs": None}
NUMBERS = {
    Number("id_similarity", "arcface", "mean_detected"): (0.5, 0.45, 0.55),
    Number("id_similarity", "arcface", "q05"): (0.2, None, None),
    Number("fid", "inception", "distance"): (20.0, 18.0, 22.0),
    Number("groups", "", "mean_detected"): (None, None, None),
}
WEIGHTS = "a" * 64


def settings():
    """As `scores.json` holds them."""
    return {
        "dataset": {"label": "d", "content": "c" * 64},
        "metrics": {"fid": 1, "groups": 1, "id_similarity": 1},
        "identity": {
            "method": {"name": "m", "options": {"steps": 25}},
            "dataset": {"name": "folder", "label": "d", "options": {"limit": None}},
            "protocol": {"name": "p", "seed": 0, "views": {"fill": [0, 0, 0]}},
            "evaluator": {"recognisers": {"arcface": {"name": "arcface_onnx", "options": {"weights": WEIGHTS}}}},
        },
    }


def scored(folder, numbers=None, comparable=None, counts=None, platform="here"):
    """Writes a run with other numbers, settings or counts (by a number's name)."""
    environment = {
        "platform": platform,
        "processor": "x86_64",
        "python": "3.11",
        "commit": None,
        "packages": {"torch": "2"},
    }
    execution = {"device": "cpu", "threads": 1}
    write_json(
        folder / "run.json",
        {"method": "m", "dataset": "d", "environment": environment, "spec": {"execution": execution}},
    )
    write_json(folder / "scores/scores.json", comparable or settings())
    rows = [
        {**number._asdict(), "value": value, "low": low, "high": high, **COUNTS, **(counts or {}).get(number, {}),
         "drawn": False, "note": "", "version": 1, "unit": "", "higher_is_better": True, "relation": "none"}
        for number, (value, low, high) in {**NUMBERS, **(numbers or {})}.items()
        if value != "gone"
    ]  # fmt: skip
    write_table(folder / "scores/scores.parquet", pd.DataFrame(rows).astype({"n_pairs": "float64"}))
    for name in ("scores/samples", "scores/items", "photos"):
        write_table(folder / f"{name}.parquet", pd.DataFrame({"item": ["i"]}))
    return folder
