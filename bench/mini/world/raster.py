"""From head space to the pixel grid, compiled: projection, normals, and which triangle each pixel sees."""

from __future__ import annotations

from math import cos, sin
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.mini.world.compiled import compiled, helper
from bench.mini.world.hair import HAIR_RAGGED, Hairline, hair_cut, hair_edge, hair_height
from bench.mini.world.mesh import CLOTH, HAIR, HEAD, LENS, NECK, Mesh
from bench.mini.world.parameters import Floats
from bench.mini.world.surface import ramp


class Layers(NamedTuple):
    """What each of (size, size) samples sees.

    Attributes:
        face: int32 index of the triangle in front, -1 where none.
        weights: (size, size, 2) float32, barycentric weights of that triangle's first two corners.
        depth: float32 1 / depth, 0 where nothing is.
        lens: int32 index of the lens' triangle before it, -1 where none.
    """

    face: npt.NDArray[np.int32]
    weights: Floats
    depth: Floats
    lens: npt.NDArray[np.int32]


def layers(size: int) -> Layers:
    """Return layers to be filled."""
    face, lens = np.empty((2, size, size), np.int32)
    return Layers(face, np.empty((size, size, 2), np.float32), np.empty((size, size), np.float32), lens)


@compiled
def turn(points: Floats, pose: Floats, fixed: bool) -> None:
    """Turn (n, 3) head space points by the pose, in place; `fixed` ones less the lower they lie (neck, shoulders)."""
    for k in range(points.shape[0]):
        share = 0.25 + 0.75 * ramp(-1.45, -0.55, points[k, 1]) if fixed else 1.0
        yaw, pitch, roll = pose[0] * share, pose[1] * share, pose[2] * share
        x, y, z = points[k, 0], points[k, 1], points[k, 2]
        y, z = y * cos(pitch) - z * sin(pitch), y * sin(pitch) + z * cos(pitch)
        x, z = x * cos(yaw) + z * sin(yaw), z * cos(yaw) - x * sin(yaw)
        points[k, 0], points[k, 1] = x * cos(roll) - y * sin(roll), x * sin(roll) + y * cos(roll)
        points[k, 2] = z


@compiled
def project(points: Floats, camera: Floats, size: float, out: Floats) -> None:
    """Project (n, 3) turned points to pixel x, y (centres at integers) and 1 / depth, for a frame of `size` pixels."""
    distance, half = camera[0], 0.5 * camera[1] * size
    for k in range(points.shape[0]):
        near = 1.0 / (distance - points[k, 2])
        out[k, 0] = (0.5 + camera[2]) * size - 0.5 + half * distance * near * points[k, 0]
        out[k, 1] = (0.5 + camera[3]) * size - 0.5 - half * distance * near * points[k, 1]
        out[k, 2] = near


@compiled
def normals(points: Floats, triangles: npt.NDArray[np.int32], out: Floats) -> None:
    """Write (n, 3) unit normals at the vertices: mean of their triangles', weighted by area."""
    out[:] = 0
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            out[k, 0] += nx
            out[k, 1] += ny
            out[k, 2] += nz
    for k in range(out.shape[0]):
        n = (out[k, 0] ** 2 + out[k, 1] ** 2 + out[k, 2] ** 2) ** 0.5 + 1e-12
        for j in range(3):
            out[k, j] /= n


@helper
def _cut_away(theta: float, share: float, hair: Hairline) -> bool:
    """Return whether a place of the hair's shell lies beyond the hair's edge."""
    height = hair_height(share, hair.bottom)
    over = height - hair_edge(theta, hair)
    if abs(over) > HAIR_RAGGED:
        return over < 0
    return height < hair_cut(theta, hair)


@helper
def _span(a: float, b: float, c: float, size: int) -> tuple[int, int]:
    """Return first and last sample between the least and the greatest of three places."""
    return max(int(np.ceil(min(a, b, c))), 0), min(int(np.floor(max(a, b, c))), size - 1)


@helper
def _area(screen: Floats, a: int, b: int, c: int) -> float:
    """Return twice a triangle's area on the screen; negative where its front is seen."""
    ux, uy = screen[b, 0] - screen[a, 0], screen[b, 1] - screen[a, 1]
    vx, vy = screen[c, 0] - screen[a, 0], screen[c, 1] - screen[a, 1]
    return ux * vy - uy * vx


@helper
def _plane(screen: Floats, a: int, b: int, c: int) -> tuple[float, float, float]:
    """Return constant, x and y factor of the barycentric weight of corner a, times the triangle's doubled area."""
    bx, by, cx, cy = screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
    return bx * cy - by * cx, by - cy, cx - bx


@compiled
def cover(screen: Floats, mesh: Mesh, shown: npt.NDArray[np.bool_], hair: Hairline, layers: Layers) -> None:
    """Fill the layers: which triangle each sample sees. Hair is cut along its edge; lenses don't hide what is behind.

    Args:
        screen: (V, 3) pixel x, y and 1 / depth of the mesh's vertices.
        mesh: the mesh; lenses come last.
        shown: (8,) whether a part is drawn.
        hair: where the hair is cut.
        layers: out.
    """
    names, triangles, part = mesh.names, mesh.triangles, mesh.part  # out of the loops: each look costs a reference
    face, weights, depth, lens = layers.face, layers.weights, layers.depth, layers.lens
    face[:], lens[:], depth[:] = -1, -1, 0
    for f in range(triangles.shape[0]):
        kind, a, b, c = part[f], triangles[f, 0], triangles[f, 1], triangles[f, 2]
        area = _area(screen, a, b, c)
        if not shown[kind] or abs(area) < 1e-6 or (area > 0 and kind in (HEAD, NECK, CLOTH)):
            continue
        ka, xa, ya = _plane(screen, a, b, c)
        kb, xb, yb = _plane(screen, b, c, a)
        ka, xa, ya, kb, xb, yb = ka / area, xa / area, ya / area, kb / area, xb / area, yb / area
        x0, x1 = _span(screen[a, 0], screen[b, 0], screen[c, 0], face.shape[0])
        y0, y1 = _span(screen[a, 1], screen[b, 1], screen[c, 1], face.shape[0])
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                wa, wb = ka + xa * x + ya * y, kb + xb * x + yb * y
                wc = 1 - wa - wb
                z = wa * screen[a, 2] + wb * screen[b, 2] + wc * screen[c, 2]
                if wa < -1e-6 or wb < -1e-6 or wc < -1e-6 or z <= depth[y, x]:
                    continue
                if kind == HAIR:
                    theta = wa * names[a, 0] + wb * names[b, 0] + wc * names[c, 0]
                    share = wa * names[a, 1] + wb * names[b, 1] + wc * names[c, 1]
                    if _cut_away(theta, share, hair):
                        continue
                if kind == LENS:
                    lens[y, x] = f
                else:
                    face[y, x], depth[y, x] = f, z
                    weights[y, x, 0], weights[y, x, 1] = wa, wb
