"""Face detectors: insightface's SCRFD and facexlib's RetinaFace, from local files, with nothing left to defaults."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.faces.face import Face
from bench.faces.search import Detection, FaceOptions, Scale, Scales, Shape, detect
from bench.identity import IDENTITY, Spec, WeightFile
from bench.networks import fill, load_state
from bench.onnx import fixed, open_session
from bench.runtime import Runtime

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from torch import Tensor

Image = NDArray[np.uint8]
Found = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Boxes (n, 4), scores (n,) and key points (n, 5, 2)."""

Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(gt=0)]
Cell = Annotated[int, Field(gt=0, multiple_of=32)]
Pixels = Annotated[float, Field(gt=0)]


def _faces(found: Found) -> list[Face]:
    return [Face(box, float(score), points) for box, score, points in zip(*found, strict=True)]


@dataclass(frozen=True, eq=False)
class _Laid:
    """An image as it lies before a network.

    Attributes:
        image: (h, w, 3) uint8 RGB, scaled, with its border.
        pixels: (2,) float32, pixels of the original per pixel of the scaled image, across and down.
        border: pixels of the border on each side.
    """

    image: Image
    pixels: NDArray[np.float32]
    border: int

    def in_original(self, found: Found) -> Found:
        """Return what was found, in pixels of the original."""
        boxes, scores, keypoints = found
        return (boxes - self.border) * np.tile(self.pixels, 2), scores, (keypoints - self.border) * self.pixels


def _lay(image: Image, scale: Scale, zoom: float) -> _Laid:
    """Scale an image by `zoom` (area averaging where it shrinks, else bilinear) and put the border around it."""
    import cv2

    height, width = image.shape[:2]
    size = max(round(width * zoom), 1), max(round(height * zoom), 1)
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    small = image if size == (width, height) else cv2.resize(image, size, interpolation=method)
    border = round(scale.border * max(size))
    sides = ((border, border), (border, border), (0, 0))
    laid = np.pad(small, sides) if border else small
    return _Laid(laid, (np.array([width, height]) / size).astype(np.float32), border)


def _fitting(shape: Shape, scale: Scale) -> float:
    """Return the zoom at which an image and its border fill what the network reads."""
    height, width = shape[:2]
    around = 2 * scale.border * max(height, width)
    return min(scale.width / (width + around), scale.height / (height + around))


class Scrfd:
    """insightface's SCRFD (Guo et al., ICLR 2022), run by insightface's own class.

    The image is scaled (bilinear) to fit a canvas and lies in its upper left corner on black.
    """

    class Options(Spec):
        """Options of SCRFD.

        Attributes:
            weights: an official ONNX with key points.
            det_size: the canvas, width and height in pixels.
            threshold: least confidence, as insightface's.
            nms: overlap above which the weaker of two boxes is dropped, as insightface's.
            fallback_sizes: sides of square canvases that a search at a single scale tries in order where the first
                shows no face: a face that fills the image is too large for the network at 640.
            further_scales: side of a square canvas and share of the image's longer side that is added on each side in
                black: what a search at several scales reads besides `det_size`.
            face_pixels: least and largest size of a face on the canvas that the network reads well.
        """

        weights: WeightFile
        det_size: Annotated[tuple[Cell, Cell], IDENTITY] = (640, 640)
        threshold: Annotated[Share, IDENTITY] = 0.5
        nms: Annotated[Share, IDENTITY] = 0.4
        fallback_sizes: Annotated[tuple[Cell, ...], IDENTITY] = (256,)
        further_scales: Annotated[tuple[tuple[Cell, Share], ...], IDENTITY] = ((320, 0.0), (256, 0.3))
        face_pixels: Annotated[tuple[Pixels, Pixels], IDENTITY] = (80.0, 320.0)

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from insightface.model_zoo.scrfd import SCRFD

        self.face_pixels = options.face_pixels
        self.session = open_session(options.weights, runtime)
        fallback = tuple(Scale(side, side) for side in options.fallback_sizes)
        self._configured = Scale(*options.det_size)
        further = tuple(Scale(side, side, border) for side, border in options.further_scales)
        self._scales = Scales(self._configured, tuple(s for s in further if s != self._configured), fallback)
        _check_scrfd(options.weights, self.session, self._scales)
        # Without a file, it keeps to the open network at every size.
        self._model = SCRFD(session=self.session)
        self._model.det_thresh, self._model.nms_thresh = options.threshold, options.nms

    def detect(self, image: Image) -> Detection:
        """Find all faces of an (H, W, 3) uint8 RGB image as a run does whose protocol says nothing else."""
        return detect(self, image, FaceOptions())

    def scales(self, shape: Shape) -> Scales:
        """Return the scales at which an image is read: the same for every shape."""
        return self._scales

    def zoom(self, shape: Shape, scale: Scale) -> float:
        """Return the pixels that the network reads for each pixel of the image; above 1 for a small image."""
        return _fitting(shape, scale)

    def find(self, image: Image, scale: Scale) -> list[Face]:
        """Find all faces of an (H, W, 3) uint8 RGB image.

        At the configured and the fallback sizes, insightface scales the image, without averaging; at the further ones
        that would alias.
        """
        # An image that is scaled down to nothing shows no face.
        if min(image.shape[:2]) * self.zoom(image.shape, scale) < 2:
            return []
        plain = _Laid(image, np.ones(2, np.float32), 0)
        laid = _lay(image, scale, self.zoom(image.shape, scale)) if scale in self._scales.further else plain
        bgr = np.ascontiguousarray(laid.image[:, :, ::-1])
        found, keypoints = self._model.detect(bgr, input_size=(scale.width, scale.height))
        return _faces(laid.in_original((found[:, :4], found[:, 4], keypoints)))


