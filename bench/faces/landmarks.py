"""Networks that find the 68 landmarks of a face whose box is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.faces.face import Face
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import channels_last, fill, load_state
from bench.onnx import fixed, open_session, run
from bench.runtime import Runtime

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Image = NDArray[np.uint8]
Landmarks = NDArray[np.float32]
"""(n, 68, 2) pixels of the image, iBUG order."""

COUNT = 68
SIDE = 192
"""Pixels of a side of insightface's crop."""


class Insightface68:
    """insightface's 68-point network (1k3d68.onnx), of whose 3-D points x and y are used, or a 2-d one in its format.

    The crop is an upright square of 1.5 times the longer side of the box, 192 pixels wide, black outside the image.
    """

    class Options(Spec):
        """Options of insightface's landmark networks.

        Attributes:
            weights: the ONNX file.
            batch: faces at a time, where the file leaves its batch free.
        """

        weights: WeightFile
        batch: Annotated[int, Field(gt=0), RECORDED] = 1

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from insightface.model_zoo.landmark import Landmark

        self.options = options
        self.session = open_session(options.weights, runtime)
        self._dimensions = _dimensions(options.weights, self.session)
        reader = Landmark(model_file=str(options.weights), session=self.session)
        self._mean, self._std = reader.input_mean, reader.input_std

    def landmarks(self, image: Image, faces: Sequence[Face]) -> Landmarks:
        """Return (n, 68, 2) landmarks of n faces in one (H, W, 3) uint8 RGB image."""
        return self.landmarks_many([image] * len(faces), faces)

    def landmarks_many(self, images: Sequence[Image], faces: Sequence[Face]) -> Landmarks:
        """Return (n, 68, 2) landmarks of n faces, each in its own (H, W, 3) uint8 RGB image."""
        import cv2

        if not faces:
            return np.empty((0, COUNT, 2), np.float32)
        matrices = [_insightface_matrix(face) for face in faces]
        crops = [cv2.warpAffine(i, m, (SIDE, SIDE), borderValue=0) for i, m in zip(images, matrices, strict=True)]
        blob = cv2.dnn.blobFromImages(crops, 1 / self._std, mean=(self._mean,) * 3)
        points = run(self.session, blob, self.options.batch).reshape(len(faces), -1, self._dimensions)
        inside = (points[:, -COUNT:, :2] + 1) * (SIDE // 2)
        pairs = zip(inside, matrices, strict=True)
        return np.array([(p - m[:, 2]) / m[0, 0] for p, m in pairs], np.float32)


def _insightface_matrix(face: Face) -> NDArray[np.float64]:
    """Return the matrix from image to crop; scale and centre in float32, as insightface rounds them."""
    centre, size = _box(face.box)
    scale = SIDE / (size.max() * 1.5)
    return np.column_stack([np.eye(2) * scale, SIDE / 2 - (centre * scale).astype(np.float64)])


def _dimensions(file: Path, session: InferenceSession) -> int:
    """Return how many numbers a point has in the output of an insightface network for 68 landmarks."""
    shapes = [[fixed(size) for size in node.shape] for node in (*session.get_inputs(), *session.get_outputs())]
    if len(shapes) != 2 or shapes[0][1:] != [3, SIDE, SIDE] or shapes[1][1:] not in ([3309], [136]):
        raise UserError(
            f"{file} is not a network for 68 landmarks in insightface's format, which has input (n, 3, 192, 192) and "
            f"output (n, 3309), as 1k3d68.onnx, or (n, 136); it has {shapes}"
        )
    return 3 if shapes[1][1] == 3309 else 2


def _box(box: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the centre and size of a face's box."""
    low, high = box[:2], box[2:]
    if not (high > low).all():
        raise ValueError(f"the face's box is empty: {box.tolist()}")
    return (low + high) / 2, high - low


class Fan:
    """face-alignment's FAN (Bulat and Tzimiropoulos, ICCV 2017): its 2DFAN-4, given our box instead of its detector's.

    Its points lie on whole pixels.
    """

    class Options(Spec):
        """Options of FAN.

        Attributes:
            weights: `2DFAN4-11f355bf06.pth.tar` of the package's releases.
            flip_input: whether the heat maps of the mirror image are added: the package's default since 1.5, not in
                the versions that EMOCA and Arc2Face were written for.
            batch: faces at a time.
        """

        weights: WeightFile
        flip_input: Annotated[bool, IDENTITY] = False
        batch: Annotated[int, Field(gt=0), RECORDED] = 1

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from face_alignment.models import FAN

        self.options, self._device = options, runtime.device
        network = FAN(4)
        fill(network, load_state(options.weights), f"{options.weights} as 2DFAN-4")
        self._network = channels_last(network, runtime.device)

    def landmarks(self, image: Image, faces: Sequence[Face]) -> Landmarks:
        """Return (n, 68, 2) landmarks of n faces in one (H, W, 3) uint8 RGB image."""
        return self.landmarks_many([image] * len(faces), faces)

    def landmarks_many(self, images: Sequence[Image], faces: Sequence[Face]) -> Landmarks:
        """Return (n, 68, 2) landmarks of n faces, each in its own (H, W, 3) uint8 RGB image."""
        from face_alignment.utils import crop

        if not faces:
            return np.empty((0, COUNT, 2), np.float32)
        places = [_fan_place(face) for face in faces]
        crops = [crop(image, *place) for image, place in zip(images, places, strict=True)]
        size = self.options.batch
        maps = [self._heatmaps(crops[start : start + size]) for start in range(0, len(crops), size)]
        return _in_image(_peaks(np.concatenate(maps)), places)

    def _heatmaps(self, crops: Sequence[Image]) -> NDArray[np.float32]:
        """Return (k, 68, 64, 64) of k crops, at most a batch, which is filled up with black."""
        import torch
        from face_alignment.utils import flip

        black = [np.zeros_like(crops[0])] * (self.options.batch - len(crops))
        inputs = torch.from_numpy(np.stack([*crops, *black]).transpose(0, 3, 1, 2).astype(np.float32) / 255.0)
        inputs = inputs.to(self._device)
        with torch.inference_mode():
            maps = self._network(inputs)[-1]
            if self.options.flip_input:
                maps = maps + flip(self._network(flip(inputs))[-1], is_label=True)
        return maps[: len(crops)].cpu().numpy()


def _fan_place(face: Face) -> tuple[NDArray[np.float64], float]:
    """Return the centre and scale of the package's crop, which is 200 pixels times the scale wide."""
    from face_alignment.utils import CENTER_Y_OFFSET, REFERENCE_SCALE

    centre, size = _box(face.box.astype(np.float64))
    return centre - [0, CENTER_Y_OFFSET * size[1]], float(size.sum() / REFERENCE_SCALE)


def _peaks(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (n, 68, 2) places of the maxima of (n, 68, 64, 64) heat maps as shares of their width, 0 to 1.

    As the package's `get_preds_fromhm`, whose compilation takes longer than most runs: the middle of the highest cell,
    a quarter of a cell towards the higher neighbour unless it lies at the edge.
    """
    flat = maps.reshape(*maps.shape[:2], -1)
    side = maps.shape[-1]
    y, x = np.divmod(flat.argmax(-1), side)
    inner = (x % (side - 1) > 0) & (y % (side - 1) > 0)
    cell = np.where(inner, y * side + x, side + 1)

    def slope(step: int) -> NDArray[np.float32]:
        ahead, behind = (np.take_along_axis(flat, (cell + s)[..., None], -1)[..., 0] for s in (step, -step))
        return np.sign(ahead - behind)

    quarter = 0.25 * np.stack([slope(1), slope(side)], axis=-1) * inner[..., None]
    return (np.stack([x, y], axis=-1) + 0.5 + quarter) / side


def _in_image(peaks: NDArray[np.float64], places: Sequence[tuple[NDArray[np.float64], float]]) -> Landmarks:
    """Return the landmarks in the image, cut down to whole pixels as the package does."""
    from face_alignment.utils import SCALE_FACTOR

    points = [(p - 0.5) * SCALE_FACTOR * scale + centre for p, (centre, scale) in zip(peaks, places, strict=True)]
    return np.trunc(points).astype(np.float32)
