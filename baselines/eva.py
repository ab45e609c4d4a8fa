"""The image side of EVA-CLIP (Sun et al., 2023) by timm, from the official checkpoint of the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import weights
from bench.errors import UserError
from bench.networks import group

if TYPE_CHECKING:
    import torch

TAPS = (3, 7, 11, 15, 19)
"""Blocks whose outputs, the inputs of the next ones, PuLID reads."""


def load(checkpoint: Mapping[str, Any], heads: int, source: Path) -> Any:
    """Return a timm network in float32 with the weights of `visual.*`.

    Args:
        checkpoint: tensors of EVA02_CLIP_L_336_psz14_s6B.pt; its text side is passed over.
        heads: attention heads, the one size that the shapes do not give.
        source: named in messages.

    Raises:
        UserError: not EVA-CLIP, or a tensor is missing, left over, of another shape or not finite.
    """
    import timm.models.eva as library

    visual = {key: value for key, value in checkpoint.items() if key.startswith("visual.")}
    if "visual.blocks.0.attn.inner_attn_ln.weight" not in visual:
        raise UserError(f"{source} is not EVA02-CLIP: it holds {', '.join(sorted(checkpoint)[:3])} ...")
    weights.check_finite(visual, source)
    with weights.wrong_base(source):
        sizes = _sizes(group(visual, "visual."))
        network = library.Eva(**sizes, num_heads=heads, **_KIND)
        found = library.checkpoint_filter_fn({key: value.float() for key, value in visual.items()}, network)
        network.load_state_dict(found)
    return network.eval().requires_grad_(False)


def features(network: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the class output, (n, d), and the hidden states at `TAPS`, each (n, patches + 1, width).

    Args:
        network: of `load`.
        pixels: (n, 3, s, s) on CLIP's scale.
    """
    import torch

    last, taps = network.forward_intermediates(
        pixels, indices=list(TAPS), norm=False, output_fmt="NLC", return_prefix_tokens=True
    )
    return network.forward_head(last), [torch.cat([prefix, patches], dim=1) for patches, prefix in taps]


_KIND = {
    "qkv_fused": False,
    "swiglu_mlp": True,
    "scale_mlp": True,
    "scale_attn_inner": True,
    "use_rot_pos_emb": True,
    "ref_feat_shape": (16, 16),
    "global_pool": "token",
}


def _sizes(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    patch = tensors["patch_embed.proj.weight"].shape[-1]
    width = tensors["cls_token"].shape[-1]
    hidden = len(tensors["blocks.0.mlp.w1.weight"])
    return {
        "img_size": round((tensors["pos_embed"].shape[1] - 1) ** 0.5) * patch,
        "patch_size": patch,
        "embed_dim": width,
        "depth": next(n for n in range(len(tensors)) if f"blocks.{n}.norm1.weight" not in tensors),
        # timm cuts the product to a whole number: half of one more keeps it from falling short.
        "mlp_ratio": (hidden + 0.5) / width,
        "num_classes": len(tensors["head.weight"]),
    }
