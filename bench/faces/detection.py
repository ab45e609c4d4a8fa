"""Face detectors: insightface's SCRFD and facexlib's RetinaFace, from local files, with nothing left to defaults."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
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

Canvas = tuple[int, int]
"""Width and height."""

Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(gt=0)]
Cell = Annotated[int, Field(gt=0, multiple_of=32)]


@dataclass(frozen=True, eq=False)
class Detection:
    """The faces of an image.

    Attributes:
        faces: the largest first.
        size: the detection size at which they were found; 0 where there is none.
    """

    faces: list[Face]
    size: int


def _first(canvases: Iterable[Canvas], find: Callable[[Canvas], Found]) -> Detection:
    """Return what is found at the first size at which anything is found."""
    for canvas in canvases:
        faces = _ordered(*find(canvas))
        if faces:
            return Detection(faces, max(canvas))
    return Detection([], 0)


def _ordered(boxes: NDArray[np.float32], scores: NDArray[np.float32], keypoints: NDArray[np.float32]) -> list[Face]:
    """Return the faces by area, the largest first; equal ones by score, then by place."""
    faces = [Face(box, float(score), points) for box, score, points in zip(boxes, scores, keypoints, strict=True)]
    return sorted(faces, key=lambda face: (-face.area, -face.score, *face.box.tolist()))


def _nothing() -> Found:
    return np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32)


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
            fallback_sizes: sides of square canvases that are tried in order where the first shows no face: a face that
                fills the image is too large for the network at 640.
        """

        weights: WeightFile
        det_size: Annotated[tuple[Cell, Cell], IDENTITY] = (640, 640)
        threshold: Annotated[Share, IDENTITY] = 0.5
        nms: Annotated[Share, IDENTITY] = 0.4
        fallback_sizes: Annotated[tuple[Cell, ...], IDENTITY] = (256,)

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from insightface.model_zoo.scrfd import SCRFD

        self.session = open_session(options.weights, runtime)
        self._canvases = [options.det_size, *((side, side) for side in options.fallback_sizes)]
        _check_scrfd(options.weights, self.session, self._canvases)
        # Without a file, it keeps to the open network at every size.
        self._model = SCRFD(session=self.session)
        self._model.det_thresh, self._model.nms_thresh = options.threshold, options.nms

    def detect(self, image: Image) -> Detection:
        """Find all faces of an (H, W, 3) uint8 RGB image; `size` is the longer side of the canvas."""
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        return _first(self._canvases, lambda canvas: self._find(bgr, canvas))

    def _find(self, bgr: Image, canvas: Canvas) -> Found:
        height, width = bgr.shape[:2]
        # An image that is scaled down to nothing shows no face.
        if min(height, width) * min(canvas[0] / width, canvas[1] / height) < 2:
            return _nothing()
        found, keypoints = self._model.detect(bgr, input_size=canvas)
        return found[:, :4], found[:, 4], keypoints


def _check_scrfd(file: Path, session: InferenceSession, canvases: list[Canvas]) -> None:
    outputs = len(session.get_outputs())
    if outputs not in (9, 15):
        raise UserError(
            f"{file} has {outputs} outputs; a SCRFD with key points has 9 (3 levels) or 15 (5 levels), like "
            "scrfd_10g_bnkps.onnx of antelopev2 or det_10g.onnx of buffalo_l"
        )
    height, width = (fixed(size) for size in session.get_inputs()[0].shape[2:])
    if height and width and set(canvases) != {(width, height)}:
        raise UserError(f"{file} runs at {width} x {height} only: set det_size=[{width},{height}] fallback_sizes=[]")


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
            fallback_sizes: sides that the image is scaled down to in order where no face was found: a face larger than
                the anchors, 512, is not found.
        """

        weights: WeightFile
        network: Annotated[Literal["mobile0.25", "resnet50"], IDENTITY] = "resnet50"
        threshold: Annotated[Share, IDENTITY] = 0.8
        nms: Annotated[Share, IDENTITY] = 0.4
        max_side: Annotated[Side, IDENTITY] = 1024
        fallback_sizes: Annotated[tuple[Side, ...], IDENTITY] = (512, 256)

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from facexlib.detection.retinaface import RetinaFace as Network

        self.options, self._device = options, runtime.device
        state = {key.removeprefix("module."): tensor for key, tensor in load_state(options.weights).items()}
        with _quiet():
            self._network = Network(options.network, device="cpu")
        fill(self._network, state, f"{options.weights} as RetinaFace {options.network}")
        self._network.to(runtime.device)

    def detect(self, image: Image) -> Detection:
        """Find all faces of an (H, W, 3) uint8 RGB image; `size` is the longer side that the network saw."""
        side = min(max(image.shape[:2]), self.options.max_side)
        sides = [side, *(smaller for smaller in self.options.fallback_sizes if smaller < side)]
        return _first([(side, side) for side in sides], lambda canvas: self._find(image, canvas[0]))

    def _find(self, image: Image, side: int) -> Found:
        import torch

        small = _shrunk(image, side)
        scale = (np.array(image.shape[1::-1]) / small.shape[1::-1]).astype(np.float32)
        with torch.inference_mode():
            boxes, scores, keypoints = (part.cpu().numpy() for part in self._decoded(small))
        likely = np.flatnonzero(scores > self.options.threshold)
        likely = likely[np.argsort(-scores[likely], kind="stable")]
        kept = likely[_suppressed(boxes[likely], scores[likely], self.options.nms)]
        return boxes[kept] * np.tile(scale, 2), scores[kept], keypoints[kept].reshape(-1, 5, 2) * scale

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


def _shrunk(image: Image, side: int) -> Image:
    import cv2

    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image
    ratio = side / max(height, width)
    size = max(round(width * ratio), 1), max(round(height * ratio), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


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
