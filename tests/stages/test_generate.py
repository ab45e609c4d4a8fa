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
    monkeypatch.setattr(generate, "_commit", lambda *_: {"path": "x.png"})
    protocol = SimpleNamespace(seed=0, texts={"neutral": "photo of a person"})
    spec = SimpleNamespace(protocol=protocol, dataset=SimpleNamespace(label="few"))
    faults = [None, None, "no face found"]
    asked = SimpleNamespace(fault=lambda planned: faults[planned["row"]], request=lambda planned, seed: seed)
    names = {"item": "a", "subject": "A", "prompt_id": "neutral", "seed_key": "a"}
    rows = [{**names, "row": k, "index": k, "seed_index": k} for k in range(3)]
    found = generate._batch(SimpleNamespace(spec=spec, folder=None), Halved(), asked, rows)
    assert found["reason"].tolist() == ["", "", "reference: no face found"]
    assert found["note"].tolist() == ["in batches of 2", "in batches of 2", ""]
    assert found["status"].tolist() == ["ok", "ok", "reference_failed"]
    assert "note" in generate.TIMING_COLUMNS
