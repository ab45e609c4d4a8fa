"""FaceNet (Schroff et al., CVPR 2015) as facenet-pytorch has it, with another network and crop than ArcFace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.extractors.protocol import Crops, Distance
from bench.extractors.recognition import with_norm
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import assemble, load_state, pixels, require_side
from bench.runtime import Runtime

SIDE = 160
UNUSED = ("logits.",)
"""The classifier of the training set's people, which official files hold too."""


class FaceNet:
    """Inception-ResNet v1. Input RGB, 160, (x - 127.5) / 128 of grey levels; a crop by the box, not by key points."""

    role: ClassVar[str] = "recognition"
    pairwise: ClassVar[bool] = False
    distance: ClassVar[Distance] = "cosine"

    class Options(Spec):
        """Options of FaceNet.

        Attributes:
            weights: `20180402-114759-vggface2.pt` of facenet-pytorch's release v2.2.9, or the CASIA-WebFace one.
            view: the crop it reads.
            trained_on: the training set.
            batch: crops at a time.
        """

        weights: WeightFile
        view: Annotated[str, IDENTITY] = "facenet160"
        trained_on: Annotated[str, RECORDED] = ""
        batch: Annotated[int, Field(gt=0), RECORDED] = 16

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from bench.extractors.inception_resnet import InceptionResnetV1

        self._device = runtime.device
        source = f"{options.weights} (FaceNet)"
        state = load_state(options.weights)
        self._network = assemble(InceptionResnetV1, state, source, runtime.device, UNUSED)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return the embeddings of (b, 160, 160, 3) uint8 RGB crops.

        Returns:
            "feature": (b, 512) float32, before the official network's normalisation; "norm": (b,) its length.

        Raises:
            UserError: crops of another size, which the network would take.
        """
        import torch

        require_side(crops, SIDE, "FaceNet")
        with torch.inference_mode():
            images = (pixels(crops, self._device) * 255 - 127.5) / 128
            return with_norm(self._network(images).cpu().numpy())
