"""Vec2Face (Wu et al., ICLR 2025): a 112-pixel aligned face from a face recognition vector alone, in one pass.

A masked autoencoder spreads the vector over 49 tokens, some of which are dropped or replaced at random; a small
convolutional decoder turns them into an image. Official code: https://github.com/HaiyuWu/Vec2Face
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines import diffusion, fusion
from baselines.protocol import Image, Output, Request
from bench import weights
from bench.conditions.kinds import ConditionKind
from bench.errors import UserError
from bench.identity import IDENTITY, Spec, WeightFile
from bench.networks import group
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

GROUP = "model_vec2face"
ENCODER_HEAD = 64
DECODER_HEAD = 48
"""Widths of an attention head, which the shapes do not give."""
GRID = 7
TOKENS = GRID * GRID
MIN_MASKED = 0.1
"""Share of the tokens that is dropped, and the least share that is masked."""
EPS = 1e-6
NORM_GROUPS = 32


class Vec2FaceOptions(Spec):
    """Official defaults of `image_generation_with_reference.py`, without its optimisation of the vector.

    Attributes:
        checkpoint: `vec2face_generator.pth`.
        recogniser: whose embedding it asks for; taken raw, not normalised.
        perturbation: standard deviation of what is added to each number of the vector, whose norm is then restored.
        mask_mean: centre of the distribution of the share of masked tokens, a normal one cut to [0.1, `mask_max`].
        mask_std: its standard deviation.
        mask_max: its upper end.
        upscale: how many times the 112 pixels are enlarged, for detectors that miss a face that fills 112.
        batch: samples at a time.
    """

    checkpoint: WeightFile
    recogniser: diffusion.Text = "vec2face_r100"
    perturbation: Annotated[float, IDENTITY, Field(ge=0)] = 0.2
    mask_mean: Annotated[float, IDENTITY] = 0.15
    mask_std: Annotated[float, IDENTITY, Field(gt=0)] = 0.25
    mask_max: Annotated[float, IDENTITY, Field(gt=MIN_MASKED, le=1)] = 1.0
    upscale: Annotated[int, IDENTITY, Field(ge=1, le=16)] = 4
    batch: diffusion.Batch = 5

    @property
    def needs(self) -> frozenset[str]:
        """Return what these options need of a reference."""
        return frozenset({f"embedding:{self.recogniser}"})


@dataclass(frozen=True)
class Sizes:
    """The sizes of a generator.

    Attributes:
        embedding: length of the vector.
        width: of the tokens.
        depths: blocks of the encoder and of the decoder.
        latent: channels between the tokens and the image decoder.
        channels: of the image decoder's levels, from the largest resolution to the smallest.
        blocks: residual blocks per level.
        patch: side of the patches of `patch_embed`, which a generation does not use.
    """

    embedding: int = 512
    width: int = 768
    depths: tuple[int, int] = (12, 8)
    latent: int = 256
    channels: tuple[int, ...] = (128, 128, 256, 256, 512)
    blocks: int = 2
    patch: int = 16


@dataclass(frozen=True, eq=False)
class Draw:
    """The randomness of a batch.

    Attributes:
        vectors: (n, d) float32, the perturbed embeddings.
        noise: (n, 49) in [0, 1): the tokens with the smallest values are dropped or masked.
        rates: (n,) share of the tokens that is masked.
    """

    vectors: NDArray[np.float32]
    noise: NDArray[np.float64]
    rates: NDArray[np.float64]


class Vec2Face:
    """The method; see the module."""

    Options = Vec2FaceOptions
    accepts = frozenset({ConditionKind.EMBEDDING})
    many_references = True

    def __init__(self, options: Vec2FaceOptions, runtime: Runtime) -> None:
        self.options = options
        self.device = runtime.device
        tensors = _read(options.checkpoint)
        self.sizes = sizes_of(tensors, options.checkpoint)
        weights.check_layout(tensors, layout(self.sizes), options.checkpoint)
        self.tensors = {key: value.float().to(runtime.device) for key, value in tensors.items()}

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request.

        Raises:
            UserError: an embedding is missing, of another length, or zero.
        """
        for request in requests:
            self._vector(request)
        with diffusion.running("auto"):
            return diffusion.in_batches(requests, self.options.batch, self._make)

    def draw(self, requests: Sequence[Request]) -> Draw:
        """Return what is random in a batch: each row from its request's seed alone."""
        rows = [self._row(request) for request in requests]
        vectors, noise, rates = zip(*rows, strict=True)
        return Draw(np.stack(vectors), np.stack(noise), np.array(rates))

    def images(self, draw: Draw) -> torch.Tensor:
        """Return (n, 3, 112, 112) images, RGB in about [-1, 1]."""
        import torch

        vectors = torch.from_numpy(draw.vectors).to(self.device)
        masked, dropped = places(draw.noise, draw.rates)
        latents = encode(self.tensors, vectors, *(torch.from_numpy(m).to(self.device) for m in (masked, dropped)))
        return paint(self.tensors, latents)

    def _make(self, requests: Sequence[Request]) -> list[Output]:
        return [self._output(image) for image in self.images(self.draw(requests)).cpu()]

    def _output(self, image: torch.Tensor) -> Output:
        if not image.isfinite().all():
            return Output(error="the image is not finite: the embedding is of another recogniser, or far too long")
        return Output(image=enlarged(to_grey_levels(image.permute(1, 2, 0).numpy()), self.options.upscale))

    def _vector(self, request: Request) -> NDArray[np.float32]:
        rows = diffusion.embeddings(request, self.options.recogniser, self.sizes.embedding)
        return rows.mean(axis=0, dtype=np.float32)

    def _row(self, request: Request) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
        random = np.random.default_rng(request.seed)
        vector = self._vector(request)
        vector = nearby(vector, random.normal(size=len(vector)), self.options.perturbation)
        return vector, random.random(TOKENS), self._rate(random)

    def _rate(self, random: np.random.Generator) -> float:
        from scipy.stats import truncnorm

        mean = self.options.mask_mean
        std = self.options.mask_std
        low = (MIN_MASKED - mean) / std
        high = (self.options.mask_max - mean) / std
        return float(truncnorm.rvs(low, high, loc=mean, scale=std, random_state=random))


