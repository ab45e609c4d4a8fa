"""Heads on the pixel grid, and the truth about them."""

from __future__ import annotations

from typing import NamedTuple, TypeVar, cast

import numpy as np

from bench.errors import UserError
from bench.mini.world import mesh as m
from bench.mini.world.palette import palette
from bench.mini.world.parameters import Background, Bytes, Expression, Floats, Identity, Light, Render, Scene, record
from bench.mini.world.raster import cover, glasses_points, normals, project, torso_points, turn
from bench.mini.world.shade import backdrops, resolve, shade
from bench.mini.world.surface import BALD, Chart, chart, ear_points, hair_points, hairline, skin_points

R = TypeVar("R", bound=NamedTuple)


def _record(kind: type[R], row: Floats) -> R:
    """One row under its names, as compiled code takes it."""
    return cast(R, record(kind(*row.tolist())))


def _glasses(names: Floats, i: Identity, c: Chart, out: Floats) -> None:
    """Frame and lenses sit before the eyes of this identity at rest; the temples end over the ears."""
    places = np.array(
        [[np.arcsin(0.31 / 0.72), -0.01, 0.0], [np.arcsin(0.12 / 0.72), 0.05, 0.0], [1.55, 0.02, 0.0]], np.float32
    )
    at = np.empty_like(places)
    skin_points(places, i, c, _record(Expression, np.zeros(len(Expression._fields), np.float32)), at)
    wide, high = 0.225 * (1 + 0.14 * i.glasses_size), 0.170 * (1 + 0.20 * i.glasses_size)
    eye = np.array([max(at[0, 0], wide + 0.03), at[0, 1], max(at[0, 2], at[1, 2]) + 0.10], np.float32)
    glasses_points(names, eye, wide, high, 3.0 - i.glasses_round, at[2], out)


def _points(i: Identity, c: Chart, e: Expression, line: Floats, bottom: float) -> Floats:
    """(V, 3) head space positions of the mesh."""
    names, ends = m.mesh().names, m.mesh().parts
    out = np.zeros_like(names)
    span = [slice(ends[k], ends[k + 1]) for k in range(8)]
    skin_points(names[span[m.HEAD]], i, c, e, out[span[m.HEAD]])
    ear_points(names[span[m.EAR_LEFT]], -1.0, i, out[span[m.EAR_LEFT]])
    ear_points(names[span[m.EAR_RIGHT]], 1.0, i, out[span[m.EAR_RIGHT]])
    torso = slice(ends[m.NECK], ends[m.HAIR])
    torso_points(names[torso], 0.37 * (1 + 0.13 * i.neck_width + 0.06 * i.jaw_width), out[torso])
    if i.hair_amount >= BALD:
        hair_points(names[span[m.HAIR]], i, line, bottom, out[span[m.HAIR]])
    if i.glasses > 0.5:
        worn = slice(ends[m.FRAME], ends[8])
        _glasses(names[worn], i, c, out[worn])
    return out


def _truth(
    i: Identity, c: Chart, e: Expression, pose: Floats, camera: Floats, size: int
) -> tuple[Floats, Floats, Floats]:
    """(4,) box, (5, 2) key points, (68, 2) landmarks."""
    names = m.landmark_names(c, e)
    points, flat = np.empty_like(names), np.empty_like(names)
    skin_points(names, i, c, e, points)
    turn(points, pose, False)
    project(points, camera, float(size), flat)
    xy = flat[:, :2]
    box = np.concatenate([xy.min(0), xy.max(0)])
    return box, xy[[68, 69, 30, 48, 54]], xy[:68]


def _one(scene: Scene, k: int, size: int, step: int) -> tuple[Bytes, Bytes, Floats, Floats, Floats]:
    """Image, labels, box, key points, landmarks of row k."""
    i, e = _record(Identity, scene.identity[k]), _record(Expression, scene.expression[k])
    c, (line, bottom) = record(chart(i)), hairline(i)
    names, ends, triangles, part = m.mesh()
    points = _points(i, c, e, line, bottom)
    fixed = slice(ends[m.NECK], ends[m.HAIR])
    turn(points[: fixed.start], scene.pose[k], False)
    turn(points[fixed], scene.pose[k], True)
    turn(points[fixed.stop :], scene.pose[k], False)
    screen, normal, fine = np.empty_like(points), np.empty_like(points), size * step
    project(points, scene.camera[k], float(fine), screen)
    normals(points, triangles, normal)
    hair = i.hair_amount >= BALD
    ears = not (hair and i.hair_length > 0.5)
    shown = np.array([True, ears, ears, True, True, hair, i.glasses > 0.5, i.glasses > 0.5])
    face, lens = np.empty((2, fine, fine), np.int32)
    weights, depth = np.empty((fine, fine, 2), np.float32), np.empty((fine, fine), np.float32)
    cover(screen, names, triangles, part, shown, line, bottom, face, weights, depth, lens)
    colour, labels = np.empty((fine, fine, 3), np.float32), np.empty((fine, fine), np.uint8)
    light, backdrop = _record(Light, scene.light[k]), _record(Background, scene.background[k])
    behind = np.empty((size, size, 3), np.float32)
    backdrops(backdrop, behind)
    shade(
        face, weights, lens, names, normal, triangles, part, i, c, e, palette(i), line, bottom, light, backdrop, behind,
        step, colour, labels,
    )  # fmt: skip
    image, label = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
    resolve(colour, labels, step, image, label)
    return (image, label, *_truth(i, c, e, scene.pose[k], scene.camera[k], size))


def render(scene: Scene, size: int = 128, supersample: int = 2) -> Render:
    """Renders every row of the scene on its own: the bytes of a row don't depend on the others.

    Args:
        scene: n rows.
        size: pixels of the square images' sides.
        supersample: samples per pixel along each side: 1 is twice as fast, 2 has smooth edges.

    Raises:
        UserError: `size` or `supersample` is below 1.
    """
    if size < 1 or supersample < 1:
        raise UserError(f"size {size}, supersample {supersample}: both must be at least 1")
    rows = [_one(scene, k, size, supersample) for k in range(len(scene))]
    shapes = ((size, size, 3), (size, size), (4,), (5, 2), (68, 2))
    kinds = (np.uint8, np.uint8, np.float32, np.float32, np.float32)
    columns = [
        np.array([row[j] for row in rows], kind).reshape(-1, *shape)
        for j, (shape, kind) in enumerate(zip(shapes, kinds, strict=True))
    ]
    return Render(images=columns[0], labels=columns[1], boxes=columns[2], keypoints=columns[3], landmarks=columns[4])
