"""The golden set's numbers by formula (see the README beside the set)."""

import hashlib

import numpy as np


def uniform(salt, name, n):
    """n float64 numbers in [-1, 1)."""
    start = np.uint64(int.from_bytes(hashlib.sha256(f"{salt}/{name}".encode()).digest()[:4], "little") << 32)
    with np.errstate(over="ignore"):
        z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
