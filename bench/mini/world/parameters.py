"""The names of everything that a rendered head depends on, and the two records of the world: `Scene` and `Render`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
R = TypeVar("R", bound=NamedTuple)


class Identity(NamedTuple):
    """Who it is: shape and colours. In [-1, 1], the average head at 0, except the amounts (`AMOUNTS`), in [0, 1]."""

    head_width: float
    head_depth: float
    crown_height: float
    forehead_width: float
    forehead_slope: float
    cheekbone_width: float
    cheek_fullness: float
    jaw_width: float
    chin_width: float
    chin_length: float
    chin_forward: float
    chin_cleft: float
    brow_ridge: float
    eye_distance: float
    eye_height: float
    eye_size: float
    eye_openness: float
    eye_tilt: float
    eye_depth: float
    iris_size: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_length: float
    brow_dark: float
    nose_length: float
    nose_width: float
    nose_bridge: float
    nose_bridge_width: float
    nose_projection: float
    nose_upturn: float
    mouth_width: float
    mouth_height: float
    mouth_curve: float
    upper_lip: float
    lower_lip: float
    lip_colour: float
    ear_size: float
    ear_angle: float
    neck_width: float
    skin_tone: float
    skin_warmth: float
    eye_hue: float
    eye_light: float
    hair_light: float
    hair_red: float
    hair_volume: float
    hair_top: float
    hair_part: float
    hairline: float
    hair_grey: float
    hair_amount: float
    hair_length: float
    hair_fringe: float
    hair_curl: float
    beard: float
    moustache: float
    wrinkles: float
    freckles: float
    blush: float
    glasses: float
    glasses_size: float
    glasses_round: float
    glasses_colour: float


class Expression(NamedTuple):
    """What the face does; `smile`, `pucker` and gaze in [-1, 1], the rest in [0, 1].

    `smile` below 0 is a frown, `pucker` below 0 widens the lips; gaze is positive to the viewer's right and upwards.
    The first five are FLAME-like expression components, `jaw_open` is the jaw, `eye_close_*` the eyelids (viewer's left
    and right); gaze belongs to none of them.
    """

    smile: float
    pucker: float
    lips_part: float
    brow_raise: float
    brow_lower: float
    jaw_open: float
    eye_close_left: float
    eye_close_right: float
    gaze_x: float
    gaze_y: float


class Light(NamedTuple):
    """A key light from direction (x right, y up, z to the viewer; unit length) and an ambient light; linear RGB."""

    direction_x: float
    direction_y: float
    direction_z: float
    key_red: float
    key_green: float
    key_blue: float
    ambient_red: float
    ambient_green: float
    ambient_blue: float


class Camera(NamedTuple):
    """Perspective from `distance` half-heads; the head (chin to crown) takes `zoom` of the frame's height.

    Its centre lies `offset` (fractions of the frame, x right, y down) from the frame's.
    """

    distance: float
    zoom: float
    offset_x: float
    offset_y: float


class Background(NamedTuple):
    """What is behind the head, and the clothes: a gradient of two colours, three blobs, noise, stripes; linear RGB."""

    first_red: float
    first_green: float
    first_blue: float
    second_red: float
    second_green: float
    second_blue: float
    angle: float
    blob1_x: float
    blob1_y: float
    blob1_radius: float
    blob1_red: float
    blob1_green: float
    blob1_blue: float
    blob2_x: float
    blob2_y: float
    blob2_radius: float
    blob2_red: float
    blob2_green: float
    blob2_blue: float
    blob3_x: float
    blob3_y: float
    blob3_radius: float
    blob3_red: float
    blob3_green: float
    blob3_blue: float
    noise: float
    noise_scale: float
    noise_seed: float
    stripes: float
    stripes_scale: float
    cloth_red: float
    cloth_green: float
    cloth_blue: float
    cloth_pattern: float


IDENTITY: tuple[str, ...] = Identity._fields
EXPRESSION: tuple[str, ...] = Expression._fields
LIGHT: tuple[str, ...] = Light._fields
CAMERA: tuple[str, ...] = Camera._fields
BACKGROUND: tuple[str, ...] = Background._fields
FLAME_EXPRESSION: tuple[str, ...] = EXPRESSION[:5]
JAW: tuple[str, ...] = ("jaw_open",)
EYELIDS: tuple[str, ...] = ("eye_close_left", "eye_close_right")
POSE: tuple[str, ...] = ("yaw", "pitch", "roll")
AMOUNTS: frozenset[str] = frozenset(
    (
        "hair_grey",
        "hair_amount",
        "hair_length",
        "hair_fringe",
        "hair_curl",
        "beard",
        "moustache",
        "wrinkles",
        "freckles",
        "blush",
        "glasses",
    )
)
JAW_RADIANS = 0.40
"""How far `jaw_open` = 1 turns the jaw about its hinge, downwards."""


@cache
def _layout(names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> np.dtype[np.void]:
    kinds = [(name, np.float32 if shape else np.float64, shape) for name, shape in zip(names, shapes, strict=True)]
    return np.dtype((np.record, kinds))


def record(row: R) -> R:
    """Return the same numbers (float64) and arrays (float32) under the same names, for compiled code: by reference."""
    return cast(R, np.array(tuple(row), _layout(row._fields, tuple(map(np.shape, row))))[()])


LABELS: tuple[str, ...] = (
    "background",
    "skin",
    "l_brow",
    "r_brow",
    "l_eye",
    "r_eye",
    "eye_g",
    "l_ear",
    "r_ear",
    "ear_r",
    "nose",
    "mouth",
    "u_lip",
    "l_lip",
    "neck",
    "neck_l",
    "cloth",
    "hair",
    "hat",
)


@dataclass(frozen=True, eq=False)
class Scene:
    """n heads to render; every array is float32 with n rows.

    Attributes:
        identity: (n, len(IDENTITY)).
        expression: (n, len(EXPRESSION)).
        pose: (n, 3) yaw, pitch, roll in radians, right-handed about y (up), x (viewer's right), z (to the viewer):
            yaw > 0 turns the nose to the viewer's right, pitch > 0 looks down, roll > 0 turns counterclockwise in the
            image. The head's rotation is Rz(roll) Ry(yaw) Rx(pitch).
        light: (n, len(LIGHT)).
        camera: (n, len(CAMERA)).
        background: (n, len(BACKGROUND)).
    """

    identity: Floats
    expression: Floats
    pose: Floats
    light: Floats
    camera: Floats
    background: Floats

    def __len__(self) -> int:
        return len(self.identity)

    def rows(self, index: slice | list[int] | npt.NDArray[np.int64]) -> Scene:
        """Return the scenes at `index`, in that order."""
        return Scene(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True, eq=False)
class Render:
    """n rendered heads and the truth about them; pixel units, pixel centres at integers, the viewer's left first.

    Attributes:
        images: (n, size, size, 3) uint8 RGB.
        boxes: (n, 4) float32 x1, y1, x2, y2 of the face, forehead to chin; may leave the frame.
        keypoints: (n, 5, 2) float32: left eye, right eye, nose tip, left and right corner of the mouth.
        landmarks: (n, 68, 2) float32, iBUG order, hidden ones where they project.
        labels: (n, size, size) uint8, indices into `LABELS` (the CelebAMask-HQ order); l_ is the viewer's left.
    """

    images: Bytes
    boxes: Floats
    keypoints: Floats
    landmarks: Floats
    labels: Bytes


def rotation(pose: Floats) -> Floats:
    """Return (n, 3, 3) rotation matrices Rz(roll) Ry(yaw) Rx(pitch) of (n, 3) yaw, pitch, roll in radians.

    >>> rotation(np.array([[np.pi / 2, 0, 0]], np.float32))[0, :, 2].round(3).tolist()
    [1.0, 0.0, -0.0]
    """
    yaw, pitch, roll = np.asarray(pose, np.float64).T
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)

    def matrix(rows: list[list[npt.NDArray[np.float64]]]) -> npt.NDArray[np.float64]:
        return np.stack([np.stack(row, -1) for row in rows], -2)

    rx = matrix([[one, zero, zero], [zero, np.cos(pitch), -np.sin(pitch)], [zero, np.sin(pitch), np.cos(pitch)]])
    ry = matrix([[np.cos(yaw), zero, np.sin(yaw)], [zero, one, zero], [-np.sin(yaw), zero, np.cos(yaw)]])
    rz = matrix([[np.cos(roll), -np.sin(roll), zero], [np.sin(roll), np.cos(roll), zero], [zero, zero, one]])
    return np.asarray(rz @ ry @ rx, np.float32)