def nearby(vector: NDArray[np.float32], normal: NDArray[np.float64], epsilon: float) -> NDArray[np.float32]:
    """Return a vector (d,) moved by `epsilon` times a standard normal draw (d,), at its old norm.

    >>> nearby(np.float32([3, 4]), np.array([0.0, 0.0]), 0.2).tolist()
    [3.0, 4.0]
    """
    moved = vector.astype(np.float64) + epsilon * normal
    return (moved * (np.linalg.norm(vector) / np.linalg.norm(moved))).astype(np.float32)


def places(noise: NDArray[np.float64], rates: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which tokens are masked and which are dropped, both (n, 49); every dropped one is masked too.

    >>> masked, dropped = places(np.arange(49)[None] / 49, np.array([0.15]))
    >>> int(masked.sum()), int(dropped.sum())
    (8, 5)
    """
    ranks = noise.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    masked = ranks < np.ceil(TOKENS * rates)[:, None]
    return masked, ranks < math.ceil(TOKENS * MIN_MASKED)


def spread(tensors: fusion.Tensors, vectors: torch.Tensor) -> torch.Tensor:
    """Return the vector's own token and its 49 copies by scale and shift, (n, 50, width)."""
    import torch

    own = fusion.linear(tensors, "latent_prior_proj_f", vectors)
    copies = fusion.linear(tensors, "feature_token", own[..., None]).transpose(1, 2)
    return torch.cat([own[:, None], copies], dim=1)


def encode(
    tensors: fusion.Tensors, vectors: torch.Tensor, masked: torch.Tensor, dropped: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the encoder's tokens (n, 45, width), and the masked and dropped places with the first, (n, 50) each."""
    import torch

    tokens = spread(tensors, vectors)
    first = torch.zeros_like(masked[:, :1])
    masked = torch.cat([first, masked], dim=1)
    dropped = torch.cat([first, dropped], dim=1)
    tokens = torch.where(masked[..., None], tokens[:, :1], tokens)
    tokens = tokens + tensors["token_emb.position_embeddings.weight"]
    tokens = fusion.norm(tensors, "token_emb.LayerNorm", tokens, EPS)
    kept = tokens[~dropped].unflatten(0, (len(tokens), -1))
    return _norm(tensors, "norm", _blocks(tensors, "blocks", kept, ENCODER_HEAD)), masked, dropped


def decode(tensors: fusion.Tensors, latents: torch.Tensor, masked: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
    """Return the decoder's tokens, (n, 50, width), of what `encode` gives."""
    import torch

    latents = fusion.linear(tensors, "decoder_embed", latents)
    tokens = latents[:, :1].repeat(1, masked.shape[1], 1)
    tokens[~dropped] = latents.flatten(0, 1)
    tokens = torch.where(masked[..., None], latents[:, :1], tokens) + tensors["decoder_pos_embed_learned"]
    return _norm(tensors, "decoder_norm", _blocks(tensors, "decoder_blocks", tokens, DECODER_HEAD))


def paint(tensors: fusion.Tensors, latents: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return (n, 3, 112, 112) images of what `encode` gives."""
    import torch

    tokens = fusion.linear(tensors, "im_decoder_proj", decode(tensors, *latents)[:, 1:])
    parts = group(tensors, "im_decoder.")
    image = _conv(parts, "conv_in", tokens.transpose(1, 2).unflatten(2, (GRID, GRID)))
    for name in ("mid.block_1", "mid.block_2"):
        image = _residual(parts, name, image)
    for level in reversed(range(_count(parts, "up.{}.block.0.norm1.weight"))):
        for block in range(_count(parts, f"up.{level}.block.{{}}.norm1.weight")):
            image = _residual(parts, f"up.{level}.block.{block}", image)
        if level:
            image = torch.nn.functional.interpolate(image, scale_factor=2.0, mode="nearest")
            image = _conv(parts, f"up.{level}.upsample.conv", image)
    return _conv(parts, "conv_out", _activated(parts, "norm_out", image))


def to_grey_levels(image: NDArray[np.float32]) -> Image:
    """Return [-1, 1] as 0..255, cut off and truncated, as the official script does.

    >>> to_grey_levels(np.float32([-2, 0, 0.999])).tolist()
    [0, 127, 254]
    """
    return ((image + 1) / 2 * 255).clip(0, 255).astype(np.uint8)


def enlarged(image: Image, factor: int) -> Image:
    """Return an (H, W, 3) uint8 image enlarged by a whole factor (Lanczos, Pillow)."""
    from PIL import Image as Pillow

    height, width = image.shape[:2]
    size = (width * factor, height * factor)
    return np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.LANCZOS))


def layout(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of a generator's checkpoint."""
    width = sizes.width
    last = sizes.channels[-1]
    shapes: dict[str, tuple[int, ...]] = {
        "token_emb.position_embeddings.weight": (TOKENS + 1, width),
        "decoder_pos_embed_learned": (1, TOKENS + 1, width),
        **fusion.affine("latent_prior_proj_f", width, sizes.embedding),
        **fusion.affine("feature_token", TOKENS, 1),
        **fusion.affine("center_token", TOKENS, width),
        **fusion.affine("patch_embed.proj", width, 3, sizes.patch, sizes.patch),
        **fusion.affine("decoder_embed", width, width),
        **fusion.affine("im_decoder_proj", sizes.latent, width),
        **fusion.affine("im_decoder.conv_in", last, sizes.latent, 3, 3),
        **fusion.affine("im_decoder.conv_out", 3, sizes.channels[0], 3, 3),
        **fusion.affine("im_decoder.norm_out", sizes.channels[0]),
        **_levels(sizes),
    }
    for name in ("token_emb.LayerNorm", "norm", "decoder_norm"):
        shapes |= fusion.affine(name, width)
    for name, depth in zip(("blocks", "decoder_blocks"), sizes.depths, strict=True):
        for block in range(depth):
            shapes |= _block_layout(f"{name}.{block}", width)
    return shapes


def sizes_of(tensors: Mapping[str, torch.Tensor], source: Path) -> Sizes:
    """Return the sizes of a checkpoint.

    Raises:
        UserError: it is not a generator's.
    """
    levels = _count(tensors, "im_decoder.up.{}.block.0.conv1.weight")
    with weights.wrong_base(source):
        width, embedding = tensors["latent_prior_proj_f.weight"].shape
        return Sizes(
            embedding=embedding,
            width=width,
            depths=(_count(tensors, "blocks.{}.norm1.weight"), _count(tensors, "decoder_blocks.{}.norm1.weight")),
            latent=len(tensors["im_decoder_proj.weight"]),
            channels=tuple(len(tensors[f"im_decoder.up.{i}.block.0.conv1.weight"]) for i in range(levels)),
            blocks=_count(tensors, "im_decoder.up.0.block.{}.norm1.weight"),
            patch=tensors["patch_embed.proj.weight"].shape[-1],
        )


def _read(path: Path) -> dict[str, Any]:
    checkpoint = weights.read(path)
    if not isinstance(checkpoint.get(GROUP), Mapping):
        raise UserError(
            f"{path} is not Vec2Face's generator: it holds {', '.join(sorted(checkpoint)[:4])} ..., not {GROUP!r}"
        )
    return dict(checkpoint[GROUP])


def _count(tensors: Mapping[str, Any], key: str) -> int:
    return next(n for n in range(len(tensors) + 1) if key.format(n) not in tensors)


def _norm(tensors: fusion.Tensors, name: str, rows: torch.Tensor) -> torch.Tensor:
    return fusion.norm(tensors, name, rows, EPS)


def _blocks(tensors: fusion.Tensors, name: str, rows: torch.Tensor, head: int) -> torch.Tensor:
    import torch

    for block in range(_count(tensors, name + ".{}.norm1.weight")):
        part = group(tensors, f"{name}.{block}.")
        rows = rows + _self_attention(part, _norm(part, "norm1", rows), head)
        hidden = torch.nn.functional.gelu(fusion.linear(part, "mlp.fc1", _norm(part, "norm2", rows)))
        rows = rows + fusion.linear(part, "mlp.fc2", hidden)
    return rows


def _self_attention(tensors: fusion.Tensors, rows: torch.Tensor, head: int) -> torch.Tensor:
    import torch

    parts = fusion.linear(tensors, "attn.qkv", rows).chunk(3, dim=-1)
    heads = [part.unflatten(-1, (-1, head)).transpose(1, 2) for part in parts]
    found = torch.nn.functional.scaled_dot_product_attention(heads[0], heads[1], heads[2])
    return fusion.linear(tensors, "attn.proj", found.transpose(1, 2).flatten(2))


def _conv(tensors: fusion.Tensors, name: str, image: torch.Tensor) -> torch.Tensor:
    import torch

    weight = tensors[f"{name}.weight"]
    return torch.nn.functional.conv2d(image, weight, tensors.get(f"{name}.bias"), padding=weight.shape[-1] // 2)


def _activated(tensors: fusion.Tensors, name: str, image: torch.Tensor) -> torch.Tensor:
    import torch

    normed = torch.nn.functional.group_norm(image, NORM_GROUPS, tensors[f"{name}.weight"], tensors[f"{name}.bias"], EPS)
    return torch.nn.functional.silu(normed)


def _residual(tensors: fusion.Tensors, name: str, image: torch.Tensor) -> torch.Tensor:
    hidden = _conv(tensors, f"{name}.conv1", _activated(tensors, f"{name}.norm1", image))
    hidden = _conv(tensors, f"{name}.conv2", _activated(tensors, f"{name}.norm2", hidden))
    # The shortcut reads the block's own output where the width changes: so the official network was trained.
    shortcut = _conv(tensors, f"{name}.nin_shortcut", hidden) if f"{name}.nin_shortcut.weight" in tensors else image
    return shortcut + hidden


def _block_layout(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {
        **fusion.affine(f"{name}.norm1", width),
        **fusion.affine(f"{name}.norm2", width),
        **fusion.affine(f"{name}.attn.qkv", 3 * width, width),
        **fusion.affine(f"{name}.attn.proj", width, width),
        **fusion.affine(f"{name}.mlp.fc1", 4 * width, width),
        **fusion.affine(f"{name}.mlp.fc2", width, 4 * width),
    }


def _levels(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    before = sizes.channels[-1]
    shapes = _residual_layout("im_decoder.mid.block_1", before, before)
    shapes |= _residual_layout("im_decoder.mid.block_2", before, before)
    for level, width in reversed(list(enumerate(sizes.channels))):
        for block in range(sizes.blocks):
            shapes |= _residual_layout(f"im_decoder.up.{level}.block.{block}", before, width)
            before = width
        if level:
            shapes |= fusion.affine(f"im_decoder.up.{level}.upsample.conv", width, width, 3, 3)
    return shapes


def _residual_layout(name: str, before: int, width: int) -> dict[str, tuple[int, ...]]:
    shapes = {
        **fusion.affine(f"{name}.norm1", before),
        **fusion.affine(f"{name}.norm2", width),
        f"{name}.conv1.weight": (width, before, 3, 3),
        f"{name}.conv2.weight": (width, width, 3, 3),
    }
    return shapes if before == width else {**shapes, f"{name}.nin_shortcut.weight": (width, width, 1, 1)}
