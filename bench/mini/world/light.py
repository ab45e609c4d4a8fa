"""Light on paint, and samples to pixels, compiled."""

from __future__ import annotations

from math import exp, sin, sqrt

import numpy as np

from bench.mini.world.background import Colour
from bench.mini.world.compiled import compiled, helper
from bench.mini.world.head import Head
from bench.mini.world.mesh import CLOTH, EAR_LEFT, EAR_RIGHT, HAIR, Mesh
from bench.mini.world.paint import paint
from bench.mini.world.parameters import Background, Bytes, Floats, Light
from bench.mini.world.pigment import Paint
from bench.mini.world.raster import Layers
from bench.mini.world.surface import ramp


@helper
def _lit(a: Paint, nx: float, ny: float, nz: float, w: Light, soft: float) -> Colour:
    """Light paint: ambient from above, a key light that wraps (red furthest, as in skin), a soft highlight."""
    d = nx * w.direction_x + ny * w.direction_y + nz * w.direction_z
    sky = 0.72 + 0.28 * ny
    keys = (w.key_red, w.key_green, w.key_blue)
    ambient = (w.ambient_red, w.ambient_green, w.ambient_blue)
    hx, hy, hz = w.direction_x, w.direction_y, w.direction_z + 1.0
    norm = sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
    h = max((nx * hx + ny * hy + nz * hz) / norm, 0.0)
    shine = a[3] * (0.10 * h**12 + 0.28 * h**48) if d > 0 else 0.0
    edge = 0.10 * a[3] * (1 - min(max(nz, 0.0), 1.0)) ** 3
    r = max((d + 0.42 * soft) / (1 + 0.42 * soft), 0.0) * keys[0] + ambient[0] * sky
    g = max((d + 0.24 * soft) / (1 + 0.24 * soft), 0.0) * keys[1] + ambient[1] * sky
    b = max((d + 0.18 * soft) / (1 + 0.18 * soft), 0.0) * keys[2] + ambient[2] * sky
    return a[0] * r + (shine + edge) * keys[0], a[1] * g + (shine + edge) * keys[1], a[2] * b + (shine + edge) * keys[2]


@helper
def _facing(kind: int, nx: float, ny: float, nz: float) -> Colour:
    """Return the unit normal; that of an open surface is turned to the viewer."""
    norm = sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    if nz < 0 and (kind in (EAR_LEFT, EAR_RIGHT) or kind >= HAIR):
        norm = -norm
    return nx / norm, ny / norm, nz / norm


@helper
def _between(a: float, b: float, c: float, wa: float, wb: float) -> float:
    return wa * a + wb * b + (1 - wa - wb) * c


@helper
def _seen(kind: int, name: Colour, normal: Colour, h: Head, w: Light, g: Background) -> tuple[float, float, float, int]:
    """Return linear colour and label of a part's point with this name, under a normal that needs not be of length 1."""
    nx, ny, nz = _facing(kind, normal[0], normal[1], normal[2])
    a = paint(kind, name[0], name[1], name[2], h, g)
    if a[4] == 11:
        nx, ny, nz = 0.0, 0.0, 1.0
    if kind == CLOTH:
        nz = max(nz, 0.35)
    soft = 0.5 if kind == CLOTH else 0.6 if kind == HAIR else 1.0
    light = _lit(a, nx, ny, nz, w, soft)
    return light[0], light[1], light[2], a[4]


@compiled
def shade(
    layers: Layers,
    mesh: Mesh,
    normal: Floats,
    h: Head,
    w: Light,
    g: Background,
    behind: Floats,
    colour: Floats,
    labels: Bytes,
) -> None:
    """Fill linear colour and labels from what each sample sees.

    Args:
        layers: of (size, size) samples.
        mesh: the mesh that was drawn.
        normal: (V, 3) unit normals of its vertices, turned.
        h: whose head.
        w: the light.
        g: the background, for the clothes.
        behind: (size / step, size / step, 3) the background's linear colours.
        colour: (size, size, 3) out.
        labels: (size, size) out.
    """
    names, triangles, part = mesh.names, mesh.triangles, mesh.part  # out of the loops: each look costs a reference
    face, weights, lens = layers.face, layers.weights, layers.lens
    size = face.shape[0]
    step = size // behind.shape[0]
    for y in range(size):
        for x in range(size):
            f = face[y, x]
            if f < 0:
                labels[y, x] = 0
                for k in range(3):
                    colour[y, x, k] = behind[y // step, x // step, k]
            else:
                a, b, c, wa, wb = triangles[f, 0], triangles[f, 1], triangles[f, 2], weights[y, x, 0], weights[y, x, 1]
                name = (
                    _between(names[a, 0], names[b, 0], names[c, 0], wa, wb),
                    _between(names[a, 1], names[b, 1], names[c, 1], wa, wb),
                    _between(names[a, 2], names[b, 2], names[c, 2], wa, wb),
                )
                up = (
                    _between(normal[a, 0], normal[b, 0], normal[c, 0], wa, wb),
                    _between(normal[a, 1], normal[b, 1], normal[c, 1], wa, wb),
                    _between(normal[a, 2], normal[b, 2], normal[c, 2], wa, wb),
                )
                red, green, blue, label = _seen(part[f], name, up, h, w, g)
                colour[y, x, 0], colour[y, x, 1], colour[y, x, 2], labels[y, x] = red, green, blue, label
            if lens[y, x] >= 0:
                labels[y, x] = 6
                glare = 0.06 + 0.10 * ramp(0.3, 0.9, sin((x + y) * 6.0 / size + 1.0))
                for k in range(3):
                    colour[y, x, k] = colour[y, x, k] * 0.92 + glare * 0.25


@helper
def _tone(value: float) -> float:
    """Map linear light to display light: bright values are compressed, all of them into [0, 1]."""
    value = max(value, 0.0)
    return value if value < 0.6 else 1 - 0.4 * exp(-(value - 0.6) / 0.4)


@helper
def _uniform(labels: Bytes, y: int, x: int, step: int) -> bool:
    for dy in range(step):
        for dx in range(step):
            if labels[y * step + dy, x * step + dx] != labels[y * step, x * step]:
                return False
    return True


@helper
def _most_frequent(labels: Bytes, y: int, x: int, step: int) -> int:
    """Return the most frequent label of a block of step x step samples; of several the first."""
    if _uniform(labels, y, x, step):
        return labels[y * step, x * step]
    best, most = 0, 0
    for k in range(step * step):
        one, count = labels[y * step + k // step, x * step + k % step], 0
        for j in range(step * step):
            count += labels[y * step + j // step, x * step + j % step] == one
        if count > most:
            best, most = one, count
    return best


@compiled
def resolve(colour: Floats, labels: Bytes, image: Bytes, label: Bytes) -> None:
    """Reduce blocks of samples to pixels: mean of the display light, then its square root; the most frequent label."""
    size = image.shape[0]
    step = colour.shape[0] // size
    for y in range(size):
        for x in range(size):
            for k in range(3):
                total = 0.0
                for dy in range(step):
                    for dx in range(step):
                        total += _tone(colour[y * step + dy, x * step + dx, k])
                image[y, x, k] = np.uint8(min(sqrt(total / (step * step)) * 255 + 0.5, 255.0))
            label[y, x] = _most_frequent(labels, y, x, step)
