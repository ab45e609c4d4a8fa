"""PhotoMaker (Li et al., CVPR 2024) and its second version: CLIP features of a photo merged into a word of the prompt.

The token of the class word is repeated, for each photo once (v1) or twice (v2), and each copy is fused with an
embedding of the photo; v2 mixes a face embedding with CLIP's patches. A LoRA is added to the UNet. The first steps
see the text alone. Official code: https://github.com/TencentARC/PhotoMaker
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from baselines import adapters, clip, diffusion, fusion
from baselines.protocol import Output, Photos, Reference, Request
from baselines.text_to_image import Base, Text, TextToImageOptions, euler
from bench import weights
from bench.errors import UserError
from bench.identity import IDENTITY, WeightFile
from bench.networks import group
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

TRIGGER = "img"
EMBEDDING = 512
HEAD_WIDTH = 128
"""Of the perceiver in v2."""
NEGATIVE = "(asymmetry, worst quality, low quality, illustration, 3d, 2d, painting, cartoons, sketch), open mouth"


class PhotoMakerOptions(TextToImageOptions):
    """Official defaults.

    Attributes:
        version: which of the two.
        checkpoint: `photomaker-v1.bin` or `photomaker-v2.bin`.
        recogniser: whose embedding v2 asks for; taken raw, not normalised.
        class_word: the word of the prompt that means the person, unless the trigger "img" is in the prompt.
        clip_heads: attention heads of the CLIP inside of the checkpoint, which does not say.
        start_merge_step: last step (from 0) that sees the text alone: 20 % of 50 steps.
    """

    version: Annotated[Literal["v1", "v2"], IDENTITY]
    checkpoint: WeightFile
    recogniser: diffusion.Text = "w600k_r50"
    class_word: diffusion.Text = "person"
    clip_heads: Annotated[int, IDENTITY, Field(ge=1)] = 16
    start_merge_step: Annotated[int, IDENTITY, Field(ge=-1)] = 10
    negative_prompt: diffusion.Text = NEGATIVE
    steps: diffusion.Steps = 50
    guidance_scale: diffusion.Guidance = 5.0

    @property
    def needs(self) -> frozenset[str]:
        """Return what these options need of a reference."""
        return frozenset({"image"} if self.version == "v1" else {"image", f"embedding:{self.recogniser}"})


class PhotoMaker:
    """The method; see the module."""

    Options = PhotoMakerOptions
    many_references = True

    def __init__(self, options: PhotoMakerOptions, runtime: Runtime) -> None:
        self.options = options
        self.base = Base(options, runtime, euler, "photomaker")
        if not self.base.is_xl:
            raise UserError(f"{options.base} is not Stable Diffusion XL, which PhotoMaker is made for")
        checkpoint = _read(options.checkpoint, options.version)
        adapters.load_lora(self.base.unet, self.base.scheduler, checkpoint["lora_weights"], options.checkpoint)
        self.base.place()
        self._load_encoder(checkpoint["id_encoder"])

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request; each set of references is encoded once per prompt.

        Raises:
            UserError: the image or, in v2, the embedding is missing or wrong, or a prompt lacks the class word.
        """
        with diffusion.running(self.options.attention):
            asked = {request.photos: request.references for request in requests}
            objects = {photos: self._objects(references) for photos, references in asked.items()}
            texts = dict.fromkeys((request.photos, request.prompt) for request in requests)
            fused = {(photos, prompt): self.fused(prompt, objects[photos]) for photos, prompt in texts}
            return self.base.generate(requests, lambda batch: self._plan(batch, fused))

    def expanded(self, prompt: str, copies: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return ids, (1, 77) per encoder, with the class token `copies` times, and the (1, 77) mask of these places.

        Raises:
            UserError: the prompt has neither the trigger nor the class word, or the trigger twice.
        """
        import torch

        found = fusion.pieces(prompt, self.options.class_word, TRIGGER)
        if len(found) != 2:
            raise UserError(f"the prompt {prompt!r} must hold {TRIGGER!r} once")
        rows = []
        mask = torch.zeros(1, 77, dtype=torch.bool)
        for tokenizer, _ in self.base.encoders:
            before, after = (fusion.tokens(tokenizer, piece) for piece in found)
            rows.append(fusion.framed(tokenizer, [*before[:-1], *before[-1:] * copies, *after]))
            mask = torch.zeros_like(rows[-1], dtype=torch.bool)
            mask[:, len(before) : len(before) + copies] = True
        return rows, mask

    def identity(self, pixels: torch.Tensor, embeddings: torch.Tensor | None) -> torch.Tensor:
        """Return what is fused into the text, (n * tokens per image, d).

        Args:
            pixels: (n, 3, 224, 224) as CLIP reads them, a row per photo.
            embeddings: (n, 512), raw; v2 only.
        """
        pooled, patches = clip.pooled(self.vision, pixels.to(self.base.device, self.base.dtype))
        if embeddings is None:
            return self._projected(pooled)
        return self._perceived(embeddings.to(pooled), patches).flatten(0, 1)

    def fused(self, prompt: str, objects: torch.Tensor) -> Text:
        """Return the prompt with a person (k, d) in it."""
        ids, mask = self.expanded(prompt, len(objects))
        text = self.base.encode(ids)
        mask = mask.to(text.tokens.device)
        # An expansion that was cut at 77 tokens has lost places; the first objects keep theirs.
        rows = text.tokens[mask]
        return Text(fusion.put(text.tokens, mask, fusion.fuse(self.fuser, rows, objects[: len(rows)])), text.pooled)

    def predictor(self, alone: Mapping[str, Any], with_person: Mapping[str, Any]) -> diffusion.Predict:
        """Return the UNet under the text alone up to `start_merge_step`, then with the person in it."""
        last = self.options.start_merge_step
        return lambda index, timestep, rows: self.base.predict(rows, timestep, alone if index <= last else with_person)

    def _plan(self, batch: Sequence[Request], fused: Mapping[tuple[Photos, str], Text]) -> diffusion.Predict:
        base = self.base
        negative = base.text(self.options.negative_prompt)
        alone = [base.text(self.without_trigger(request.prompt)) for request in batch]
        person = [fused[request.photos, request.prompt] for request in batch]
        return self.predictor(base.condition(alone, negative), base.condition(person, negative))

    def without_trigger(self, prompt: str) -> str:
        """Return the prompt as the first steps see it."""
        before, after = fusion.pieces(prompt, self.options.class_word, TRIGGER)
        return before.rstrip() + after

    def _objects(self, references: Sequence[Reference]) -> torch.Tensor:
        import torch

        side = self.vision.config.image_size
        pixels = torch.cat([clip.pixels(clip.centre(_image(one), side)) for one in references])
        if self.options.version == "v1":
            return self.identity(pixels, None)
        known = (diffusion.embedding_of(one, self.options.recogniser, EMBEDDING) for one in references)
        rows = np.concatenate([rows.mean(axis=0, keepdims=True) for rows in known])
        return self.identity(pixels, torch.from_numpy(rows))

    def _projected(self, pooled: torch.Tensor) -> torch.Tensor:
        import torch

        second = fusion.linear(self.others, "visual_projection_2", pooled)
        return torch.cat([self.vision.visual_projection(pooled), second], dim=-1)

    def _perceived(self, embeddings: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        import torch

        tensors = group(self.others, "qformer_perceiver.")
        hidden = torch.nn.functional.gelu(fusion.linear(tensors, "token_proj.0", embeddings))
        wide = fusion.linear(tensors, "token_proj.2", hidden)
        tokens = fusion.norm(tensors, "token_norm", wide.unflatten(-1, (-1, len(tensors["token_norm.weight"]))))
        return tokens + fusion.perceiver(group(tensors, "perceiver_resampler."), tokens, patches, HEAD_WIDTH)

    def _load_encoder(self, tensors: Mapping[str, torch.Tensor]) -> None:
        base = self.base
        source = self.options.checkpoint
        weights.check_finite(tensors, source)
        kept = {k: v for k, v in tensors.items() if k.startswith(("vision_model.", "visual_projection."))}
        self.vision = clip.vision(kept, self.options.clip_heads, source, base.dtype).to(base.device)
        self.others = {k: v.to(base.device, base.dtype) for k, v in tensors.items() if k not in kept}
        self.fuser = group(self.others, "fuse_module.")
        with weights.wrong_base(source):
            width = base.unet.config.cross_attention_dim
            weights.check_shape("fuse_module.layer_norm.weight", self.fuser["layer_norm.weight"], (width,), source)


def _read(path: Path, version: str) -> dict[str, Any]:
    checkpoint = weights.read(path)
    if set(checkpoint) != {"id_encoder", "lora_weights"}:
        raise UserError(f"{path} is not a PhotoMaker checkpoint: it holds {', '.join(sorted(checkpoint)[:4])} ...")
    if any(key.startswith("qformer_perceiver.") for key in checkpoint["id_encoder"]) != (version == "v2"):
        raise UserError(f"{path} is not a checkpoint of version={version}")
    return checkpoint


def _image(reference: Reference) -> np.ndarray:
    if reference.image is None:
        raise UserError(f"item {reference.item!r} has no image: photomaker needs it")
    return reference.image
