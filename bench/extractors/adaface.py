"""AdaFace (Kim et al., CVPR 2022) and CurricularFace (Huang et al., CVPR 2020): their IR backbones."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.extractors.backbones import Backbone, build
from bench.extractors.protocol import Crops, Distance
from bench.extractors.recognition import with_norm
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import assemble, beside, load_state, pixels
from bench.runtime import Runtime

STEM = "input_layer.0.weight"


class AdaFace:
    """An AdaFace network: aligned 112 crops in, embeddings and their norms (its measure of quality) out."""

    role: ClassVar[str] = "recognition"
    pairwise: ClassVar[bool] = False
    distance: ClassVar[Distance] = "cosine"

    class Options(Spec):
        """Options of AdaFace.

        Attributes:
            weights: the official Lightning checkpoint, or the backbone's tensors as safetensors.
            network: which backbone the file holds: CurricularFace of TFace is an "ir_101", the original one a
                "curricular_101".
            colour: the order of channels that the network reads: "bgr" for AdaFace's own files, "rgb" for those of
                CVLface and of CurricularFace.
            flip: adds the embeddings of a crop and of its mirror image, as AdaFace's own evaluation does.
            view: the crop it reads.
            trained_on: name of the training set.
            batch: crops at a time.
        """

        weights: WeightFile
        network: Annotated[Backbone, IDENTITY] = "ir_101"
        colour: Annotated[Literal["bgr", "rgb"], IDENTITY] = "bgr"
        flip: Annotated[bool, IDENTITY] = False
        view: Annotated[str, IDENTITY] = "arcface112"
        trained_on: Annotated[str, RECORDED] = ""
        batch: Annotated[int, Field(gt=0), RECORDED] = 16

    def __init__(self, options: Options, runtime: Runtime) -> None:
        self.options = options
        self._device = runtime.device
        state = beside(load_state(options.weights), STEM, str(options.weights))
        source = f"{options.weights} as AdaFace {options.network}"
        self._network = assemble(partial(build, options.network), state, source, runtime.device)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return embeddings of (b, 112, 112, 3) uint8 RGB crops.

        Returns:
            "feature": (b, 512) float32, not normalised; "norm": (b,) its length. Rows in which the network answered
            with something that is not a number are NaN throughout.
        """
        import torch

        images = pixels(crops, self._device)
        images = (images if self.options.colour == "rgb" else images.flip(1)) * 2 - 1
        with torch.inference_mode():
            feature = self._network(images)
            if self.options.flip:
                feature += self._network(images.flip(3))
        return with_norm(feature.cpu().numpy())
