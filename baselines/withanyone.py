"""WithAnyone (Xu et al., 2025): a face embedding and SigLIP's view of the face, read by FLUX inside a box.

After every block two cross-attentions add what the image tokens read from eight tokens of the embedding, and from
SigLIP's tokens with eight more. Only image tokens inside the box of the face read them.
Official code: https://github.com/Doby-Xu/WithAnyone
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from baselines import diffusion, faces, flux, fusion
from baselines.protocol import Image, Output, Reference, Request
from bench import weights
from bench.conditions.kinds import ConditionKind
from bench.errors import UserError
from bench.identity import CONTENT, IDENTITY, WeightFile
from bench.networks import group
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

EMBEDDING = 512
TOKENS = 8
"""Tokens that a projection of the embedding makes."""
HEAD_WIDTH = 64
PATCH = 16
"""Pixels of an image token's side."""
CROP = 512
"""Side of the face's crop before SigLIP's own size."""
Fraction = Annotated[float, Field(ge=0, le=1)]


class WithAnyoneOptions(flux.FluxOptions):
    """Official defaults of `infer_withanyone.py`.

    Attributes:
        checkpoint: `withanyone.safetensors`.
        siglip: folder of google/siglip-base-patch16-256-i18n; needed where `siglip_weight` is above 0.
        recogniser: whose embedding it asks for; taken raw, not normalised.
        id_weight: strength of the embedding's tokens.
        siglip_weight: strength of SigLIP's tokens; at 0 the method sees the embedding alone.
        box: of the face on the canvas, as fractions left, top, right, bottom; None: the whole canvas.
    """

    checkpoint: WeightFile
    siglip: Annotated[Path | None, CONTENT] = None
    recogniser: diffusion.Text = "glintr100"
    id_weight: diffusion.Scale = 1.0
    siglip_weight: diffusion.Scale = 1.0
    box: Annotated[tuple[Fraction, Fraction, Fraction, Fraction] | None, IDENTITY] = (0.3, 0.2, 0.7, 0.7)
    steps: diffusion.Steps = 25
    guidance_scale: diffusion.Guidance = 4.0
    width: flux.Side = 512
    height: flux.Side = 512

    @model_validator(mode="after")
    def _complete(self) -> WithAnyoneOptions:
        if self.siglip_weight and self.siglip is None:
            raise UserError("withanyone: siglip_weight above 0 needs the folder siglip")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise UserError(f"withanyone: box={list(self.box)} has no area; left, top, right, bottom from 0 to 1")
        return self

    @property
    def needs(self) -> frozenset[str]:
        """Return what these options need of a reference."""
        images = ("image", "face") if self.siglip_weight else ()
        return frozenset({f"embedding:{self.recogniser}", *images})

    @property
    def accepts(self) -> frozenset[ConditionKind]:
        """Return the kinds of conditions that these options follow: an embedding where no photo is seen with it."""
        return frozenset() if self.siglip_weight else frozenset({ConditionKind.EMBEDDING})


@dataclass(frozen=True)
class Sizes:
    """The sizes of a checkpoint.

    Attributes:
        image: width of the transformer's image tokens and of the identity tokens.
        hidden: width inside of the embedding's projections.
        siglip: width of SigLIP's hidden states.
        inner: width of the cross-attentions.
        blocks: number of the transformer's blocks.
    """

    image: int = 3072
    hidden: int = 12288
    siglip: int = 768
    inner: int = 1536
    blocks: int = 57


@dataclass(frozen=True, eq=False)
class Tokens:
    """Identity tokens of n samples: `arc`, (n, 8 r, width), and `sig`, (n, 264 r, width) or None, of r people each."""

    arc: torch.Tensor
    sig: torch.Tensor | None


