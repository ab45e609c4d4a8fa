"""CLIP image embeddings for CMMD."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.extractors.protocol import Crops
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import CLIP_MEAN, CLIP_STD, bicubic, pixels, standardise
from bench.runtime import Runtime
from bench.weights import load_renamed

UNUSED = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")


class Clip:
    """The projected image embedding of CLIP (Radford et al., 2021), not normalised (CMMD's metric does that).

    Input RGB, shrunk to the network's own size (336 for CMMD's ViT-L/14@336) by Pillow's bicubic filter on bytes, as
    google-research/cmmd does, / 255, CLIP's mean and std.
    """

    role: ClassVar[str] = "clip"
    pairwise: ClassVar[bool] = False

    class Options(Spec):
        """Options of CLIP.

        Attributes:
            weights: folder in Hugging Face layout, e.g. `openai/clip-vit-large-patch14-336`; its text half is not used.
            view: the crop it reads.
            batch: crops at a time.
        """

        weights: WeightFile
        view: Annotated[str, IDENTITY] = "ffhq512"
        batch: Annotated[int, Field(gt=0), RECORDED] = 8

    def __init__(self, options: Clip.Options, runtime: Runtime) -> None:
        from transformers import CLIPVisionModelWithProjection

        self.network = load_renamed(CLIPVisionModelWithProjection, options.weights, UNUSED)
        self.size = int(self.network.config.image_size)
        self.device = runtime.device
        self.network.to(self.device)

    def extract(self, crops: Crops) -> dict[str, NDArray[np.float32]]:
        """Return `feature` (b, d) float32 of (b, H, W, 3) uint8 RGB crops of any size."""
        import torch

        with torch.inference_mode():
            images = standardise(pixels(bicubic(crops, self.size), self.device), CLIP_MEAN, CLIP_STD)
            return {"feature": self.network(images).image_embeds.cpu().numpy()}
