"""ArcFace-type recognisers in ONNX files: one entry of the panel each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.extractors.protocol import Crops, Distance
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.onnx import fixed, open_session, run
from bench.runtime import Runtime

Side = Annotated[int, Field(gt=0)]
Grey = tuple[float, float, float]
"""One number for each channel, in the order in which the network reads them, in grey levels (0 to 255)."""


class ArcFaceOnnx:
    """An ONNX network that turns aligned crops into embeddings; read as its `Options` say, nothing is guessed."""

    role: ClassVar[str] = "recognition"
    pairwise: ClassVar[bool] = False
    distance: ClassVar[Distance] = "cosine"

    class Options(Spec):
        """How a file wants its crops, and where it comes from.

        The network reads (x - mean) / std of grey levels x, 0 to 255: insightface's files take 127.5 and 127.5 in
        "rgb". Constants for values in [0, 1] are to be multiplied by 255 (ImageNet's: mean 123.675, 116.28, 103.53;
        std 58.395, 57.12, 57.375).

        Attributes:
            weights: the ONNX file.
            size: height and width that the network reads; other crops are scaled bilinearly, as insightface does.
            colour: the order of channels that the network reads.
            mean: per channel in that order, grey levels.
            std: likewise.
            dim: length of an embedding.
            view: the crop it reads.
            trained_on: name of the training set.
            batch: crops at a time.
        """

        weights: WeightFile
        size: Annotated[tuple[Side, Side], IDENTITY] = (112, 112)
        colour: Annotated[Literal["rgb", "bgr"], IDENTITY] = "rgb"
        mean: Annotated[Grey, IDENTITY] = (127.5, 127.5, 127.5)
        std: Annotated[Grey, IDENTITY] = (127.5, 127.5, 127.5)
        dim: Annotated[int, Field(gt=0), IDENTITY] = 512
        view: Annotated[str, IDENTITY] = "arcface112"
        trained_on: Annotated[str, RECORDED] = ""
        batch: Annotated[int, Field(gt=0), RECORDED] = 16

    def __init__(self, options: Options, runtime: Runtime) -> None:
        self.options = options
        self.session = open_session(options.weights, runtime)
        self._check()

    def _check(self) -> None:
        inputs = self.session.get_inputs()
        outputs = self.session.get_outputs()
        wanted = (3, *self.options.size)
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4:
            raise UserError(
                f"{self.options.weights} is not a recogniser: it has {len(inputs)} inputs, {len(outputs)} outputs"
            )
        if any(fixed(n) not in (None, m) for n, m in zip(inputs[0].shape[1:], wanted, strict=True)):
            raise UserError(
                f"{self.options.weights} reads {inputs[0].shape[1:]} (channels, height, width), not {wanted}"
            )
        probe = run(self.session, np.zeros((1, *wanted), np.float32), batch=1)
        if probe.shape != (1, self.options.dim):
            raise UserError(f"{self.options.weights} answers with shape {probe.shape[1:]}, not dim={self.options.dim}")

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return embeddings of (b, H, W, 3) uint8 RGB crops.

        Returns:
            "feature": (b, dim) float32, not normalised; "norm": (b,) its length. Rows in which the network answered
            with something that is not a number are NaN throughout.
        """
        o = self.options
        return with_norm(run(self.session, blob(crops, o.size, o.colour, o.mean, o.std), o.batch))


def with_norm(feature: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return embeddings with their lengths; a row that is not finite becomes NaN throughout.

    >>> with_norm(np.array([[3, 4], [np.inf, 0]], np.float32))["norm"].tolist()
    [5.0, nan]
    """
    feature = np.where(np.isfinite(feature).all(1, keepdims=True), feature, np.float32(np.nan)).astype(np.float32)
    return {"feature": feature, "norm": np.linalg.norm(feature, axis=1)}


def blob(
    images: Sequence[NDArray[np.uint8]] | Crops, size: tuple[int, int], colour: str, mean: Grey, std: Grey
) -> NDArray[np.float32]:
    """Return what a recogniser reads: (b, 3, height, width) float32.

    To the last bit as OpenCV's `blobFromImages` makes it: a subtraction, then a multiplication by 1 / std, in float32.

    Args:
        images: (H, W, 3) uint8 RGB each; scaled bilinearly to `size` where they are not of that size.
        size: height, width.
        colour: "rgb" or "bgr", the network's order.
        mean: per channel in that order, 0 to 255.
        std: likewise.
    """
    stack = np.stack([_resized(image, size) for image in images])
    stack = stack if colour == "rgb" else stack[:, :, :, ::-1]
    factor = (1 / np.array(std)).astype(np.float32)
    values = (stack.astype(np.float32) - np.array(mean, np.float32)) * factor
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    return image if image.shape[:2] == size else cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