class WithAnyone:
    """The method; see the module."""

    Options = WithAnyoneOptions

    def __init__(self, options: WithAnyoneOptions, runtime: Runtime) -> None:
        self.options = options
        tensors = weights.read(options.checkpoint)
        sizes = sizes_of(tensors, options.checkpoint)
        weights.check_layout(tensors, layout(sizes), options.checkpoint)
        self.vision = None if options.siglip is None else load_siglip(options.siglip, sizes.siglip)
        self.base = flux.Flux(options, runtime, "withanyone")
        self._load_adapter(tensors, sizes)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request; each identity is encoded once.

        Raises:
            UserError: an embedding (or image or face) is missing, or the embedding of another length or zero.
        """
        base = self.base
        with diffusion.running(self.options.attention):
            identities = {diffusion.key(request): request for request in requests}
            checked = {key: self._inputs(request) for key, request in identities.items()}
            tokens = {key: self._tokens(*inputs) for key, inputs in checked.items()}
            shift = shift_tokens(base.size)
            return base.generate(requests, lambda batch, _: self._plan(batch, tokens), shift)

    def tokens(self, embeddings: torch.Tensor, hidden: torch.Tensor | None) -> Tokens:
        """Return identity tokens of one sample, of r people.

        Args:
            embeddings: (r, 512), raw.
            hidden: (r, 256, 768), SigLIP's last hidden states; None: without them.
        """
        import torch

        rows = embeddings.to(self.base.device, self.base.dtype)
        arc = _projected(self.parts["arcface_in_arc"], rows).unflatten(-1, (TOKENS, -1)).flatten(0, 1)
        if hidden is None:
            return Tokens(arc[None], None)
        seen = _projected(self.parts["siglip_in_sig"], hidden.to(self.base.device, self.base.dtype))
        own = _projected(self.parts["arcface_in_sig"], rows).unflatten(-1, (TOKENS, -1))
        return Tokens(arc[None], torch.cat([seen, own], dim=1).flatten(0, 1)[None])

    def injections(self, tokens: Tokens, masks: torch.Tensor | None) -> flux.Injections:
        """Return what every block adds to its image tokens.

        Args:
            tokens: of n samples.
            masks: (p, r) boolean, which image token lies in whose box; None: all in all.
        """
        arc = _spread(masks, tokens.arc)
        sig = None if tokens.sig is None else _spread(masks, tokens.sig)
        return {k: partial(self._read, k, tokens, arc, sig) for k in range(len(self.arc))}

    def velocity(self, prompts: Sequence[str], tokens: Tokens, masks: torch.Tensor | None) -> flux.Velocity:
        """Return the networks under a batch's prompts and identity tokens."""
        text, added = self.base.text(prompts), self.injections(tokens, masks)
        return lambda _step, sigma, latents: self.base.velocity(latents, sigma, text, added)

    def _read(
        self, k: int, tokens: Tokens, arc: torch.Tensor | None, sig: torch.Tensor | None, image: torch.Tensor
    ) -> torch.Tensor:
        options = self.options
        found = options.id_weight * fusion.cross(self.arc[k], image, tokens.arc, HEAD_WIDTH, arc)
        if tokens.sig is None:
            return found
        return found + options.siglip_weight * fusion.cross(self.sig[k], image, tokens.sig, HEAD_WIDTH, sig)

    def _plan(self, batch: Sequence[Request], tokens: Mapping[diffusion.Key, Tokens]) -> flux.Velocity:
        import torch

        found = [tokens[diffusion.key(request)] for request in batch]
        sig = [t.sig for t in found if t.sig is not None]
        joined = Tokens(torch.cat([t.arc for t in found]), torch.cat(sig) if sig else None)
        return self.velocity([r.prompt for r in batch], joined, self._mask())

    def _mask(self) -> torch.Tensor | None:
        if self.options.box is None:
            return None
        height, width = self.base.pixels
        left, top, right, bottom = self.options.box
        box = (left * width, top * height, right * width, bottom * height)
        return inside([box], self.base.grid).to(self.base.device)

    def _inputs(self, request: Request) -> tuple[NDArray[np.float32], Image | None]:
        rows = diffusion.embeddings(request, self.options.recogniser, EMBEDDING)
        crop = face_crop(request.reference) if self.options.siglip_weight else None
        return rows.mean(axis=0, keepdims=True), crop

    def _tokens(self, embedding: NDArray[np.float32], crop: Image | None) -> Tokens:
        import torch

        hidden = None
        if crop is not None and self.vision is not None:
            pixels = siglip_pixels(crop, self.vision.config.image_size)
            hidden = self.vision(pixels.to(self.base.device)).last_hidden_state
        return self.tokens(torch.from_numpy(embedding), hidden)

    def _load_adapter(self, tensors: Mapping[str, torch.Tensor], sizes: Sizes) -> None:
        base = self.base
        if (sizes.image, sizes.blocks) != (base.width, base.double + base.single):
            raise UserError(
                f"{self.options.checkpoint} adds to {sizes.blocks} blocks of width {sizes.image}, "
                f"this base has {base.double + base.single} of {base.width}: made for another base"
            )
        here = {key: value.to(base.device, base.dtype) for key, value in tensors.items()}
        names = ("arcface_in_arc", "arcface_in_sig", "siglip_in_sig")
        self.parts = {name: group(here, f"{name}.") for name in names}
        self.arc = [group(here, f"ipa_arc.{k}.") for k in range(sizes.blocks)]
        self.sig = [group(here, f"ipa_sig.{k}.") for k in range(sizes.blocks)]
        if self.vision is not None:
            self.vision = self.vision.to(base.device)


def shift_tokens(size: tuple[int, int]) -> int:
    """Return the number of tokens that the official schedule is shifted for, of latents (h, w).

    It is a 64th of the true number, a slip that its samples were made with.

    >>> shift_tokens((64, 64))
    16
    """
    return size[0] * size[1] // 256


