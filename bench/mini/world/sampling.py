"""Who and what is drawn: identities of two parts of the identity space, and the scenes they appear in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import UserError
from bench.mini.world.parameters import AMOUNTS, BACKGROUND, EXPRESSION, IDENTITY, Floats, Scene

Doubles = npt.NDArray[np.float64]

_CHUNK = 256
_GAP = 0.06
_RARE = {  # amount: share of the identities that have any, and the least that these have
    "hair_grey": (0.2, 0.3),
    "hair_fringe": (0.45, 0.3),
    "hair_curl": (0.5, 0.2),
    "beard": (0.3, 0.35),
    "moustache": (0.3, 0.35),
    "wrinkles": (0.5, 0.1),
    "freckles": (0.25, 0.3),
    "blush": (0.6, 0.1),
    "glasses": (0.25, 0.6),
}
_SIGNED = [k for k, name in enumerate(IDENTITY) if name not in AMOUNTS]


def _directions() -> Doubles:
    """Return (2, len(IDENTITY)) two fixed orthogonal unit vectors over the signed parameters."""
    out = np.zeros((2, len(IDENTITY)))
    out[0, _SIGNED] = 1 - 2 * (np.arange(len(_SIGNED)) % 2)
    out[1, _SIGNED] = 1 - 2 * (np.arange(len(_SIGNED)) // 2 % 2)
    out[1] -= out[0] * (out[0] @ out[1]) / (out[0] @ out[0])
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))


def split_of(identities: Floats) -> npt.NDArray[np.int8]:
    """Return (n,) the part of the identity space that each row lies in: 1 train, -1 eval, 0 the gap between them.

    Two fixed directions cut the space into four quadrants. Where the projections on them have equal signs identities
    are for training, where the signs differ for evaluation; within 0.06 of either cut lies nobody. So every training
    identity is at least 0.12 (Euclidean) from every evaluation identity, and each single parameter is distributed
    alike in both.
    """
    first, second = _directions() @ np.asarray(identities, np.float64).T
    side = np.sign(first * second).astype(np.int8)
    return np.where(np.minimum(np.abs(first), np.abs(second)) < _GAP, np.int8(0), side)


def _candidates(rng: np.random.Generator) -> Floats:
    """Return (256, len(IDENTITY)) identities of either part."""
    values = rng.uniform(-1, 1, (_CHUNK, len(IDENTITY)))
    for name in sorted(AMOUNTS):
        share, least = _RARE.get(name, (1.0, 0.0))
        draw = rng.uniform(0, 1, (2, _CHUNK))
        values[:, IDENTITY.index(name)] = np.where(draw[0] < share, least + (1 - least) * draw[1], 0)
    return values.astype(np.float32)


def sample_identities(seed: int, n: int, split: str = "train") -> Floats:
    """Return identities (n, len(IDENTITY)) of one part ("train" or "eval"); the first rows don't depend on n.

    Raises:
        UserError: `split` is neither.
    """
    if split not in ("train", "eval"):
        raise UserError(f"split {split!r} of the mini world: allowed are train and eval")
    wanted = 1 if split == "train" else -1
    rng = np.random.default_rng([seed, wanted + 1])
    found: list[Floats] = [np.zeros((0, len(IDENTITY)), np.float32)]
    while sum(map(len, found)) < n:
        candidates = _candidates(rng)
        found.append(candidates[split_of(candidates) == wanted])
    return np.concatenate(found)[:n]


def _expression(rng: np.random.Generator, n: int, amplitude: float) -> Floats:
    """Return expressions (n, len(EXPRESSION)): parts of the face are at rest in some rows; brows go up or down."""
    value = dict(zip(EXPRESSION, np.zeros((len(EXPRESSION), n)), strict=True))
    value["smile"] = rng.uniform(-0.8, 1, n) * (rng.uniform(size=n) < 0.75)
    value["pucker"] = rng.uniform(-1, 1, n) * (rng.uniform(size=n) < 0.5)
    value["lips_part"] = rng.uniform(0, 1, n) * (rng.uniform(size=n) < 0.5)
    brow = rng.uniform(-1, 1, n) * (rng.uniform(size=n) < 0.7)
    value["brow_raise"], value["brow_lower"] = np.maximum(brow, 0), np.maximum(-brow, 0)
    value["jaw_open"] = rng.uniform(0, 1, n) * (rng.uniform(size=n) < 0.5)
    both = rng.uniform(0, 1, n) * (rng.uniform(size=n) < 0.35)
    wink = rng.uniform(0, 1, (2, n)) * (rng.uniform(size=(2, n)) < 0.12)
    value["eye_close_left"], value["eye_close_right"] = np.maximum(both, wink)
    value["gaze_x"], value["gaze_y"] = np.clip(rng.normal(0, 0.45, (2, n)), -1, 1)
    return np.asarray(np.stack([value[name] for name in EXPRESSION], 1) * amplitude, np.float32)


def _pose(rng: np.random.Generator, n: int, amplitude: float) -> Floats:
    """Return poses (n, 3): half of the heads near the front, half anywhere in +-60, +-30, +-25 degrees."""
    wide = np.radians([60, 30, 25]) * rng.uniform(-1, 1, (n, 3))
    near = np.radians([20, 10, 7]) * rng.normal(0, 0.6, (n, 3))
    limit = np.radians([60, 30, 25])
    chosen = np.where(rng.uniform(size=(n, 1)) < 0.5, wide, np.clip(near, -limit, limit))
    return np.asarray(chosen * amplitude, np.float32)


def _tinted(rng: np.random.Generator, n: int, low: float, high: float, tint: float) -> Doubles:
    """Return (n, 3) light colours of brightness in [low, high], warm or cool by up to `tint`."""
    warm = rng.uniform(-tint, tint, (n, 1))
    colour = 1 + warm * np.array([[1.0, 0.1, -1.0]]) + rng.uniform(-tint / 4, tint / 4, (n, 3))
    return np.asarray(rng.uniform(low, high, (n, 1)) * colour)


def _light(rng: np.random.Generator, n: int) -> Floats:
    azimuth, height = np.radians(rng.uniform(-70, 70, n)), np.radians(rng.uniform(0, 60, n))
    direction = np.stack([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)], 1)
    key, ambient = _tinted(rng, n, 0.68, 1.08, 0.15), _tinted(rng, n, 0.30, 0.5, 0.12)
    return np.concatenate([direction, key, ambient], 1).astype(np.float32)


def _camera(rng: np.random.Generator, n: int) -> Floats:
    distance, zoom = rng.uniform(5, 12, n), rng.uniform(0.46, 0.72, n)
    offset = rng.uniform(-1, 1, (2, n)) * np.stack([0.5 - 0.55 * zoom, 0.4 - 0.45 * zoom])
    return np.stack([distance, zoom, offset[0], offset[1] - 0.03], 1).astype(np.float32)


def _colours(rng: np.random.Generator, n: int) -> Doubles:
    """Return (n, 3) linear colours, from muted to saturated, evenly in perceived lightness."""
    grey = rng.uniform(0.12, 0.95, (n, 1))
    chroma = rng.uniform(0, 0.35, (n, 1)) * rng.uniform(-1, 1, (n, 3))
    return np.asarray(np.clip(grey + chroma, 0.02, 1) ** 2)


def _background(rng: np.random.Generator, n: int) -> Floats:
    columns: dict[str, Any] = {}
    for prefix in ("first", "second", "blob1", "blob2", "blob3", "cloth"):
        for colour, values in zip(("red", "green", "blue"), _colours(rng, n).T, strict=True):
            columns[f"{prefix}_{colour}"] = values
    for blob in ("blob1", "blob2", "blob3"):
        columns[f"{blob}_x"], columns[f"{blob}_y"] = rng.uniform(-0.1, 1.1, (2, n))
        columns[f"{blob}_radius"] = rng.uniform(0.08, 0.35, n) * (rng.uniform(size=n) < 0.6)
    columns["angle"] = rng.uniform(0, 2 * np.pi, n)
    columns["noise"] = rng.uniform(0, 0.5, n) * (rng.uniform(size=n) < 0.6)
    columns["noise_scale"], columns["noise_seed"] = rng.uniform(3, 24, n), rng.integers(0, 4096, n)
    columns["stripes"] = rng.uniform(0.1, 0.5, n) * (rng.uniform(size=n) < 0.12)
    columns["stripes_scale"] = rng.uniform(3, 14, n)
    columns["cloth_pattern"] = rng.uniform(0, 1, n) * (rng.uniform(size=n) < 0.5)
    return np.stack([columns[name] for name in BACKGROUND], 1).astype(np.float32)


def sample_scenes(identities: Floats, seed: int, *, frontal: float = 0.0) -> Scene:
    """Return a scene for each of the (n, len(IDENTITY)) identities, drawn independently of who they are.

    Args:
        identities: rows as `sample_identities` gives them.
        seed: of expression, pose, light, camera, background.
        frontal: 0 (all that the world can) to 1 (neutral, straight into the camera); scales pose and expression.

    Raises:
        UserError: `frontal` is outside [0, 1].
    """
    if not 0 <= frontal <= 1:
        raise UserError(f"frontal = {frontal}: allowed is 0 to 1")
    n = len(identities)
    streams = [np.random.default_rng([seed, k]) for k in range(5)]
    return Scene(
        identity=np.ascontiguousarray(identities, np.float32),
        expression=_expression(streams[0], n, 1 - frontal),
        pose=_pose(streams[1], n, 1 - frontal),
        light=_light(streams[2], n),
        camera=_camera(streams[3], n),
        background=_background(streams[4], n),
    )
