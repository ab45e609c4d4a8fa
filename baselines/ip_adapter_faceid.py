"""IP-Adapter-FaceID, Plus and Plus-v2 (Ye et al., 2023-24): a face embedding as extra attention tokens, and a LoRA.

The Plus versions add CLIP patch features of the aligned face. Adapter and LoRA are loaded by diffusers.
Official code: https://github.com/tencent-ailab/IP-Adapter; weights and defaults: model card h94/IP-Adapter-FaceID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from baselines import adapters, clip, diffusion
from baselines.protocol import Image, Output, Reference, Request
from baselines.text_to_image import Base, TextToImageOptions
from bench import weights
from bench.errors import UserError
from bench.identity import CONTENT, IDENTITY, WeightFile
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

EMBEDDING = 512
NEGATIVE = "monochrome, lowres, bad anatomy, worst quality, low quality, blurry"


class FaceIDOptions(TextToImageOptions):
    """Official defaults of the model card.

    Attributes:
        version: which of the three. Plus and Plus-v2 checkpoints have one layout and cannot be told apart.
        checkpoint: `ip-adapter-faceid*.bin`; its LoRA is inside.
        image_encoder: folder of CLIP ViT-H/14 (hidden size 1280), for the Plus versions.
        recogniser: whose embedding it asks for.
        adapter_scale: of the adapter's attention.
        s_scale: of the CLIP features in Plus-v2.
        channel_order: of the face put to CLIP. The card's script puts BGR, which tints hair; CLIP was made for RGB.
    """

    version: Annotated[Literal["faceid", "plus", "plusv2"], IDENTITY]
    checkpoint: WeightFile
    image_encoder: Annotated[Path | None, CONTENT] = None
    recogniser: diffusion.Text = "w600k_r50"
    adapter_scale: diffusion.Scale = 1.0
    s_scale: Annotated[float, IDENTITY, Field(ge=0)] = 1.0
    channel_order: Annotated[Literal["rgb", "bgr"], IDENTITY] = "rgb"
    negative_prompt: diffusion.Text = NEGATIVE
    steps: diffusion.Steps = 30
    guidance_scale: diffusion.Guidance = 7.5

    @model_validator(mode="after")
    def _complete(self) -> FaceIDOptions:
        if (self.version == "faceid") != (self.image_encoder is None):
            raise UserError(
                "ip_adapter_faceid: image_encoder goes with the versions plus and plusv2, and only with them"
            )
        return self

    @property
    def needs(self) -> frozenset[str]:
        """Return what these options need of a reference."""
        more = () if self.version == "faceid" else ("image", "face")
        return frozenset({f"embedding:{self.recogniser}", *more})


class IPAdapterFaceID:
    """The method; see the module."""

    Options = FaceIDOptions
    needs = frozenset({"embedding:w600k_r50", "image", "face"})
    """Of the Plus versions; `Options.needs` says what the version in hand needs."""

    def __init__(self, options: FaceIDOptions, runtime: Runtime) -> None:
        self.options = options
        self.needs = options.needs
        self.base = Base(options, runtime, ddim, "ip_adapter_faceid", negative=options.negative_prompt)
        self.project = self._load_adapter()
        self.clip = None if options.image_encoder is None else self._load_clip(options.image_encoder)
        self.base.place()
        with weights.wrong_base(options.checkpoint), diffusion.running(options.attention):
            self.unconditional = self._unconditional()

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request; each reference is encoded once.

        Raises:
            UserError: an embedding, image or face is missing, or the embedding of another length or zero.
        """
        with diffusion.running(self.options.attention):
            pairs = {r.reference.item: (self._unit(r), self._crop(r.reference)) for r in requests}
            tokens = {item: self.tokens(unit, crop) for item, (unit, crop) in pairs.items()}
            return self.base.generate(requests, lambda batch: self._plan(batch, tokens))

    def tokens(self, unit: NDArray[np.float32], crop: Image | None) -> torch.Tensor:
        """Return attention tokens, (1, 4, width), of a (1, 512) unit embedding (and, for Plus, an (s, s, 3) face)."""
        return self._tokens(unit, None if crop is None else self.features(self._pixels(crop)))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return CLIP's penultimate hidden states, (1, patches + 1, hidden), of normalised pixels (1, 3, s, s)."""
        assert self.clip is not None
        pixels = pixels.to(self.base.device, self.base.dtype)
        return self.clip(pixels, output_hidden_states=True).hidden_states[-2]

    def _tokens(self, unit: NDArray[np.float32], features: torch.Tensor | None) -> torch.Tensor:
        import torch

        if features is not None:
            self.project.clip_embeds = features[None]
        return self.project(torch.from_numpy(unit).to(self.base.device, self.base.dtype))

    def _unconditional(self) -> torch.Tensor:
        import torch

        zeros = np.zeros((1, EMBEDDING), np.float32)
        if self.clip is None:
            return self._tokens(zeros, None)
        # Zeros after the normalisation, a grey that no image has: so the official code does.
        side = self.clip.config.image_size
        return self._tokens(zeros, self.features(torch.zeros(1, 3, side, side)))

    def _unit(self, request: Request) -> NDArray[np.float32]:
        rows = diffusion.embedding(request, self.options.recogniser, EMBEDDING)
        mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0, keepdims=True)
        return mean / np.linalg.norm(mean)

    def _crop(self, reference: Reference) -> Image | None:
        if self.clip is None:
            return None
        from bench.faces.align import arcface112

        if reference.image is None or reference.face is None:
            raise UserError(f"item {reference.item!r} has no image or no face: {self.options.version} needs both")
        return arcface112(reference.image, reference.face.keypoints, self.clip.config.image_size)

    def _pixels(self, crop: Image) -> torch.Tensor:
        return clip.pixels(crop if self.options.channel_order == "rgb" else crop[..., ::-1])

    def _load_adapter(self) -> Any:
        options = self.options
        base = self.base
        checkpoint = weights.read(options.checkpoint)
        if ("perceiver_resampler.proj_in.weight" in checkpoint.get("image_proj", {})) != (options.version != "faceid"):
            raise UserError(f"{options.checkpoint} is not a checkpoint of version={options.version}")
        project = adapters.load_ip_adapter(
            base.unet, base.scheduler, checkpoint, options.checkpoint, options.adapter_scale
        )
        if options.version != "faceid":
            project.shortcut = options.version == "plusv2"
            project.shortcut_scale = options.s_scale
        return project.to(base.device)

    def _load_clip(self, folder: Path) -> Any:
        from transformers import CLIPVisionModelWithProjection

        network = weights.load(CLIPVisionModelWithProjection, folder, self.base.dtype)
        wanted = self.project.proj_in.in_features
        if network.config.hidden_size != wanted:
            raise UserError(
                f"{folder} is {network.config.hidden_size} wide, the adapter reads {wanted} (CLIP ViT-H/14)"
            )
        return network.to(self.base.device)

    def _plan(self, batch: Sequence[Request], tokens: Mapping[str, torch.Tensor]) -> diffusion.Predict:
        base = self.base
        condition = base.condition([base.text(r.prompt) for r in batch], base.text(self.options.negative_prompt))
        rows = [tokens[request.reference.item] for request in batch]
        condition["added_cond_kwargs"] |= adapters.added(rows, self.unconditional, self.options.guidance_scale)
        return lambda _index, timestep, latents: base.predict(latents, timestep, condition)


def ddim(_config: dict[str, Any]) -> Any:
    """Return the card's scheduler, whatever the base's."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
