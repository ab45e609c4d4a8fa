"""The crops of a face: five-point similarities, the FFHQ crop, and the crops that FLAME encoders read.

Images are (H, W, 3) uint8 RGB. Points are (x, y) in pixels, pixel centres at integers. A matrix is (2, 3) float64 and
takes a point of the image to the point of the crop that shows it. Every function raises `ValueError` where the points
define no crop (not finite, all in one place, or nowhere near the image).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.uint8]
Points = NDArray[np.float64]
Matrix = NDArray[np.float64]

ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""The key points of a face in insightface's 112 x 112 crop."""

FACEXLIB = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""The key points of a face in facexlib's 512 x 512 crop."""

FACEXLIB_BORDER = (132, 133, 135)
"""RGB; facexlib's code has it in BGR."""

FLAME_SIZE = 224
STRIP = 16
"""Columns of the FFHQ crop at a time: they stay in the processor's cache."""

TILE = 256
"""Samples of its height at a time."""


def _points(points: ArrayLike, count: int) -> Points:
    array = np.asarray(points, np.float64)
    if array.shape != (count, 2) or not np.isfinite(array).all():
        raise ValueError(f"expected {count} finite points, got {array.shape}")
    return array


def move(points: ArrayLike, matrix: Matrix) -> Points:
    """Return the images (k, 2) of points (k, 2) under a matrix.

    >>> move([[1, 2]], np.array([[2.0, 0, 10], [0, 2, 20]])).tolist()
    [[12.0, 24.0]]
    """
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def umeyama(src: ArrayLike, dst: ArrayLike) -> Matrix:
    """Return the similarity (rotation, one scale, shift; never a reflection) that takes `src` nearest to `dst`.

    Least squares as in Umeyama (PAMI 1991). In the plane, similarities without reflection are the complex functions
    a z + b, and the best a is a regression coefficient: no singular value decomposition is needed.

    Args:
        src: (k, 2) points, k >= 2.
        dst: (k, 2) points.

    >>> quarter_turn = umeyama([[0, 0], [1, 0]], [[0, 0], [0, 2]])
    >>> quarter_turn.round(9).tolist()
    [[0.0, -2.0, 0.0], [2.0, 0.0, 0.0]]
    """
    source = _points(src, len(np.asarray(src)))
    target = _points(dst, len(source))
    z, w = (source - source.mean(0)) @ (1, 1j), (target - target.mean(0)) @ (1, 1j)
    spread = np.vdot(z, z).real
    if not spread:
        raise ValueError("the points lie in one place")
    a = np.vdot(z, w) / spread
    linear = np.array([[a.real, -a.imag], [a.imag, a.real]])
    return np.column_stack([linear, target.mean(0) - linear @ source.mean(0)])


def arcface_matrix(keypoints: ArrayLike, size: int = 112) -> Matrix:
    """Return the matrix from image to insightface's crop.

    Args:
        keypoints: (5, 2).
        size: of the crop: a multiple of 112, else of 128, where the template is 8/128 further right.
    """
    if size % 112 and size % 128:
        raise ValueError(f"{size} is a multiple neither of 112 nor of 128")
    unit, right = (112, 0.0) if size % 112 == 0 else (128, 8.0)
    return umeyama(_points(keypoints, 5), (ARCFACE + np.array([right, 0])) * (size / unit))


def arcface112(image: Image, keypoints: ArrayLike, size: int = 112) -> Image:
    """Cut insightface's `norm_crop`: (size, size, 3) uint8 RGB, bilinear, black outside the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: (5, 2): left eye, right eye, nose, left and right mouth corner, as the viewer sees them.
        size: 112 for recognisers; 224 is the same crop at twice the scale.
    """
    import cv2

    return cv2.warpAffine(image, arcface_matrix(keypoints, size), (size, size), borderValue=0)


