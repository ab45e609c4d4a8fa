"""Tiny checkpoints of golden/generation, section 6, written to disk in the official layouts."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from baselines import consistentid, infiniteyou, pulid_flux, vec2face, withanyone
from tests import weights as random_weights
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models

VEC2FACE = vec2face.Sizes(width=192, depths=(2, 2), latent=32, channels=(32, 32, 64, 64, 32), blocks=1)


def write_vec2face(root: Path) -> dict[str, Path]:
    """As options of the method."""
    root.mkdir(parents=True, exist_ok=True)
    tensors = formula.tensors(vec2face.layout(VEC2FACE), "model_vec2face.")
    tensors["token_emb.position_ids"] = torch.arange(50)[None]
    torch.save({"model_vec2face": tensors, "epoch": 1}, root / "vec2face_generator.pth")
    return {"checkpoint": root / "vec2face_generator.pth"}


def save(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """A flat checkpoint of these shapes, by the formula."""
    save_file(formula.tensors(shapes), path)
    return path


FLUX_SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": True,
}
FLUX = {
    "patch_size": 1,
    "in_channels": 16,
    "num_layers": 3,
    "num_single_layers": 6,
    "attention_head_dim": 16,
    "num_attention_heads": 4,
    "joint_attention_dim": 48,
    "pooled_projection_dim": 32,
    "guidance_embeds": True,
    "axes_dims_rope": [4, 6, 6],
}
FLUX_VAE = {
    **models.vae(0.3611),
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def write_flux(root: Path) -> Path:
    """FLUX-tiny in the layout of FLUX.1-dev; its text encoders are not part of the golden data."""
    from diffusers import AutoencoderKL, FluxTransformer2DModel

    models.write_diffusers(root / "transformer", FluxTransformer2DModel, FLUX, "transformer.")
    models.write_diffusers(root / "vae", AutoencoderKL, FLUX_VAE)
    models.write_text_encoder(root / "text_encoder", models.clip_text(32, 2, 4), "text_encoder.")
    models.write_scheduler(root / "scheduler", FLUX_SCHEDULER)
    models.write_tokenizer(root / "tokenizer")
    write_t5(root / "text_encoder_2", 48)
    write_t5_tokenizer(root / "tokenizer_2")
    return root


def flux_options(gold: dict) -> dict:
    """The options that a golden case gives to every method on FLUX.1."""
    return {
        "height": 8 * int(gold["height_latent"]),
        "width": 8 * int(gold["width_latent"]),
        "steps": int(gold["num_inference_steps"]),
        "guidance_scale": float(gold["guidance_scale"]),
        "text_length": 24,
        "batch": 2,
    }


def write_t5(folder: Path, width: int) -> None:
    """T5's encoder in two shards, its embedding under one name, as FLUX.1-dev has it."""
    from transformers import T5Config, T5EncoderModel

    sizes = {"d_model": width, "d_kv": 12, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 100}
    model = T5EncoderModel(T5Config(**sizes, feed_forward_proj="gated-gelu"))
    model.config.architectures = ["T5EncoderModel"]
    folder.mkdir(parents=True)
    model.config.save_pretrained(folder)
    state = {k: v for k, v in formula.state(model, "text_encoder_2.").items() if k != "encoder.embed_tokens.weight"}
    shards = {f"model-0000{k + 1}-of-00002.safetensors": sorted(state)[k::2] for k in (0, 1)}
    for file, keys in shards.items():
        save_file({key: state[key] for key in keys}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: file for file, keys in shards.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_t5_tokenizer(folder: Path) -> None:
    """A T5 tokenizer that spells."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import Unigram

    letters = [(chr(c), -3.0) for c in range(33, 127)]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), *letters]
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {**special, "tokenizer_class": "T5TokenizerFast", "model_max_length": 512, "extra_ids": 0}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


PULID = pulid_flux.Sizes(width=128, out=48, features=32, given=536, hidden=32, image=64, inner=256, blocks=4)


def eva_shapes(width: int, depth: int, hidden: int, head: int) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the image side of EVA02-CLIP-L at 336 pixels, without its rotary tables."""
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, width), "pos_embed": (1, 577, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, 14, 14), "patch_embed.proj.bias": (width,)}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,), "head.weight": (head, width), "head.bias": (head,)}
    for k in range(depth):
        block = {f"attn.{name}_proj.weight": (width, width) for name in "qkv"}
        block |= {"attn.q_bias": (width,), "attn.v_bias": (width,)}
        block |= {"attn.proj.weight": (width, width), "attn.proj.bias": (width,)}
        block |= {f"{name}.{kind}": (width,) for name in ("norm1", "norm2", "attn.inner_attn_ln") for kind in AFFINE}
        block |= {f"mlp.{name}.weight": (hidden, width) for name in ("w1", "w2")}
        block |= {f"mlp.{name}.bias": (hidden,) for name in ("w1", "w2")}
        block |= {"mlp.ffn_ln.weight": (hidden,), "mlp.ffn_ln.bias": (hidden,)}
        block |= {"mlp.w3.weight": (width, hidden), "mlp.w3.bias": (width,)}
        shapes |= {f"blocks.{k}.{key}": shape for key, shape in block.items()}
    return {f"visual.{key}": shape for key, shape in shapes.items()}


AFFINE = ("weight", "bias")


