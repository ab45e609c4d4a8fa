"""FastComposer (Xiao et al., 2023): CLIP's embedding of an image merged into the word for the person, on SD 1.5.

The UNet was fine-tuned with it; the first steps see the text alone. The checkpoint holds copies of the base's text
encoder and VAE, which training left as they were: they are taken from the base.
Official code: https://github.com/mit-han-lab/fastcomposer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from baselines import clip, diffusion, fusion
from baselines.protocol import Image, Output, Reference, Request
from baselines.text_to_image import Base, Text, TextToImageOptions
from bench import weights
from bench.errors import UserError
from bench.identity import IDENTITY, WeightFile
from bench.networks import CLIP_MEAN, CLIP_STD, group, standardise
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

MARKER = "<|image|>"


class FastComposerOptions(TextToImageOptions):
    """Official defaults of the inference script.

    Attributes:
        base: Stable Diffusion 1.5 in the layout of diffusers (of its UNet only the configuration is read).
        checkpoint: `pytorch_model.bin`.
        class_word: the word of the prompt that means the person, unless the marker "<|image|>" is in the prompt.
        clip_heads: attention heads of the CLIP inside of the checkpoint, which does not say.
        object_resolution: side of the image given to CLIP, which resizes it to its own.
        start_merge_step: last call of the UNet (from 0) that sees the text alone.
    """

    checkpoint: WeightFile
    class_word: diffusion.Text = "person"
    clip_heads: Annotated[int, IDENTITY, Field(ge=1)] = 16
    object_resolution: Annotated[int, IDENTITY, Field(ge=32)] = 224
    start_merge_step: Annotated[int, IDENTITY, Field(ge=-1)] = 10
    steps: diffusion.Steps = 50
    guidance_scale: diffusion.Guidance = 5.0


class FastComposer:
    """The method; see the module."""

    Options = FastComposerOptions
    needs = frozenset({"image"})

    def __init__(self, options: FastComposerOptions, runtime: Runtime) -> None:
        self.options = options
        checkpoint = _read(options.checkpoint)

        def unet(folder: Path, dtype: torch.dtype) -> Any:
            return load_unet(folder, group(checkpoint, "unet."), options.checkpoint, dtype)

        self.base = Base(options, runtime, pndm, "fastcomposer", unet)
        if self.base.is_xl:
            raise UserError(f"{options.base} is not Stable Diffusion 1.5, which FastComposer is made for")
        self.base.place()
        self._load_encoder(checkpoint)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request; each reference is encoded once per prompt.

        Raises:
            UserError: an image is missing, or a prompt lacks the class word.
        """
        with diffusion.running(self.options.attention):
            references = {request.reference.item: request.reference for request in requests}
            objects = {item: self._object(reference) for item, reference in references.items()}
            texts = dict.fromkeys((request.reference.item, request.prompt) for request in requests)
            fused = {(item, prompt): self.fused(prompt, objects[item]) for item, prompt in texts}
            return self.base.generate(requests, lambda batch: self._plan(batch, fused))

    def marked(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (1, 77) ids of a prompt without its markers, and the mask of the tokens before them.

        Raises:
            UserError: the prompt has neither marker nor class word.
        """
        return fusion.marked(self.base.encoders[0][0], fusion.pieces(prompt, self.options.class_word, MARKER))

    def without_marker(self, prompt: str) -> str:
        """Return the prompt as the first steps see it."""
        return "".join(fusion.pieces(prompt, self.options.class_word, MARKER))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Turn (n, 3, r, r) images in [0, 1] into (n, d) embeddings, not normalised."""
        import torch

        side = self.vision.config.image_size
        images = images.to(self.base.device, torch.float32)
        if images.shape[-1] != side:
            images = torch.nn.functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
        return self.vision(standardise(images, CLIP_MEAN, CLIP_STD).to(self.base.dtype)).image_embeds

    def fused(self, prompt: str, objects: torch.Tensor) -> Text:
        """Return the prompt with objects (k, d) in it, in the order of the markers."""
        ids, mask = self.marked(prompt)
        text = self.base.encode([ids]).tokens
        return Text(self.merged(text, mask.to(text.device), objects))

    def merged(self, text: torch.Tensor, mask: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
        """Return text tokens (n, 77, d) with objects (k, d) fused into the k places of the mask, prompt by prompt."""
        return fusion.put(text, mask, fusion.fuse(self.fuser, text[mask], objects))

    def _object(self, reference: Reference) -> torch.Tensor:
        if reference.image is None:
            raise UserError(f"item {reference.item!r} has no image: fastcomposer needs it")
        return self.embed(square(reference.image, self.options.object_resolution))

    def _plan(self, batch: Sequence[Request], fused: Mapping[tuple[str, str], Text]) -> diffusion.Predict:
        base = self.base
        last = self.options.start_merge_step
        negative = base.text(self.options.negative_prompt)
        alone = base.condition([base.text(self.without_marker(r.prompt)) for r in batch], negative)
        person = base.condition([fused[r.reference.item, r.prompt] for r in batch], negative)
        return lambda index, timestep, rows: base.predict(rows, timestep, alone if index <= last else person)

    def _load_encoder(self, checkpoint: Mapping[str, torch.Tensor]) -> None:
        base = self.base
        source = self.options.checkpoint
        vision = group(checkpoint, "image_encoder.")
        self.vision = clip.vision(vision, self.options.clip_heads, source, base.dtype).to(base.device)
        fuser = group(checkpoint, "postfuse_module.")
        weights.check_finite(fuser, source)
        self.fuser = {key: value.to(base.device, base.dtype) for key, value in fuser.items()}
        width = base.unet.config.cross_attention_dim
        weights.check_shape("postfuse_module.layer_norm.weight", self.fuser["layer_norm.weight"], (width,), source)


def pndm(config: dict[str, Any]) -> Any:
    """Return the base's own scheduler."""
    from diffusers import PNDMScheduler

    return PNDMScheduler.from_config(config)


def load_unet(folder: Path, tensors: Mapping[str, torch.Tensor], source: Path, dtype: torch.dtype) -> Any:
    """Load a UNet of the base's shape (its folder's config.json) with the checkpoint's weights.

    Raises:
        UserError: they do not fit.
    """
    import torch
    from diffusers import UNet2DConditionModel

    with weights.wrong_base(source):
        with torch.device("meta"):
            network = UNet2DConditionModel.from_config(weights.config(folder))
        network.load_state_dict({key: value.to(dtype) for key, value in tensors.items()}, assign=True)
    weights.landed(network.state_dict(), tensors.items(), source)
    return network.eval().requires_grad_(False)


def padded(image: Image) -> Image:
    """Pad the shorter side with black, (difference) // 2 on each side: an odd difference leaves one pixel."""
    import numpy as np

    height, width = image.shape[:2]
    tall = max(width - height, 0) // 2
    wide = max(height - width, 0) // 2
    return np.pad(image, ((tall, tall), (wide, wide), (0, 0)))


def square(image: Image, side: int) -> torch.Tensor:
    """Pad an (H, W, 3) uint8 RGB image, resize it (bilinear, antialias), round: (1, 3, side, side) in [0, 1]."""
    import torch

    rows = torch.tensor(padded(image), dtype=torch.float32).permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(rows, (side, side), mode="bilinear", antialias=True).round() / 255


def _read(path: Path) -> dict[str, Any]:
    checkpoint = weights.read(path)
    needed = {"unet", "image_encoder", "postfuse_module"}
    if not needed <= {key.split(".")[0] for key in checkpoint}:
        raise UserError(
            f"{path} is not FastComposer's pytorch_model.bin: it holds {', '.join(sorted(checkpoint)[:4])} ..."
        )
    return checkpoint