def facexlib_matrix(keypoints: ArrayLike) -> Matrix:
    """Return the matrix from image to facexlib's 512 crop: OpenCV's least median of squares may leave out points."""
    import cv2

    matrix = cv2.estimateAffinePartial2D(_points(keypoints, 5), FACEXLIB, method=cv2.LMEDS)[0]
    if matrix is None:
        raise ValueError("the points define no similarity")
    return matrix


def facexlib512(image: Image, keypoints: ArrayLike) -> Image:
    """Cut facexlib's aligned face (as for GFPGAN): (512, 512, 3) uint8 RGB, bilinear, grey outside."""
    import cv2

    return cv2.warpAffine(image, facexlib_matrix(keypoints), (512, 512), borderValue=FACEXLIB_BORDER)


class FfhqCrop(NamedTuple):
    """The FFHQ crop of a face.

    Attributes:
        image: (output, output, 3) uint8 RGB.
        padded_fraction: share of its area, 0 to 1, that lies outside the image and was made up by reflection.
        matrix: (2, 3), image to crop: a similarity, up to the rounding of the size of images that were shrunk first.
    """

    image: Image
    padded_fraction: float
    matrix: Matrix


class _Source(NamedTuple):
    """What the crop is sampled from. A point x of the image lies at `scale` * x + `shift` in it."""

    image: Image
    quad: Points
    scale: Points
    shift: Points


def ffhq512(image: Image, landmarks: ArrayLike, output: int = 512, transform: int = 4096) -> FfhqCrop:
    """Cut the FFHQ crop (Karras et al., CVPR 2019; NVlabs/ffhq-dataset, with padding) as Arc2Face does.

    Shrink large faces (Lanczos), crop, pad by blurred reflection where the square leaves the image, sample at
    `transform` pixels (bilinear), reduce to `output` (Lanczos). Against Pillow's QUAD transform under 1 % of the values
    differ, by 1 grey level; it takes a third of the time.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (68, 2), iBUG order.
        output: side of the crop.
        transform: side of the supersampled crop, at least `output`.
    """
    quad = ffhq_quad(landmarks)
    padded = _outside(quad, image)
    source = _pad(_cut(image, quad, output))
    crop = _supersample(source.image, source.quad, output, transform)
    return FfhqCrop(crop, padded, _ffhq_matrix(source, output))