def write_eva(path: Path) -> Path:
    """EVA-tiny with rotary tables (which nobody reads) and a piece of the text side."""
    tensors = formula.tensors(eva_shapes(32, 22, 85, 24), "eva.")
    tables = [
        f"{place}rope.freqs_{kind}" for place in ("", *(f"blocks.{k}.attn." for k in range(22))) for kind in FREQS
    ]
    tensors |= {f"visual.{name}": torch.zeros(576, 16) for name in tables}
    torch.save({**tensors, "text.positional_embedding": torch.zeros(77, 32), "logit_scale": torch.ones(())}, path)
    return path


FREQS = ("cos", "sin")


def write_bisenet(path: Path) -> Path:
    torch.save(random_weights.bisenet(), path)
    return path


def write_pulid(root: Path) -> dict:
    """As options of the method."""
    found = {"base": write_flux(root / "flux"), "checkpoint": root / "pulid_flux_v0.9.1.safetensors"}
    save_file(formula.tensors(pulid_flux.layout(PULID)), found["checkpoint"])
    return found | {"eva": write_eva(root / "eva.pt"), "parser": write_bisenet(root / "bisenet.pth"), "eva_heads": 2}


INFINITEYOU = infiniteyou.Sizes(width=128, out=48)


def write_infiniteyou(root: Path) -> dict[str, Path]:
    """As options of the method."""
    from diffusers import FluxControlNetModel

    found = {"base": write_flux(root / "flux"), "checkpoint": root / "image_proj_model.bin"}
    found["controlnet"] = root / "InfuseNetModel"
    control = {**FLUX, "num_layers": 2, "num_single_layers": 2}
    models.write_diffusers(found["controlnet"], FluxControlNetModel, control, "controlnet.")
    tensors = formula.tensors(infiniteyou.layout(INFINITEYOU), "image_proj.")
    torch.save({"image_proj": tensors}, found["checkpoint"])
    return found


WITHANYONE = withanyone.Sizes(image=64, hidden=256, inner=256, blocks=9)


def write_withanyone(root: Path) -> dict[str, Path]:
    """As options of the method; SigLIP is not part of the golden data."""
    found = {"base": write_flux(root / "flux"), "siglip": write_siglip(root / "siglip", 768)}
    tensors = formula.tensors(withanyone.layout(WITHANYONE), "withanyone.")
    save_file(tensors, root / "withanyone.safetensors")
    return found | {"checkpoint": root / "withanyone.safetensors"}


def write_siglip(folder: Path, width: int) -> Path:
    """The whole of a small SigLIP, as Google published it."""
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(0)
    sizes = {"hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    text = {**sizes, "hidden_size": 32, "vocab_size": 50}
    SiglipModel(SiglipConfig(text_config=text, vision_config={**sizes, "image_size": 256})).save_pretrained(folder)
    return folder


def write_consistentid(root: Path, rank: int) -> dict[str, Path]:
    """As options of the method."""
    paths = models.write_faceid(root, plus=True, rank=rank)
    groups = torch.load(paths["checkpoint"], weights_only=True)
    facial = formula.tensors(consistentid.facial_layout(128, 128, 64), "FacialEncoder.")
    adapter = {
        key: formula.parameter(f"adapter_modules.{key}", key, v.shape) for key, v in groups["ip_adapter"].items()
    }
    found = {"checkpoint": root / "ConsistentID-v1.bin", "parser": write_bisenet(root / "bisenet.pth")}
    content = {"image_proj": groups["image_proj"], "adapter_modules": adapter, "FacialEncoder": facial}
    torch.save(content, found["checkpoint"])
    return {**found, "base": paths["base"], "image_encoder": paths["image_encoder"]}


def write_arc2face(root: Path, rank: int) -> dict[str, Path]:
    """As options of the method, with both adapters of 2025; the golden data do not go through the text encoder."""
    from transformers import CLIPTextConfig, CLIPTextModel

    model, base = models.write_arc2face_without_encoder(root)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = CLIPTextModel(CLIPTextConfig(**models.ARC2FACE_ENCODER))
    encoder.save_pretrained(model / "encoder")
    return {
        "model": model,
        "base": base,
        "exp_adapter": write_expression_adapter(root / "exp_adapter.bin"),
        "ref_adapter": write_reference_adapter(root / "pytorch_lora_weights.safetensors", rank),
    }


def write_expression_adapter(path: Path) -> Path:
    """Arc2Face's exp_adapter.bin; the real inner width is unknown."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(models.sd_unet(768))
    proj = {"proj.0.weight": (110, 55), "proj.0.bias": (110,), "proj.2.weight": (3072, 110), "proj.2.bias": (3072,)}
    proj |= {"norm.weight": (768,), "norm.bias": (768,)}
    groups = {"image_proj": formula.tensors(proj, "image_proj.")}
    torch.save(groups | {"ip_adapter": formula.tensors(models.attention_shapes(unet), "ip_adapter.")}, path)
    return path


def write_reference_adapter(path: Path, rank: int) -> Path:
    """Arc2Face's ref_adapter/pytorch_lora_weights.safetensors; which layers the real one has is unknown."""
    from diffusers import UNet2DConditionModel

    unet, shapes = UNet2DConditionModel.from_config(models.sd_unet(768)), {}
    for name, layer in unet.named_modules():
        if "attn1.to_" in name and hasattr(layer, "weight"):
            shapes[f"unet.{name}.lora.down.weight"] = (rank, layer.weight.shape[1])
            shapes[f"unet.{name}.lora.up.weight"] = (layer.weight.shape[0], rank)
    values = {k: 0.24 * formula.values(f"ref_adapter.{k}", s[0] * s[1]).reshape(s) for k, s in shapes.items()}
    save_file({key: torch.from_numpy(value.astype("float32")) for key, value in values.items()}, path)
    return path
