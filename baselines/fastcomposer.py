"""FastComposer (Xiao et al., 2023): CLIP's embedding of a picture merged into the word for the person, on SD 1.5.

The UNet was fine-tuned with it; the first steps see the text alone. The checkpoint holds copies of the base's text
encoder and VAE, which training left as they were: they are taken from the base.
Official code: https://github.com/mit-han-lab/fastcomposer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from baselines import clip, diffusion, fusion, weights
from baselines.protocol import Image, Output, Reference, Request
from baselines.text_to_image import Base, BaseFolder, Text
from bench.errors import UserError
from bench.identity import CONTENT, IDENTITY, Spec, WeightFile
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

MARKER = "<|image|>"


class FastComposerOptions(Spec):
    """Official defaults of the inference script.

    Attributes:
        base: Stable Diffusion 1.5 in the layout of diffusers (of its UNet only the configuration is read).
        vae: folder of another VAE; None: the base's.
        checkpoint: `pytorch_model.bin`.
        class_word: the word of the prompt that stands for the person, unless the marker "<|image|>" is in the prompt.
        clip_heads: attention heads of the CLIP inside of the checkpoint, which does not tell.
        object_resolution: side of the picture put to CLIP, which resizes it to its own.
        start_merge_step: last call of the UNet (from 0) that sees the text alone.
    """

    base: BaseFolder
    vae: Annotated[Path | None, CONTENT] = None
    checkpoint: WeightFile
    class_word: diffusion.Text = "person"
    clip_heads: Annotated[int, IDENTITY, Field(ge=1)] = 16
    object_resolution: Annotated[int, IDENTITY, Field(ge=32)] = 224
    start_merge_step: Annotated[int, IDENTITY, Field(ge=-1)] = 10
    negative_prompt: diffusion.Text = ""
    steps: diffusion.Steps = 50
    guidance_scale: diffusion.Guidance = 5.0
    width: diffusion.Side = None
    height: diffusion.Side = None
    precision: diffusion.Precision = "fp32"
    vae_precision: diffusion.Precision = "fp32"
    batch: diffusion.Batch = 5
    channels_last: diffusion.Switch = False
    compile: diffusion.Switch = False
    attention: diffusion.Attention = "auto"


class FastComposer:
    """The method; see the module."""

    Options = FastComposerOptions
    needs = frozenset({"image"})

    def __init__(self, options: FastComposerOptions, runtime: Runtime) -> None:
        self.options = options
        checkpoint = _read(options.checkpoint)

        def unet(folder: Path, dtype: torch.dtype) -> Any:
            return load_unet(folder, fusion.group(checkpoint, "unet."), options.checkpoint, dtype)

        self.base = Base(options, runtime, pndm, "fastcomposer", unet)
        if self.base.is_xl:
            raise UserError(f"{options.base} is not Stable Diffusion 1.5, which FastComposer is made for")
        self.base.place()
        self._load_encoder(checkpoint)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """See `baselines.protocol.Method`; each reference is encoded once per prompt.

        Raises:
            UserError: an image is missing, or a prompt lacks the class word.
        """
        with diffusion.running(self.options.attention):
            references = {id(r.reference): r.reference for r in requests}
            objects = {key: self._object(reference) for key, reference in references.items()}
            texts = {(id(r.reference), r.prompt): r.prompt for r in requests}
            fused = {key: self.fused(prompt, objects[key[0]]) for key, prompt in texts.items()}
            return self.base.generate(requests, lambda batch: self._plan(batch, fused))

    def marked(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The (1, 77) ids of a prompt without its markers, and the mask of the tokens before them.

        Raises:
            UserError: the prompt has neither marker nor class word.
        """
        return fusion.marked(self.base.encoders[0][0], fusion.pieces(prompt, self.options.class_word, MARKER))

    def without_marker(self, prompt: str) -> str:
        """The prompt as the first steps see it."""
        return "".join(fusion.pieces(prompt, self.options.class_word, MARKER))

    def embed(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, r, r) pictures in [0, 1] to (n, d) embeddings, not normalised."""
        import torch

        side = self.vision.config.image_size
        pictures = pictures.to(self.base.device, torch.float32)
        if pictures.shape[-1] != side:
            pictures = torch.nn.functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True)
        return self.vision(clip.normalised(pictures).to(self.base.dtype)).image_embeds

    def fused(self, prompt: str, objects: torch.Tensor) -> Text:
        """The prompt with objects (k, d) in it, in the order of the markers."""
        ids, mask = self.marked(prompt)
        text = self.base.encode([ids]).tokens
        return Text(self.merged(text, mask.to(text.device), objects))

    def merged(self, text: torch.Tensor, mask: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
        """Text tokens (n, 77, d) with objects (k, d) fused into the k places of the mask, prompt by prompt."""
        return fusion.put(text, mask, fusion.fuse(self.fuser, text[mask], objects))

    def _object(self, reference: Reference) -> torch.Tensor:
        if reference.image is None:
            raise UserError(f"item {reference.item!r} has no image: fastcomposer needs it")
        return self.embed(square(reference.image, self.options.object_resolution))

    def _plan(self, batch: Sequence[Request], fused: Mapping[tuple[int, str], Text]) -> diffusion.Predict:
        base, last = self.base, self.options.start_merge_step
        negative = base.text(self.options.negative_prompt)
        alone = base.condition([base.text(self.without_marker(r.prompt)) for r in batch], negative)
        person = base.condition([fused[id(r.reference), r.prompt] for r in batch], negative)
        return lambda index, timestep, rows: base.predict(rows, timestep, alone if index <= last else person)

    def _load_encoder(self, checkpoint: Mapping[str, torch.Tensor]) -> None:
        base, source = self.base, self.options.checkpoint
        vision = fusion.group(checkpoint, "image_encoder.")
        self.vision = clip.vision(vision, self.options.clip_heads, source, base.dtype).to(base.device)
        fuser = fusion.group(checkpoint, "postfuse_module.")
        weights.check_finite(fuser, source)
        self.fuser = {key: value.to(base.device, base.dtype) for key, value in fuser.items()}
        width = base.unet.config.cross_attention_dim
        weights.check_shape("postfuse_module.layer_norm.weight", self.fuser["layer_norm.weight"], (width,), source)


def pndm(config: dict[str, Any]) -> Any:
    """The base's own scheduler."""
    from diffusers import PNDMScheduler

    return PNDMScheduler.from_config(config)


def load_unet(folder: Path, tensors: Mapping[str, torch.Tensor], source: Path, dtype: torch.dtype) -> Any:
    """A UNet of the base's shape (its folder's config.json) with the checkpoint's weights.

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
    """Black on both sides of the shorter side: (difference) // 2 each, so an odd one leaves a pixel's difference."""
    import numpy as np

    height, width = image.shape[:2]
    tall, wide = max(width - height, 0) // 2, max(height - width, 0) // 2
    return np.pad(image, ((tall, tall), (wide, wide), (0, 0)))


def square(image: Image, side: int) -> torch.Tensor:
    """An (H, W, 3) uint8 RGB picture padded, resized (bilinear, antialias), rounded: (1, 3, side, side) in [0, 1]."""
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
