"""One head on the pixel grid, and the truth about it."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from bench.mini.world import mesh as m
from bench.mini.world.background import backdrops
from bench.mini.world.hair import BALD, hair_points
from bench.mini.world.head import Head, head
from bench.mini.world.landmarks import landmark_names
from bench.mini.world.light import resolve, shade
from bench.mini.world.parameters import EXPRESSION, Background, Bytes, Floats, Identity, Light, Scene, record
from bench.mini.world.parts import ear_points, glasses_points, torso_points
from bench.mini.world.raster import Layers, cover, layers, normals, project, turn
from bench.mini.world.surface import skin_points

R = TypeVar("R", bound=NamedTuple)
_REST = np.zeros(len(EXPRESSION), np.float32)


class Row(NamedTuple):
    """One row of a `Render`."""

    image: Bytes
    box: Floats
    keypoints: Floats
    landmarks: Floats
    labels: Bytes


def _record(kind: type[R], row: Floats) -> R:
    """Return one row under its names, as compiled code takes it."""
    return record(kind(*row.tolist()))


def _glasses(names: Floats, identity: Floats, out: Floats) -> None:
    """Place frame and lenses before the eyes of the face at rest; the temples end over the ears."""
    h = head(identity, _REST)
    places = np.array(
        [[np.arcsin(0.31 / 0.72), -0.01, 0.0], [np.arcsin(0.12 / 0.72), 0.05, 0.0], [1.55, 0.02, 0.0]], np.float32
    )
    at = np.empty_like(places)
    skin_points(places, h.identity, h.chart, h.expression, at)
    i = h.identity
    wide, high = 0.225 * (1 + 0.14 * i.glasses_size), 0.170 * (1 + 0.20 * i.glasses_size)
    eye = np.array([max(at[0, 0], wide + 0.03), at[0, 1], max(at[0, 2], at[1, 2]) + 0.10], np.float32)
    glasses_points(names, eye, wide, high, 3.0 - i.glasses_round, at[2], out)


def _points(h: Head, identity: Floats) -> Floats:
    """Return (V, 3) head space positions of the mesh."""
    names, ends, i = m.mesh().names, m.mesh().parts, h.identity
    out = np.zeros_like(names)
    span = [slice(ends[k], ends[k + 1]) for k in range(8)]
    skin_points(names[span[m.HEAD]], i, h.chart, h.expression, out[span[m.HEAD]])
    ear_points(names[span[m.EAR_LEFT]], -1.0, i, out[span[m.EAR_LEFT]])
    ear_points(names[span[m.EAR_RIGHT]], 1.0, i, out[span[m.EAR_RIGHT]])
    torso = slice(ends[m.NECK], ends[m.HAIR])
    torso_points(names[torso], 0.37 * (1 + 0.13 * i.neck_width + 0.06 * i.jaw_width), out[torso])
    if i.hair_amount >= BALD:
        hair_points(names[span[m.HAIR]], i, h.hair, out[span[m.HAIR]])
    if i.glasses > 0.5:
        worn = slice(ends[m.FRAME], ends[8])
        _glasses(names[worn], identity, out[worn])
    return out


def _turned(points: Floats, pose: Floats) -> Floats:
    """Return the points with the head's pose; neck and shoulders follow it less."""
    neck, hair = m.mesh().parts[m.NECK], m.mesh().parts[m.HAIR]
    turn(points[:neck], pose, False)
    turn(points[neck:hair], pose, True)
    turn(points[hair:], pose, False)
    return points


def _shown(i: Identity) -> npt.NDArray[np.bool_]:
    """Return which of the 8 parts are drawn."""
    hair, worn = i.hair_amount >= BALD, i.glasses > 0.5
    ears = not (hair and i.hair_length > 0.5)
    return np.array([True, ears, ears, True, True, hair, worn, worn])


def _truth(h: Head, pose: Floats, camera: Floats, size: int) -> tuple[Floats, Floats, Floats]:
    """Return (4,) box, (5, 2) key points, (68, 2) landmarks."""
    names = landmark_names(h.chart, h.expression)
    points, flat = np.empty_like(names), np.empty_like(names)
    skin_points(names, h.identity, h.chart, h.expression, points)
    turn(points, pose, False)
    project(points, camera, float(size), flat)
    xy = flat[:, :2]
    return np.concatenate([xy.min(0), xy.max(0)]), xy[[68, 69, 30, 48, 54]], xy[:68]


def _picture(
    seen: Layers, normal: Floats, h: Head, light: Floats, background: Floats, size: int
) -> tuple[Bytes, Bytes]:
    """Return (size, size, 3) image and (size, size) labels of what the samples see."""
    fine, g = len(seen.face), _record(Background, background)
    behind = np.empty((size, size, 3), np.float32)
    backdrops(g, behind)
    colour, fine_labels = np.empty((fine, fine, 3), np.float32), np.empty((fine, fine), np.uint8)
    shade(seen, m.mesh(), normal, h, _record(Light, light), g, behind, colour, fine_labels)
    image, labels = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
    resolve(colour, fine_labels, image, labels)
    return image, labels


def render_row(scene: Scene, k: int, size: int, step: int) -> Row:
    """Return row k of the scene at `size` pixels, with step x step samples a pixel."""
    h = head(scene.identity[k], scene.expression[k])
    points = _turned(_points(h, scene.identity[k]), scene.pose[k])
    screen, normal, seen = np.empty_like(points), np.empty_like(points), layers(size * step)
    project(points, scene.camera[k], float(size * step), screen)
    normals(points, m.mesh().triangles, normal)
    cover(screen, m.mesh(), _shown(h.identity), h.hair, seen)
    image, labels = _picture(seen, normal, h, scene.light[k], scene.background[k], size)
    return Row(image, *_truth(h, scene.pose[k], scene.camera[k], size), labels)
