"""The formulas of the golden metric data (its README, section 1): pseudo-random parameters and integer images."""

import hashlib

import numpy as np
from numba import njit


def uniform(salt: str, name: str, n: int) -> np.ndarray:
    """U(salt, name, n): n float64 in [-1, 1), a splitmix64 sequence seeded by the name's sha256."""
    seed = int.from_bytes(hashlib.sha256(f"{salt}/{name}".encode()).digest()[:4], "little") << 32
    out = np.empty(n)
    _splitmix(np.uint64(seed), out)
    return out


@njit(cache=True)
def _splitmix(seed: np.uint64, out: np.ndarray) -> None:
    for index in range(out.size):
        z = np.uint64(index + 1) * np.uint64(0x9E3779B97F4A7C15) + seed
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        out[index] = (z >> np.uint64(11)) * 2.0**-52 - 1.0


def parameter(salt: str, key: str, shape: tuple[int, ...], prelu: bool = False) -> np.ndarray:
    """The float32 value of the parameter with an official state-dict key."""
    values = uniform(salt, key, int(np.prod(shape)))
    kind = key.rsplit(".", 1)[-1]
    if kind == "weight" and len(shape) >= 2:
        values = _matrix(values, shape)
    elif kind == "weight":
        values = _slope(values) if prelu else _scale(values, key)
    else:
        values = {"bias": 0.02 * values, "running_mean": 0.05 * values, "running_var": 1 + 0.2 * values}[kind]
    return values.reshape(shape).astype(np.float32)


def _matrix(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    rows = values.reshape(shape[0], -1)
    fan = rows.shape[1]
    if fan > 1:
        rows = rows - rows.mean(axis=1, keepdims=True)
    return rows * np.sqrt(6 / fan)


def _slope(values: np.ndarray) -> np.ndarray:
    return 0.25 + 0.05 * values


def _scale(values: np.ndarray, key: str) -> np.ndarray:
    return (1 + 0.1 * values) * (0.3 if key.endswith("res_layer.5.weight") else 1.0)


def _tri(t: np.ndarray, p: int) -> np.ndarray:
    return p - np.abs(t % (2 * p) - p)


def _grid(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:h, :w].astype(np.int64)
    return y, x


def timg(h: int, w: int, k: int, q: int) -> np.ndarray:
    """A textured (h, w, 3) uint8 image."""
    y, x = _grid(h, w)
    return np.stack([_textured(y, x, k, c, q) for c in range(3)], axis=2).astype(np.uint8)


def _textured(y: np.ndarray, x: np.ndarray, k: int, c: int, q: int) -> np.ndarray:
    p1, p2 = 19 + 4 * ((k + 2 * c + q) % 5), 7 + 2 * ((3 * k + c + q) % 4)
    p3 = 61 + 6 * ((k + c + 2 * q) % 7)
    a = _tri((2 + k % 3) * x + (1 + c) * y + 17 * k + 29 * c + q, p1) * 255 // p1
    b = _tri(3 * y - (1 + (k + c) % 3) * x + 11 * k + 5 * c + 7 * q, p2) * 255 // p2
    d = _tri(x + (2 + k % 2) * y + 31 * k * (c + 1) + 13 * q, p3) * 255 // p3
    return (3 * a + b + 4 * d) // 8


def simg(h: int, w: int, k: int, q: int) -> np.ndarray:
    """A smooth (h, w, 3) uint8 image."""
    y, x = _grid(h, w)
    return np.stack([_smooth(y, x, k, c, q) for c in range(3)], axis=2).astype(np.uint8)


def _smooth(y: np.ndarray, x: np.ndarray, k: int, c: int, q: int) -> np.ndarray:
    h, w = y.shape
    p1 = max(40, (w * (3 + (k + c) % 3)) // 24)
    p2 = max(40, (h * (4 + (k + 2 * c + q) % 3)) // 24)
    a = _tri(x + (((k + c) % 2) * y) // 2 + 17 * k + 29 * c + q, p1) * 255 // p1
    b = _tri(y - (((k + c + q) % 3) * x) // 3 + 11 * k + 5 * c + 7 * q, p2) * 255 // p2
    return (a + b) // 2