def inside(boxes: Sequence[tuple[float, float, float, float]], grid: tuple[int, int]) -> torch.Tensor:
    """Return which image tokens of a grid (rows, columns) touch which box (x1, y1, x2, y2 in pixels): (p, r)."""
    import torch

    masks = torch.zeros(len(boxes), *grid, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        rows = slice(int(top) // PATCH, math.ceil(bottom / PATCH))
        mask[rows, int(left) // PATCH : math.ceil(right / PATCH)] = True
    return masks.flatten(1).T


def face_crop(reference: Reference) -> Image:
    """Return the square around a reference's face, cut at the image's border and scaled: (512, 512, 3) uint8 RGB.

    Raises:
        UserError: no image or no face, or a face outside of the image.
    """
    from PIL import Image as Pillow

    image, face = faces.seen(reference, "withanyone")
    height, width = image.shape[:2]
    left, top, right, bottom = squared(face.box)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if left >= right or top >= bottom:
        raise UserError(f"item {reference.item!r}: the face lies outside of the image")
    crop = Pillow.fromarray(image[top:bottom, left:right])
    return np.asarray(crop.resize((CROP, CROP), Pillow.Resampling.LANCZOS))


def squared(box: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Return a box x1, y1, x2, y2, cut to whole pixels, with its shorter side lengthened on both ends.

    >>> squared(np.float32([10.9, 20, 30, 45]))
    (7, 20, 32, 45)
    """
    left, top, right, bottom = (int(value) for value in box)
    width = right - left
    height = bottom - top
    if height > width:
        before = (height - width) // 2
        return left - before, top, left - before + height, bottom
    before = (width - height) // 2
    return left, top - before, right, top - before + width


def siglip_pixels(crop: Image, side: int) -> torch.Tensor:
    """Return a crop (H, W, 3) uint8 RGB as SigLIP reads it, (1, 3, side, side) in [-1, 1]: bicubic, Pillow."""
    import torch
    from PIL import Image as Pillow

    resized = Pillow.fromarray(crop).resize((side, side), Pillow.Resampling.BICUBIC)
    return torch.tensor(np.asarray(resized), dtype=torch.float32).permute(2, 0, 1)[None] / 127.5 - 1


def load_siglip(folder: Path, width: int) -> Any:
    """Return SigLIP's image side in float32.

    Raises:
        UserError: another network, or one of another width.
    """
    from transformers import SiglipVisionModel

    network = weights.load_renamed(SiglipVisionModel, folder, unused=("text_model.", "logit_"))
    if network.config.hidden_size != width:
        raise UserError(f"{folder} is {network.config.hidden_size} wide, the checkpoint reads {width}")
    return network


def layout(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of a checkpoint."""
    shapes: dict[str, tuple[int, ...]] = {
        **_projection_layout("siglip_in_sig", sizes.siglip, sizes.image, sizes.image),
    }
    for name in ("arcface_in_arc", "arcface_in_sig"):
        shapes |= _projection_layout(name, EMBEDDING, sizes.hidden, TOKENS * sizes.image)
    for name in ("ipa_arc", "ipa_sig"):
        for k in range(sizes.blocks):
            shapes |= fusion.cross_layout(f"{name}.{k}", sizes.image, sizes.image, sizes.inner)
    return shapes


def sizes_of(tensors: Mapping[str, Any], source: Path) -> Sizes:
    """Return the sizes of a checkpoint.

    Raises:
        UserError: it is not WithAnyone's.
    """
    if "arcface_in_arc.0.weight" not in tensors:
        raise UserError(f"{source} is not WithAnyone: it holds {', '.join(sorted(tensors)[:3])} ...")
    with weights.wrong_base(source):
        return Sizes(
            image=len(tensors["siglip_in_sig.3.weight"]),
            hidden=len(tensors["arcface_in_arc.0.weight"]),
            siglip=tensors["siglip_in_sig.0.weight"].shape[1],
            inner=len(tensors["ipa_arc.0.to_q.weight"]),
            blocks=len({key.split(".")[1] for key in tensors if key.startswith("ipa_arc.")}),
        )


def _projected(tensors: fusion.Tensors, rows: torch.Tensor) -> torch.Tensor:
    import torch

    hidden = torch.nn.functional.gelu(fusion.linear(tensors, "0", rows))
    return fusion.linear(tensors, "3", fusion.norm(tensors, "2", hidden))


def _projection_layout(name: str, given: int, hidden: int, out: int) -> dict[str, tuple[int, ...]]:
    return {
        **fusion.affine(f"{name}.0", hidden, given),
        **fusion.affine(f"{name}.2", hidden),
        **fusion.affine(f"{name}.3", out, hidden),
    }


def _spread(masks: torch.Tensor | None, tokens: torch.Tensor) -> torch.Tensor | None:
    """Return the mask (p, r) for each of the tokens (n, k r, width): (p, k r)."""
    return None if masks is None else masks.repeat_interleave(tokens.shape[1] // masks.shape[1], dim=1)
