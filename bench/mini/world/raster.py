"""From head space to the pixel grid, compiled: projection, normals, and which triangle each pixel sees."""

from __future__ import annotations

from math import cos, sin
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.mini.world.compiled import compiled, helper
from bench.mini.world.hair import hair_cut, hair_height
from bench.mini.world.head import Head
from bench.mini.world.mesh import CLOTH, HAIR, HEAD, LENS, NECK, Mesh
from bench.mini.world.parameters import Floats
from bench.mini.world.surface import ramp

Corners = tuple[int, int, int]


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
    """Layers to be filled."""
    face, lens = np.empty((2, size, size), np.int32)
    return Layers(face, np.empty((size, size, 2), np.float32), np.empty((size, size), np.float32), lens)


@compiled
def turn(points: Floats, pose: Floats, fixed: bool) -> None:
    """Turns (n, 3) head space points by the pose, in place; `fixed` ones less the lower they lie (neck, shoulders)."""
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
    """(n, 3) turned points to pixel x, y (centres at integers) and 1 / depth, for a frame of `size` pixels."""
    distance, half = camera[0], 0.5 * camera[1] * size
    for k in range(points.shape[0]):
        near = 1.0 / (distance - points[k, 2])
        out[k, 0] = (0.5 + camera[2]) * size - 0.5 + half * distance * near * points[k, 0]
        out[k, 1] = (0.5 + camera[3]) * size - 0.5 - half * distance * near * points[k, 1]
        out[k, 2] = near


@compiled
def normals(points: Floats, triangles: npt.NDArray[np.int32], out: Floats) -> None:
    """(n, 3) unit normals at the vertices: mean of their triangles', weighted by area."""
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
def _cut_away(mesh: Mesh, abc: Corners, wa: float, wb: float, head: Head) -> bool:
    """Whether a sample of the hair's shell lies beyond the hair's edge."""
    a, b, c = abc
    wc = 1 - wa - wb
    theta = wa * mesh.names[a, 0] + wb * mesh.names[b, 0] + wc * mesh.names[c, 0]
    share = wa * mesh.names[a, 1] + wb * mesh.names[b, 1] + wc * mesh.names[c, 1]
    return hair_height(share, head.bottom) < hair_cut(theta, head.line)


@helper
def _span(a: float, b: float, c: float, size: int) -> tuple[int, int]:
    """First and last sample between the least and the greatest of three places."""
    return max(int(np.ceil(min(a, b, c))), 0), min(int(np.floor(max(a, b, c))), size - 1)


@helper
def _fill(f: int, area: float, screen: Floats, mesh: Mesh, head: Head, layers: Layers) -> None:
    """Enters triangle f wherever it is in front; `area` is twice its signed area on the screen."""
    a, b, c = mesh.triangles[f, 0], mesh.triangles[f, 1], mesh.triangles[f, 2]
    ax, ay = float(screen[a, 0]), float(screen[a, 1])
    bx, by = float(screen[b, 0]), float(screen[b, 1])
    cx, cy = float(screen[c, 0]), float(screen[c, 1])
    ka, kb = (bx * cy - by * cx) / area, (cx * ay - cy * ax) / area
    xa, ya, xb, yb = (by - cy) / area, (cx - bx) / area, (cy - ay) / area, (ax - cx) / area
    x0, x1 = _span(ax, bx, cx, layers.face.shape[0])
    y0, y1 = _span(ay, by, cy, layers.face.shape[0])
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            wa, wb = ka + xa * x + ya * y, kb + xb * x + yb * y
            wc = 1 - wa - wb
            if wa < -1e-6 or wb < -1e-6 or wc < -1e-6:
                continue
            z = wa * screen[a, 2] + wb * screen[b, 2] + wc * screen[c, 2]
            if z <= layers.depth[y, x] or (mesh.part[f] == HAIR and _cut_away(mesh, (a, b, c), wa, wb, head)):
                continue
            if mesh.part[f] == LENS:
                layers.lens[y, x] = f
                continue
            layers.face[y, x] = f
            layers.weights[y, x, 0], layers.weights[y, x, 1] = wa, wb
            layers.depth[y, x] = z


@compiled
def cover(screen: Floats, mesh: Mesh, shown: npt.NDArray[np.bool_], head: Head, layers: Layers) -> None:
    """Fills the layers: which triangle each sample sees. Hair is cut along its edge; lenses don't hide what is behind.

    Args:
        screen: (V, 3) pixel x, y and 1 / depth of the mesh's vertices.
        mesh: the mesh; lenses come last.
        shown: (8,) whether a part is drawn.
        head: whose hair's edge cuts.
        layers: out.
    """
    layers.face[:] = -1
    layers.lens[:] = -1
    layers.depth[:] = 0
    for f in range(mesh.triangles.shape[0]):
        kind = mesh.part[f]
        if shown[kind]:
            a, b, c = mesh.triangles[f, 0], mesh.triangles[f, 1], mesh.triangles[f, 2]
            ux, uy = float(screen[b, 0]) - float(screen[a, 0]), float(screen[b, 1]) - float(screen[a, 1])
            vx, vy = float(screen[c, 0]) - float(screen[a, 0]), float(screen[c, 1]) - float(screen[a, 1])
            area = ux * vy - uy * vx
            away = area > 0 and kind in (HEAD, NECK, CLOTH)
            if abs(area) >= 1e-6 and not away:
                _fill(f, area, screen, mesh, head, layers)
