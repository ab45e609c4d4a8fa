"""The seed of one sample: a function of what the sample is, never of when or where it is made."""

from __future__ import annotations

import hashlib
import json


def sample_seed(protocol_seed: int, dataset: str, item: str, index: int, prompt: str) -> int:
    """Return a seed in [0, 2^63) from sha256 over the five values that name a sample.

    >>> sample_seed(0, "mini", "s000", 0, "photo of a person") != sample_seed(0, "mini", "s000", 1, "photo of a person")
    True
    """
    text = json.dumps([protocol_seed, dataset, item, index, prompt], ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
