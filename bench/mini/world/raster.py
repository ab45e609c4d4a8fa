"""From head space to the pixel grid, compiled: projection, normals, and which triangle each pixel sees."""

from __future__ import annotations

from math import cos, sin

import numpy as np
import numpy.typing as npt
from numba import njit

from bench.mini.world.parameters import Floats
from bench.mini.world.surface import bump, hair_cut, hair_height, ramp

_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_COMPILE)
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


@njit(**_COMPILE)
def project(points: Floats, camera: Floats, size: float, out: Floats) -> None:
    """(n, 3) turned points to pixel x, y (centres at integers) and 1 / depth, for a frame of `size` pixels."""
    distance, half = camera[0], 0.5 * camera[1] * size
    for k in range(points.shape[0]):
        near = 1.0 / (distance - points[k, 2])
        out[k, 0] = (0.5 + camera[2]) * size - 0.5 + half * distance * near * points[k, 0]
        out[k, 1] = (0.5 + camera[3]) * size - 0.5 - half * distance * near * points[k, 1]
        out[k, 2] = near


@njit(**_COMPILE)
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


@njit(**_COMPILE)
def torso_points(names: Floats, width: float, out: Floats) -> None:
    """Positions of (n, 3) names (theta, y, 0 neck | 1 clothes); `width` of the neck."""
    for k in range(names.shape[0]):
        theta, y, cloth = names[k, 0], names[k, 1], names[k, 2]
        s, c = sin(theta), cos(theta)
        if cloth < 0.5:
            flare = 0.16 * ramp(-1.05, -1.7, y)
            rx, rz, zc = width + flare, width * 1.12 + flare * 0.6, -0.20 - 0.06 * ramp(-0.5, -1.5, y)
            out[k, 1] = y
        else:
            wide = ramp(-1.30, -1.85, y) ** 0.8
            rx = width + 0.12 + 1.15 * wide + 0.10 * ramp(-1.8, -3.0, y)
            rz = width * 1.12 + 0.10 + 0.30 * wide + 0.2 * ramp(-1.6, -3.0, y)
            zc = -0.26
            out[k, 1] = y - 0.20 * ramp(-0.2, 1.0, c) * ramp(-1.9, -1.3, y) + 0.06 * bump(y + 1.28, 0.06)
        out[k, 0] = rx * s
        out[k, 2] = zc + rz * c


@njit(**_COMPILE)
def glasses_points(
    names: Floats, eye: Floats, wide: float, high: float, power: float, ear: Floats, out: Floats
) -> None:
    """Positions of (n, 3) names of frame and lens; `eye` is the viewer's right lens' centre, `ear` the temple's end."""
    for k in range(names.shape[0]):
        a, kind, r = names[k, 0], names[k, 1], names[k, 2]
        if kind == 0:
            inner = eye[0] - wide
            out[k, 0] = a * inner * 1.05
            out[k, 1] = eye[1] + 0.055 + 0.02 * (1 - a * a) - 0.03 * r
            out[k, 2] = eye[2] + 0.03 + 0.06 * (1 - a * a)
        elif abs(kind) == 2:
            x0 = eye[0] + wide * 1.1
            out[k, 0] = (x0 + (ear[0] - x0) * a**0.6) * (1.0 if kind > 0 else -1.0)
            out[k, 1] = eye[1] + 0.07 + (ear[1] - eye[1] - 0.07) * a - 0.045 * r
            out[k, 2] = eye[2] - 0.06 + (ear[2] - eye[2] + 0.06) * a
        else:
            s, c = sin(a), cos(a)
            q = r / (abs(c) ** power + abs(s) ** power) ** (1 / power)
            out[k, 0] = kind * (eye[0] + wide * q * c)
            out[k, 1] = eye[1] + high * q * s
            out[k, 2] = eye[2] - 0.07 * max(q * c, 0.0) ** 2


@njit(**_COMPILE)
def cover(
    screen: Floats,
    names: Floats,
    triangles: npt.NDArray[np.int32],
    part: npt.NDArray[np.int8],
    shown: npt.NDArray[np.bool_],
    line: Floats,
    bottom: float,
    face: npt.NDArray[np.int32],
    weights: Floats,
    depth: Floats,
    lens: npt.NDArray[np.int32],
) -> None:
    """Which triangle each pixel sees, and where in it; hair is cut along its edge; lenses go to a layer of their own.

    Args:
        screen: (V, 3) pixel x, y, 1 / depth.
        names: (V, 3).
        triangles: (T, 3).
        part: (T,) 0 head ... 7 lens, lenses last.
        shown: (8,) whether a part is drawn.
        line: (37,) the hair's edge.
        bottom: where hanging hair ends.
        face: (size, size) out: index of the triangle, -1 where none.
        weights: (size, size, 2) out: barycentric weights of the triangle's first two corners.
        depth: (size, size) out: 1 / depth.
        lens: (size, size) out: index of the lens' triangle in front, -1 where none.
    """
    size = face.shape[0]
    face[:] = -1
    lens[:] = -1
    depth[:] = 0
    for f in range(triangles.shape[0]):
        p = part[f]
        if not shown[p]:
            continue
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay = float(screen[a, 0]), float(screen[a, 1])
        bx, by = float(screen[b, 0]), float(screen[b, 1])
        cx, cy = float(screen[c, 0]), float(screen[c, 1])
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6 or ((p == 0 or p == 3 or p == 4) and area > 0):
            continue
        ka, kb = (bx * cy - by * cx) / area, (cx * ay - cy * ax) / area
        xa, ya, xb, yb = (by - cy) / area, (cx - bx) / area, (cy - ay) / area, (ax - cx) / area
        za, zb, zc = screen[a, 2], screen[b, 2], screen[c, 2]
        x0, x1 = max(int(np.ceil(min(ax, bx, cx))), 0), min(int(np.floor(max(ax, bx, cx))), size - 1)
        y0, y1 = max(int(np.ceil(min(ay, by, cy))), 0), min(int(np.floor(max(ay, by, cy))), size - 1)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                wa = ka + xa * x + ya * y
                wb = kb + xb * x + yb * y
                wc = 1 - wa - wb
                if wa < -1e-6 or wb < -1e-6 or wc < -1e-6:
                    continue
                z = wa * za + wb * zb + wc * zc
                if z <= depth[y, x]:
                    continue
                if p == 5:
                    theta = wa * names[a, 0] + wb * names[b, 0] + wc * names[c, 0]
                    share = wa * names[a, 1] + wb * names[b, 1] + wc * names[c, 1]
                    high = hair_height(share, bottom)
                    if high < hair_cut(theta, line):
                        continue
                if p == 7:
                    lens[y, x] = f
                    continue
                face[y, x] = f
                weights[y, x, 0], weights[y, x, 1] = wa, wb
                depth[y, x] = z
