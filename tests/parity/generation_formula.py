"""The formula of golden/generation: weights and inputs that nobody has to store."""

import hashlib
import json

import numpy as np
import torch

from tests.shared import GOLDEN

FOLDER = GOLDEN / "generation"
BLOCK = 1 << 15


def salt() -> str:
    return json.loads((GOLDEN / "set.json").read_text())["salt"]


def case(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as data:
        return dict(data)


def values(name: str, count: int, salt_: str | None = None) -> np.ndarray:
    """float64 in [-1, 1]."""
    digest = hashlib.sha256(f"{salt() if salt_ is None else salt_}/{name}".encode()).digest()
    phase = int.from_bytes(digest[:4], "little") % 10007 * 0.001
    found = np.arange(count, dtype=np.float64) * 0.7548776662 + phase
    # The working set stays in the cache.
    for start in range(0, count, BLOCK):
        part = found[start : start + BLOCK]
        np.sin(1000 * np.sin(part), out=part)
    return found


def parameter(name: str, key: str, shape: torch.Size) -> torch.Tensor:
    v = values(name, int(np.prod(shape)))
    last = key.split(".")[-1]
    if last in ("latents", "class_embedding"):
        v = 0.5 * v
    elif last == "bias" or last.endswith("_bias"):
        v = 0.02 * v
    elif "_lora." in key or "_ip." in key or ("controlnet_cond_embedding" in key and len(shape) >= 2):
        v = 0.24 * v
    elif len(shape) >= 2:
        v = 0.08 * v
    else:
        v = 1 + 0.1 * v
    return torch.from_numpy(v.reshape(tuple(shape)).astype(np.float32))


def tensors(shapes: dict[str, tuple[int, ...]], prefix: str = "") -> dict[str, torch.Tensor]:
    """key -> tensor for a checkpoint of these shapes; its keys are official."""
    return {k: parameter(prefix + k, k, torch.Size(s)) for k, s in shapes.items()}


def state(model: torch.nn.Module, prefix: str = "", official: str = "") -> dict[str, torch.Tensor]:
    """A checkpoint of a model's layout; `official` is put before keys that a new library version shortened."""
    found = {}
    for key, value in model.state_dict().items():
        name = key if key.startswith(official) or "projection" in key.split(".")[0] else official + key
        if value.is_floating_point():
            found[name] = parameter(prefix + name, name, value.shape)
        else:
            found[name] = value.clone()
    return found


def given(name: str, *shape: int, scale: float = 1.0) -> torch.Tensor:
    v = values(f"input/{name}", int(np.prod(shape))).reshape(shape) * float(scale)
    return torch.from_numpy(v.astype(np.float32))


def picture(name: str, height: int, width: int) -> np.ndarray:
    v = values(f"input/{name}", height * width * 3)
    return np.floor((v + 1) / 2 * 255.999).astype(np.uint8).reshape(height, width, 3)


def stats(array) -> np.ndarray:
    a = np.asarray(array, np.float64)
    return np.array([a.mean(), a.std(), np.abs(a).sum()])


def check_stats(array, expected) -> None:
    np.testing.assert_allclose(stats(array)[1:], expected[1:], rtol=1e-5)
    np.testing.assert_allclose(stats(array)[0], expected[0], atol=1e-5)


def check(array, expected, atol: float, label: str = "") -> float:
    """Asserts and returns the largest difference."""
    a, e = np.asarray(array, np.float64), np.asarray(expected, np.float64)
    assert a.shape == e.shape, (label, a.shape, e.shape)
    worst = float(np.abs(a - e).max())
    print(f"parity {label}: {worst:.1e} (allowed {atol:.0e})")
    assert worst <= atol, (label, worst, atol)
    return worst
