"""What of the making of samples is recorded."""

from types import SimpleNamespace

import numpy as np

from baselines.protocol import Output
from bench.stages import generate


class Halved:
    """A method that had to make smaller batches."""

    def generate(self, requests):
        image = np.zeros((8, 8, 3), np.uint8)
        return [Output(image=image, note="in batches of 2") for _ in requests]


def test_what_a_method_notes_is_recorded(monkeypatch):
    def row(_job, _references, item, index):
        status = "ok" if item == 0 else "reference_failed"
        return {"position": item, "index": index, "seed": 1, "status": status, "note": "", "key": ""}

    monkeypatch.setattr(generate, "_row", row)
    monkeypatch.setattr(generate, "_commit", lambda *_: {"path": "x.png"})
    job = SimpleNamespace(spec=SimpleNamespace(protocol=SimpleNamespace(prompt="")), folder=None)
    found = generate._batch(job, Halved(), [None, None], [(0, 0), (0, 1), (1, 0)])
    assert found["note"].tolist() == ["in batches of 2", "in batches of 2", ""]
    assert "note" in generate.TIMING_COLUMNS