def ffhq_quad(landmarks: ArrayLike) -> Points:
    """Return (4, 2) corners of the FFHQ square in the image: upper left, lower left, lower right, upper right."""
    points = _points(landmarks, 68)
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    eyes, mouth = (left + right) / 2, (points[48] + points[54]) / 2
    across, down = right - left, mouth - eyes
    x = across + down[::-1] * (1, -1)
    length = np.hypot(*x)
    if not length:
        raise ValueError("the landmarks define no face")
    x *= max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8) / length
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    return np.array([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def _side(quad: Points) -> float:
    return float(np.hypot(*(quad[3] - quad[0])))


def _border(quad: Points) -> int:
    return max(int(np.rint(_side(quad) * 0.1)), 3)


def _extent(quad: Points) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.floor(quad.min(0)).astype(np.int64), np.ceil(quad.max(0)).astype(np.int64)


def _outside(quad: Points, image: Image) -> float:
    """Return the share of the quad's area that lies outside the image."""
    import cv2

    height, width = image.shape[:2]
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    area, _ = cv2.intersectConvexConvex(quad.astype(np.float32), frame.astype(np.float32))
    if area <= 0:
        raise ValueError("the face lies outside the image")
    return round(max(1 - area / _side(quad) ** 2, 0.0), 6)  # OpenCV's area has seven digits


def _cut(image: Image, quad: Points, output: int) -> _Source:
    """Return the neighbourhood of the quad, shrunk by a whole factor where the face is more than twice too large."""
    size = np.array(image.shape[1::-1])
    factor = max(int(np.floor(_side(quad) / output * 0.5)), 1)
    small = np.maximum(np.rint(size / factor), 1).astype(np.int64)
    quad = quad / factor
    (low, high), border = _extent(quad), _border(quad)
    low, high = np.maximum(low - border, 0), np.minimum(high + border, small)
    scale = small / size
    return _Source(_shrink(image, low, high, scale), quad - low, scale, scale / 2 - 0.5 - low)


def _shrink(image: Image, low: NDArray[np.int64], high: NDArray[np.int64], scale: Points) -> Image:
    """Return the rectangle from `low` to `high` of the image shrunk to `scale`, by Lanczos as Pillow does it."""
    from PIL import Image as Pillow

    if (scale == 1).all():
        return image[low[1] : high[1], low[0] : high[0]]
    box = (*(low / scale), *(high / scale))
    lanczos = Pillow.Resampling.LANCZOS
    # The division may round past the edge.
    box = (*box[:2], *np.minimum(box[2:], image.shape[1::-1]))
    return np.asarray(Pillow.fromarray(image).resize(tuple(high - low), lanczos, box=box))


def _pad(source: _Source) -> _Source:
    """Pad by reflected and blurred surroundings on all sides, if the quad comes too near to one."""
    import cv2

    (low, high), border = _extent(source.quad), _border(source.quad)
    size = np.array(source.image.shape[1::-1])
    before, after = np.maximum(border - low, 0), np.maximum(high - size + border, 0)
    if max(*before, *after) <= border - 4:
        return source
    side = _side(source.quad)
    before, after = (np.maximum(pad, int(np.rint(side * 0.3))) for pad in (before, after))
    (left, top), (right, bottom) = before.tolist(), after.tolist()
    image = cv2.copyMakeBorder(source.image, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    image = _fade(image.astype(np.float32), before, after, blur=side * 0.02)
    return source._replace(image=image, quad=source.quad + before, shift=source.shift + before)


def _fade(image: NDArray[np.float32], before: NDArray, after: NDArray, blur: float) -> Image:
    """Return the padded image, blurred towards its edge, and there faded to its median colour."""
    import cv2

    depth = _depth(image.shape[1::-1], before, after)[:, :, None]
    kernel = _gaussian(blur)
    soft = cv2.sepFilter2D(image, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
    image += (soft - image) * np.clip(3 * depth + 1, 0, 1)
    image += (np.median(image, axis=(0, 1)) - image) * np.clip(depth, 0, 1)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _depth(size: tuple[int, ...], before: NDArray, after: NDArray) -> Points:
    """Return how deep in the padding a pixel lies: 1 at the edge, 0 where the padding begins, negative inside."""
    along = [
        1 - np.minimum(np.arange(n) / first, np.arange(n)[::-1] / last)
        for n, first, last in zip(size, before, after, strict=True)
    ]
    return np.maximum(along[0][None, :], along[1][:, None])


def _gaussian(sigma: float) -> Points:
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    return weights / weights.sum()


def _ffhq_matrix(source: _Source, output: int) -> Matrix:
    right, down = (source.quad[[3, 1]] - source.quad[0]) / output
    # From crop to source.
    back = np.eye(3)
    back[:2] = np.column_stack([right, down, source.quad[0] + (right + down) / 2])
    there = np.diag([*source.scale, 1.0])
    there[:2, 2] = source.shift
    return np.linalg.solve(back, there)[:2].astype(np.float64)


def _supersample(image: Image, quad: Points, output: int, transform: int) -> Image:
    """Apply Pillow's QUAD transform (bilinear) to `transform` pixels, then its Lanczos reduction to `output`.

    Pillow cuts samples down to whole grey levels and rounds again between the reduction's two passes; both shift
    results and are repeated here. The big image exists in tiles only, transposed: the first pass is a matrix product.
    """
    import cv2

    # Three channels warp three times slower.
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA).astype(np.float32)
    weights = _lanczos(transform, output)
    crop = np.empty((output, output, 3), np.uint8)
    for start in range(0, output, STRIP):
        half = _first_pass(pixels, quad, weights[start : start + STRIP])
        crop[:, start : start + len(half)] = _second_pass(half, output)
    return crop


def _first_pass(pixels: NDArray[np.float32], quad: Points, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (k, transform, 4): k columns of the crop, still at full height, given their (k, transform) weights."""
    import cv2

    transform = weights.shape[1]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    right, down = (quad[[3, 1]] - quad[0]) / transform
    taps = np.flatnonzero(weights.any(0))
    count = len(taps)
    near = np.ascontiguousarray(weights[:, taps])
    corner = quad[0] + (right + down) / 2 + taps[0] * right
    tiles = []
    for top in range(0, transform, TILE):
        matrix = np.column_stack([down, right, corner + top * down])
        samples = cv2.warpAffine(pixels, matrix, (min(TILE, transform - top), count), flags=flags)
        tiles.append((near @ np.floor(samples, out=samples).reshape(count, -1)).reshape(len(near), -1, 4))
    return np.concatenate(tiles, axis=1)


def _second_pass(half: NDArray[np.float32], output: int) -> Image:
    """Return (k, transform, 4) columns of the crop, reduced in one direction -> (output, k, 3)."""
    from PIL import Image as Pillow

    np.clip(half + np.float32(0.5), 0, 255, out=half)
    levels = half[:, :, :3].astype(np.uint8)
    columns = Pillow.fromarray(levels).resize((output, len(levels)), Pillow.Resampling.LANCZOS)
    return np.asarray(columns).transpose(1, 0, 2)


@lru_cache(maxsize=4)
def _lanczos(samples: int, output: int) -> NDArray[np.float32]:
    """Return (output, samples): Pillow's weights of the samples in each pixel (Lanczos window of 3 output pixels)."""
    scale = samples / output
    offset = (np.arange(samples) + 0.5) / scale - (np.arange(output)[:, None] + 0.5)
    weights = np.where(np.abs(offset) < 3, np.sinc(offset) * np.sinc(offset / 3), 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def flame_matrix(landmarks: ArrayLike, scale: float = 1.25, enlarge: float = 1.1) -> Matrix:
    """Return the matrix from image to the 224 crop of DECA and EMOCA: an upright square around the landmarks' box.

    Its side is the mean side of the box times `enlarge` (DECA's "kpt68") times `scale`, cut to a whole number; its
    corners go to 0 and 223.
    """
    points = _points(landmarks, 68)
    low, high = points.min(0), points.max(0)
    side = int((high - low).sum() / 2 * enlarge * scale)
    if side < 1:
        raise ValueError("the landmarks lie in one place")
    ratio = (FLAME_SIZE - 1) / side
    corner = (low + high) / 2 - side / 2
    return np.column_stack([np.eye(2) * ratio, -corner * ratio])


def flame224(image: Image, landmarks: ArrayLike, scale: float = 1.25) -> NDArray[np.float32]:
    """Cut the crop that DECA and EMOCA read: (224, 224, 3) float32 RGB in [0, 1], bilinear, black outside.

    As their test-time data sets cut it (scikit-image's warp, order 1). To cut it from an aligned crop, give the
    landmarks in that crop (`move`).
    """
    return _warp(image, flame_matrix(landmarks, scale)) / np.float32(255)


def smirk224(image: Image, landmarks: ArrayLike, scale: float = 1.4) -> Image:
    """Cut the crop that SMIRK reads: (224, 224, 3) uint8 RGB, cut down to whole grey levels as in its demo."""
    return np.clip(_warp(image, flame_matrix(landmarks, scale, enlarge=1.0)), 0, 255).astype(np.uint8)


def _warp(image: Image, matrix: Matrix) -> NDArray[np.float32]:
    import cv2

    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA).astype(np.float32)
    return cv2.warpAffine(pixels, matrix, (FLAME_SIZE, FLAME_SIZE), flags=cv2.INTER_LINEAR, borderValue=0)[:, :, :3]
