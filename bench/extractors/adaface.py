"""AdaFace (Kim et al., CVPR 2022): its IR backbones, read from the official checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.extractors.backbones import Backbone, build
from bench.extractors.protocol import Crops
from bench.extractors.recognition import with_norm
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import State, channels_last, fill, load_state, pixels
from bench.runtime import Runtime

STEM = "input_layer.0.weight"


class AdaFace:
    """An AdaFace network: aligned 112 crops in, embeddings and their norms (its measure of quality) out."""

    class Options(Spec):
        """The file is the official Lightning checkpoint, or the backbone's tensors as safetensors.

        The official files read "bgr", those of CVLface "rgb". With `flip` the embeddings of a crop and of its mirror
        image are added, as AdaFace's own evaluation does.
        """

        weights: WeightFile
        network: Annotated[Backbone, IDENTITY] = "ir_101"
        colour: Annotated[Literal["bgr", "rgb"], IDENTITY] = "bgr"
        flip: Annotated[bool, IDENTITY] = False
        view: Annotated[str, IDENTITY] = "arcface112"
        trained_on: Annotated[str, RECORDED] = ""
        batch: Annotated[int, Field(gt=0), RECORDED] = 16

    def __init__(self, options: Options, runtime: Runtime) -> None:
        import torch

        self.options, self._device = options, runtime.device
        state = _backbone(load_state(options.weights), str(options.weights))
        with torch.device("meta"):
            network = build(options.network)
        fill(network, state, f"{options.weights} as AdaFace {options.network}")
        self._network = channels_last(network, runtime.device)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Embeddings of (b, 112, 112, 3) uint8 RGB crops.

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


def _backbone(state: State, source: str) -> State:
    """The backbone's part of a checkpoint, which may stand under a prefix ("model.") beside the training head."""
    stems = [key.removesuffix(STEM) for key in state if key.endswith(STEM)]
    if len(stems) != 1:
        raise UserError(f"{source} holds {len(stems)} tensors named ...{STEM}; an AdaFace backbone has one")
    return {key.removeprefix(stems[0]): tensor for key, tensor in state.items() if key.startswith(stems[0])}