def _check_scrfd(file: Path, session: InferenceSession, scales: Scales) -> None:
    outputs = len(session.get_outputs())
    if outputs not in (9, 15):
        raise UserError(
            f"{file} has {outputs} outputs; a SCRFD with key points has 9 (3 levels) or 15 (5 levels), like "
            "scrfd_10g_bnkps.onnx of antelopev2 or det_10g.onnx of buffalo_l"
        )
    height, width = (fixed(size) for size in session.get_inputs()[0].shape[2:])
    canvases = {(scale.width, scale.height) for scale in (scales.configured, *scales.further, *scales.fallback)}
    if height and width and canvases != {(width, height)}:
        further = f"[[{width},0.3]]" if width == height else "[]"
        raise UserError(
            f"{file} runs at {width} x {height} only: set det_size=[{width},{height}] fallback_sizes=[] "
            f"further_scales={further}"
        )


class RetinaFace:
    """facexlib's RetinaFace (Deng et al., CVPR 2020) with its own pre- and post-processing, from a local file.

    The image is read at its own size as long as its longer side is at most `max_side`.
    """

    class Options(Spec):
        """Options of RetinaFace.

        Attributes:
            weights: a state dict of facexlib.
            network: its trunk.
            threshold: least confidence, as facexlib's.
            nms: overlap above which the weaker of two boxes is dropped, as facexlib's.
            max_side: an image whose longer side exceeds it is scaled down to it (area averaging).
            fallback_sizes: sides that a search at a single scale scales the image down to in order where no face was
                found: a face larger than the anchors, 512, is not found.
            further_scales: side that the image is scaled down to, and share of the image's longer side that is added on
                each side in black: what a search at several scales reads besides.
            face_pixels: least and largest size of a face that the network reads well.
        """

        weights: WeightFile
        network: Annotated[Literal["mobile0.25", "resnet50"], IDENTITY] = "resnet50"
        threshold: Annotated[Share, IDENTITY] = 0.8
        nms: Annotated[Share, IDENTITY] = 0.4
        max_side: Annotated[Side, IDENTITY] = 1024
        fallback_sizes: Annotated[tuple[Side, ...], IDENTITY] = (512, 256)
        further_scales: Annotated[tuple[tuple[Side, Share], ...], IDENTITY] = ((512, 0.0), (256, 0.3))
        face_pixels: Annotated[tuple[Pixels, Pixels], IDENTITY] = (80.0, 280.0)

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from facexlib.detection.retinaface import RetinaFace as Network

        self.options, self._device = options, runtime.device
        self.face_pixels = options.face_pixels
        state = {key.removeprefix("module."): tensor for key, tensor in load_state(options.weights).items()}
        with _quiet():
            self._network = Network(options.network, device="cpu")
        fill(self._network, state, f"{options.weights} as RetinaFace {options.network}")
        self._network.to(runtime.device)

    def detect(self, image: Image) -> Detection:
        """Find all faces of an (H, W, 3) uint8 RGB image as a run does whose protocol says nothing else."""
        return detect(self, image, FaceOptions())

    def scales(self, shape: Shape) -> Scales:
        """Return the scales at which an image is read; a smaller size only where it shrinks the image further."""
        side = min(max(shape[:2]), self.options.max_side)
        further = [Scale(smaller, smaller, border) for smaller, border in self.options.further_scales]
        fallback = [Scale(smaller, smaller) for smaller in self.options.fallback_sizes]
        return Scales(
            Scale(side, side),
            tuple(scale for scale in further if scale.border or scale.side < side),
            tuple(scale for scale in fallback if scale.side < side),
        )

    def zoom(self, shape: Shape, scale: Scale) -> float:
        """Return the pixels that the network reads for each pixel of the image, at most 1."""
        return min(_fitting(shape, scale), 1.0)

    def find(self, image: Image, scale: Scale) -> list[Face]:
        """Find all faces of an (H, W, 3) uint8 RGB image."""
        import torch

        laid = _lay(image, scale, self.zoom(image.shape, scale))
        with torch.inference_mode():
            boxes, scores, keypoints = (part.cpu().numpy() for part in self._decoded(laid.image))
        likely = np.flatnonzero(scores > self.options.threshold)
        likely = likely[np.argsort(-scores[likely], kind="stable")]
        kept = likely[_suppressed(boxes[likely], scores[likely], self.options.nms)]
        return _faces(laid.in_original((boxes[kept], scores[kept], keypoints[kept].reshape(-1, 5, 2))))

    def _decoded(self, image: Image) -> tuple[Tensor, Tensor, Tensor]:
        """Return the boxes (a, 4), scores (a,) and key points (a, 10) of all anchors, in pixels."""
        import torch
        from facexlib.detection.retinaface_utils import decode, decode_landm

        height, width = image.shape[:2]
        bgr = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))).to(self._device).float()
        boxes, scores, keypoints = self._network(bgr[None] - self._network.mean_tensor.to(self._device))
        anchors = torch.from_numpy(_anchors(height, width)).to(self._device)
        variance = self._network.cfg["variance"]
        size = torch.tensor([width, height], device=self._device)
        boxes = decode(boxes[0], anchors, variance) * size.repeat(2)
        return boxes, scores[0, :, 1], decode_landm(keypoints[0], anchors, variance) * size.repeat(5)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torchvision's remark on an argument that facexlib still uses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _suppressed(boxes: NDArray[np.float32], scores: NDArray[np.float32], overlap: float) -> NDArray[np.int64]:
    """Return the indices that are kept by non-maximum suppression."""
    import torch
    from torchvision.ops import nms

    return nms(torch.from_numpy(boxes), torch.from_numpy(scores), overlap).numpy()


@lru_cache(maxsize=16)
def _anchors(height: int, width: int) -> NDArray[np.float32]:
    """Return (a, 4) facexlib's prior boxes: centre x, y, width and height as shares of the image."""
    levels = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
    return np.concatenate([_level(height, width, step, sides) for step, sides in levels]).astype(np.float32)


def _level(height: int, width: int, step: int, sides: tuple[int, int]) -> NDArray[np.float64]:
    y, x, side = np.meshgrid(np.arange(-(-height // step)), np.arange(-(-width // step)), sides, indexing="ij")
    columns = [(x + 0.5) * step / width, (y + 0.5) * step / height, side / width, side / height]
    return np.stack(columns, axis=-1).reshape(-1, 4)
