"""CLIP's image side as the identity adapters use it: pixels, and encoders that lie inside another checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.protocol import Image
from bench import weights
from bench.networks import CLIP_MEAN, CLIP_STD, standardise

if TYPE_CHECKING:
    import torch


def pixels(image: Image) -> torch.Tensor:
    """Return an (H, W, 3) uint8 RGB image of the right size as CLIP reads it: (1, 3, H, W) float32 on CLIP's scale.

    >>> pixels(np.zeros((1, 1, 3), np.uint8)).flatten().tolist()[0]  # -mean / std of red
    -1.7922625541687012
    """
    import torch

    scaled = torch.tensor(np.ascontiguousarray(image), dtype=torch.float32) / 255
    return standardise(scaled.permute(2, 0, 1)[None], CLIP_MEAN, CLIP_STD)


def centre(image: Image, side: int = 224) -> Image:
    """Return CLIP's own crop, (side, side, 3) uint8 RGB: the shorter side to `side` (bicubic), then the middle."""
    from PIL import Image as Pillow

    height, width = image.shape[:2]
    scale = side / min(height, width)
    size = (side, int(height * scale)) if width <= height else (int(width * scale), side)
    resized = Pillow.fromarray(image).resize(size, Pillow.Resampling.BICUBIC)
    left = (size[0] - side) // 2
    top = (size[1] - side) // 2
    return np.asarray(resized.crop((left, top, left + side, top + side)))


def vision(tensors: Mapping[str, torch.Tensor], heads: int, source: Path, dtype: torch.dtype) -> Any:
    """Build a CLIPVisionModelWithProjection (quick GELU) of `vision_model.*` and `visual_projection.weight`.

    Args:
        tensors: keys without the prefix of the checkpoint that they lie in; others are not allowed.
        heads: attention heads, the one size that the shapes do not give.
        source: named in messages.
        dtype: of the network.

    Raises:
        UserError: a tensor is missing, left over or not finite.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    with weights.wrong_base(source):
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**_sizes(tensors), num_attention_heads=heads)).to(dtype)
        model.load_state_dict(dict(tensors), strict=False)
    weights.landed(model.state_dict(), tensors.items(), source)
    return model.eval().requires_grad_(False)


def pooled(model: Any, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the normed class token, (n, hidden), and the states before that norm, (n, patches + 1, hidden)."""
    inner = getattr(model, "vision_model", model)
    found = inner(values)
    return found.pooler_output, found.last_hidden_state


def _sizes(tensors: Mapping[str, torch.Tensor]) -> dict[str, int]:
    patches = tensors["vision_model.embeddings.patch_embedding.weight"]
    places = len(tensors["vision_model.embeddings.position_embedding.weight"]) - 1
    first = "vision_model.encoder.layers.{}.mlp.fc1.weight"
    return {
        "hidden_size": patches.shape[0],
        "patch_size": patches.shape[-1],
        "image_size": round(places**0.5) * patches.shape[-1],
        "intermediate_size": len(tensors[first.format(0)]),
        "num_hidden_layers": next(n for n in range(len(tensors)) if first.format(n) not in tensors),
        "projection_dim": len(tensors["visual_projection.weight"]),
    }
