"""LoRA and image-prompt adapters, loaded by diffusers into a UNet; with proof that every weight arrived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines import diffusion
from bench import weights
from bench.errors import UserError

if TYPE_CHECKING:
    import torch


def added(tokens: Sequence[torch.Tensor], unconditional: torch.Tensor, guidance: float) -> dict[str, Any]:
    """Return an image-prompt adapter's tokens, each (1, k, width), as the UNet's added conditions."""
    import torch

    rows = torch.cat(list(tokens))
    return {"image_embeds": [diffusion.guided(unconditional, rows, guidance)[:, None]]}


def shell(unet: Any, scheduler: Any) -> Any:
    """Return a pipeline without encoders around a UNet: diffusers' loaders of adapters are methods of pipelines."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    if unet.config.addition_embed_type == "text_time":
        encoders = dict.fromkeys(("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
        return StableDiffusionXLPipeline(**encoders, unet=unet, scheduler=scheduler, add_watermarker=False)
    parts = dict.fromkeys(("vae", "text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    return StableDiffusionPipeline(**parts, unet=unet, scheduler=scheduler, requires_safety_checker=False)


def load_lora(unet: Any, scheduler: Any, tensors: dict[str, Any], source: Path, scale: float = 1.0) -> None:
    """Add a LoRA to a UNet at a strength, and prove that all of it arrived.

    Raises:
        UserError: made for another base, or nothing for this UNet in it.
    """
    weights.check_finite(tensors, source)
    with weights.wrong_base(source):
        shell(unet, scheduler).load_lora_weights(dict(tensors), adapter_name="adapter")
        unet.set_adapters(["adapter"], [scale])
    check_lora(unet, tensors, source)


def check_lora(unet: Any, tensors: Mapping[str, Any], source: Path) -> None:
    """Check that a UNet's LoRA is the file's.

    Raises:
        UserError: it is not.
    """
    mine = [value for key, value in unet.named_parameters() if ".lora_" in key]
    weights.same_mass(mine, (v for k, v in tensors.items() if not k.endswith("alpha")), source)


def load_ip_adapter(unet: Any, scheduler: Any, checkpoint: Mapping[str, Any], source: Path, scale: float) -> Any:
    """Add an image-prompt adapter, and the LoRA inside of a FaceID one, to a UNet; prove that all arrived.

    The projection of embeddings to tokens is taken out of the UNet, which then wants the tokens themselves in
    `added_cond_kwargs["image_embeds"]`: they are computed once per identity, not once per step and sample.

    Args:
        unet: fresh, without another adapter: diffusers would keep the old LoRA.
        scheduler: any.
        checkpoint: the groups "image_proj" and "ip_adapter".
        source: named in messages.
        scale: of the adapter's attention.

    Returns:
        The projection, a network of diffusers: embeddings to tokens.

    Raises:
        UserError: not an adapter, or made for another base.
    """
    import torch

    _check_adapter(unet, checkpoint, source)
    pipe = shell(unet, scheduler)
    with weights.wrong_base(source):
        groups = {name: dict(group) for name, group in checkpoint.items()}
        pipe.load_ip_adapter(groups, subfolder=None, weight_name=None, image_encoder_folder=None)
    pipe.set_ip_adapter_scale(scale)
    weights.same_mass(unet.encoder_hid_proj.parameters(), checkpoint["image_proj"].values(), source)
    images = [p for processor in unet.attn_processors.values() for p in _parameters(processor)]
    weights.same_mass(images, (v for k, v in checkpoint["ip_adapter"].items() if "_ip." in k), source)
    check_lora(unet, {k: v for k, v in checkpoint["ip_adapter"].items() if "_lora." in k}, source)
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    unet.encoder_hid_proj = torch.nn.Identity()
    return projection.requires_grad_(False).eval()


def _parameters(processor: Any) -> list[Any]:
    return list(processor.parameters()) if hasattr(processor, "parameters") else []


def _check_adapter(unet: Any, checkpoint: Mapping[str, Any], source: Path) -> None:
    if set(checkpoint) != {"image_proj", "ip_adapter"}:
        raise UserError(f"{source} is not an image-prompt adapter: it holds {', '.join(sorted(checkpoint)[:4])} ...")
    for group in checkpoint.values():
        weights.check_finite(group, source)
    kept = checkpoint["ip_adapter"]
    crossed = [i for i, name in enumerate(unet.attn_processors) if "attn2" in name]
    found = sorted(int(key.split(".")[0]) for key in kept if key.endswith("to_k_ip.weight"))
    if crossed != found:
        raise UserError(f"{source} has {len(found)} attention layers, this UNet {len(crossed)}: made for another base")
    width = unet.config.cross_attention_dim
    for i in crossed:
        key = f"{i}.to_k_ip.weight"
        weights.check_shape(key, kept[key], (kept[key].shape[0], width), source)
