"""Tiny checkpoints of golden/generation, written to disk in the official layouts."""

import gzip
import json
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.parity import generation_formula as formula
from tests.shared import vocabulary

VOCABULARY = vocabulary()

SD_SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
XL_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}


def sd_unet(cross: int):
    return {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [32, 64],
        "layers_per_block": 1,
        "cross_attention_dim": cross,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    }


def vae(scaling: float):
    return {
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": [16, 16, 32, 32],
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 8,
        "sample_size": 64,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "scaling_factor": scaling,
    }


def clip_text(
    hidden: int, layers: int, heads: int, act: str = "quick_gelu", intermediate: int = 96, projection: int = 0
):
    return {
        "vocab_size": 49408,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": 77,
        "hidden_act": act,
        "layer_norm_eps": 1e-5,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
        "projection_dim": projection or hidden,
        "model_type": "clip_text_model",
    }


def write_model(
    folder: Path, model, prefix: str = "", official: str = "", name: str = "diffusion_pytorch_model"
) -> None:
    """config.json and .safetensors, as save_pretrained lays them out, with the formula's weights and official keys."""
    model.save_config(folder) if hasattr(model, "save_config") else model.config.save_pretrained(folder)
    save_file(formula.state(model, prefix, official), folder / f"{name}.safetensors", metadata={"format": "pt"})


def write_diffusers(folder: Path, network: type, config: dict, prefix: str = "") -> None:
    write_model(folder, network.from_config(config), prefix)


def write_text_encoder(
    folder: Path, config: dict, prefix: str = "", projection: bool = False, binary: bool = False
) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    network = CLIPTextModelWithProjection if projection else CLIPTextModel
    model = network(CLIPTextConfig(**config))
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [network.__name__]
    model.config.save_pretrained(folder)
    found = formula.state(model, prefix, official="text_model.")
    if binary:
        torch.save(found, folder / "pytorch_model.bin")
    else:
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})


def write_scheduler(folder: Path, config: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scheduler_config.json").write_text(json.dumps(config))


def write_tokenizer(folder: Path, pad: str = "<|endoftext|>") -> None:
    """vocab.json and merges.txt of the SD 1.5 (pad "<|endoftext|>") and SDXL second ("!") tokenizers."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _vocabulary().items():
        (folder / name).write_bytes(text)
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": pad,
    }
    settings = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))


@lru_cache
def _vocabulary() -> dict[str, bytes]:
    """Name -> what is in vocab.json and merges.txt."""
    merges = gzip.decompress(VOCABULARY.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    letters = _byte_letters()
    words = letters + [c + "</w>" for c in letters] + ["".join(m.split()) for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = json.dumps({word: index for index, word in enumerate(words)})
    listed = "#version: 0.2\n" + "\n".join(merges) + "\n"
    return {"vocab.json": vocabulary.encode(), "merges.txt": listed.encode()}


def _byte_letters() -> list[str]:
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in kept]
    return [chr(b) for b in kept] + [chr(256 + n) for n in range(len(rest))]


ARC2FACE_ENCODER = clip_text(768, 2, 12, intermediate=256)


def write_arc2face(root: Path) -> tuple[Path, Path]:
    """(model, base) in the layouts of FoivosPar/Arc2Face and Stable Diffusion 1.5."""
    model, base = write_arc2face_without_encoder(root)
    write_text_encoder(model / "encoder", ARC2FACE_ENCODER, binary=True)
    return model, base


def write_arc2face_without_encoder(root: Path) -> tuple[Path, Path]:
    """As `write_arc2face`; 38 million numbers by the formula take seconds, and not every case reads them."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    model, base = root / "Arc2Face", root / "sd15"
    write_diffusers(model / "arc2face", UNet2DConditionModel, sd_unet(768))
    write_diffusers(base / "vae", AutoencoderKL, vae(0.18215))
    write_scheduler(base / "scheduler", SD_SCHEDULER)
    write_tokenizer(base / "tokenizer")
    return model, base


def write_sd_base(root: Path, cross: int = 64) -> Path:
    """A Stable Diffusion 1.5 of the golden sizes; its text encoder is not part of the golden data."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    write_diffusers(root / "unet", UNet2DConditionModel, sd_unet(cross))
    write_diffusers(root / "vae", AutoencoderKL, vae(0.18215))
    write_text_encoder(root / "text_encoder", clip_text(cross, 2, 4), "text_encoder.")
    write_scheduler(root / "scheduler", SD_SCHEDULER)
    write_tokenizer(root / "tokenizer")
    return root


def perceiver(prefix: str, width: int, inner: int, out: int, ff: int, depth: int = 4) -> dict[str, tuple[int, ...]]:
    """Shapes of a perceiver resampler; `width` of what it reads, `inner` of its own, `out` of its answer."""
    shapes: dict[str, tuple[int, ...]] = {
        "proj_in.weight": (inner, width),
        "proj_in.bias": (inner,),
        "proj_out.weight": (out, inner),
        "proj_out.bias": (out,),
        "norm_out.weight": (out,),
        "norm_out.bias": (out,),
    }
    for j in range(depth):
        for name in ("norm1", "norm2"):
            shapes |= {f"layers.{j}.0.{name}.weight": (inner,), f"layers.{j}.0.{name}.bias": (inner,)}
        shapes |= {
            f"layers.{j}.0.to_q.weight": (inner, inner),
            f"layers.{j}.0.to_kv.weight": (2 * inner, inner),
            f"layers.{j}.0.to_out.weight": (inner, inner),
            f"layers.{j}.1.0.weight": (inner,),
            f"layers.{j}.1.0.bias": (inner,),
            f"layers.{j}.1.1.weight": (ff, inner),
            f"layers.{j}.1.3.weight": (inner, ff),
        }
    return {prefix + key: shape for key, shape in shapes.items()}


def attention_shapes(unet, rank: int = 0) -> dict[str, tuple[int, ...]]:
    """Shapes of a checkpoint's `ip_adapter` group; with the FaceID LoRA where `rank` is given."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, name in enumerate(unet.attn_processors):
        layer = unet.get_submodule(name.removesuffix(".processor"))
        hidden, seen = layer.to_q.weight.shape[1], layer.to_k.weight.shape[1]
        for which in ("q", "k", "v", "out") if rank else ():
            shapes[f"{i}.to_{which}_lora.down.weight"] = (rank, seen if which in "kv" else hidden)
            shapes[f"{i}.to_{which}_lora.up.weight"] = (hidden, rank)
        if "attn2" in name:
            shapes |= {f"{i}.to_k_ip.weight": (hidden, seen), f"{i}.to_v_ip.weight": (hidden, seen)}
    return shapes


def write_faceid(root: Path, plus: bool, rank: int) -> dict[str, Path]:
    """An SD 1.5 base, an adapter and, for Plus, CLIP; as options of the method."""
    from diffusers import UNet2DConditionModel

    proj = {"proj.0.weight": (1024, 512), "proj.0.bias": (1024,), "proj.2.weight": (256, 1024), "proj.2.bias": (256,)}
    proj |= {"norm.weight": (64,), "norm.bias": (64,)}
    if plus:
        proj |= perceiver("perceiver_resampler.", 128, 64, 64, 256)
    found = {"base": write_sd_base(root / "sd15"), "checkpoint": root / "ip-adapter-faceid.bin"}
    unet = UNet2DConditionModel.from_config(sd_unet(64))
    groups = {"image_proj": formula.tensors(proj, "image_proj.")}
    groups["ip_adapter"] = formula.tensors(attention_shapes(unet, rank), "ip_adapter.")
    torch.save(groups, found["checkpoint"])
    if plus:
        found["image_encoder"] = root / "image_encoder"
        write_vision(found["image_encoder"], clip_vision(128, 3, "gelu", 64), "image_encoder.")
    return found


def clip_vision(hidden: int, layers: int, act: str, projection: int) -> dict:
    return {
        "hidden_size": hidden,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_hidden_layers": layers,
        "image_size": 224,
        "patch_size": 14,
        "projection_dim": projection,
        "hidden_act": act,
        "layer_norm_eps": 1e-5,
    }


def vision_state(config: dict, prefix: str) -> tuple[dict[str, torch.Tensor], object]:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
    return formula.state(model, prefix, official="vision_model."), model.config


def write_vision(folder: Path, config: dict, prefix: str) -> None:
    found, settings = vision_state(config, prefix)
    settings.architectures = ["CLIPVisionModelWithProjection"]
    settings.save_pretrained(folder)
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})


def xl_common(cross: int, pooled: int = 32) -> dict:
    return {
        "block_out_channels": [32, 64],
        "layers_per_block": 1,
        "in_channels": 4,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "attention_head_dim": [2, 4],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "transformer_layers_per_block": [1, 2],
        "projection_class_embeddings_input_dim": pooled + 48,
        "norm_num_groups": 8,
        "cross_attention_dim": cross,
    }


def xl_unet(cross: int, pooled: int = 32) -> dict:
    up = ["CrossAttnUpBlock2D", "UpBlock2D"]
    return {**xl_common(cross, pooled), "sample_size": 16, "out_channels": 4, "up_block_types": up}


def write_xl_base(root: Path, cross: int, pooled: int, encoders: tuple[dict, dict]) -> Path:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    write_diffusers(root / "unet", UNet2DConditionModel, xl_unet(cross, pooled))
    write_diffusers(root / "vae", AutoencoderKL, vae(0.13025))
    write_text_encoder(root / "text_encoder", encoders[0], "text_encoder.")
    write_text_encoder(root / "text_encoder_2", encoders[1], "text_encoder_2.", projection=True)
    write_scheduler(root / "scheduler", XL_SCHEDULER)
    write_tokenizer(root / "tokenizer")
    write_tokenizer(root / "tokenizer_2", pad="!")
    return root


def write_instantid(root: Path) -> dict[str, Path]:
    """As options of the method; the text encoders are not part of the golden data."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    encoders = (clip_text(32, 2, 4), clip_text(32, 2, 4, "gelu", projection=32))
    found = {"base": write_xl_base(root / "sdxl", 64, 32, encoders)}
    found |= {"checkpoint": root / "ip-adapter.bin", "controlnet": root / "ControlNetModel"}
    control = {**xl_common(64), "conditioning_embedding_out_channels": [8, 16, 16, 32]}
    write_diffusers(found["controlnet"], ControlNetModel, control, "controlnet.")
    shapes = {"latents": (1, 16, 128), **perceiver("", 512, 128, 64, 512)}
    groups = {"image_proj": formula.tensors(shapes, "image_proj.")}
    unet = UNet2DConditionModel.from_config(xl_unet(64))
    groups["ip_adapter"] = formula.tensors(attention_shapes(unet), "ip_adapter.")
    torch.save(groups, found["checkpoint"])
    return found


def fuser(width: int, prefix: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the two MLPs that fuse an embedding of `width` into a token of that width."""
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}layer_norm.weight": (width,), f"{prefix}layer_norm.bias": (width,)}
    for name, seen in (("mlp1", 2 * width), ("mlp2", width)):
        shapes |= {f"{prefix}{name}.layernorm.weight": (seen,), f"{prefix}{name}.layernorm.bias": (seen,)}
        shapes |= {f"{prefix}{name}.fc1.weight": (width, seen), f"{prefix}{name}.fc1.bias": (width,)}
        shapes |= {f"{prefix}{name}.fc2.weight": (width, width), f"{prefix}{name}.fc2.bias": (width,)}
    return shapes


PM_ENCODERS = (clip_text(128, 3, 4), clip_text(128, 3, 4, "gelu", projection=128))
PM_VISION = clip_vision(64, 2, "quick_gelu", 128)


def write_photomaker(root: Path, version: str, rank: int) -> dict[str, Path]:
    """As options of the method."""
    from diffusers import UNet2DConditionModel

    others = {"visual_projection_2.weight": (128, 64), **fuser(256, "fuse_module.")}
    if version == "v2":
        q = "qformer_perceiver."
        others |= {f"{q}token_proj.0.weight": (2048, 512), f"{q}token_proj.0.bias": (2048,)}
        others |= {f"{q}token_proj.2.weight": (512, 2048), f"{q}token_proj.2.bias": (512,)}
        others |= {f"{q}token_norm.weight": (256,), f"{q}token_norm.bias": (256,)}
        others |= perceiver(f"{q}perceiver_resampler.", 64, 256, 256, 1024)
    encoder = {**vision_state(PM_VISION, "id_encoder.")[0], **formula.tensors(others, "id_encoder.")}
    unet = UNet2DConditionModel.from_config(xl_unet(256, 128))
    shapes: dict[str, tuple[int, ...]] = {}
    for name in unet.attn_processors:
        layer = unet.get_submodule(name.removesuffix(".processor"))
        hidden, seen = layer.to_q.weight.shape[1], layer.to_k.weight.shape[1]
        for which in ("q", "k", "v", "out"):
            shapes[f"unet.{name}.to_{which}_lora.down.weight"] = (rank, seen if which in "kv" else hidden)
            shapes[f"unet.{name}.to_{which}_lora.up.weight"] = (hidden, rank)
    found = {
        "base": write_xl_base(root / "sdxl", 256, 128, PM_ENCODERS),
        "checkpoint": root / f"photomaker-{version}.bin",
    }
    torch.save({"id_encoder": encoder, "lora_weights": formula.tensors(shapes, "lora_weights.")}, found["checkpoint"])
    return found


def write_fastcomposer(root: Path) -> dict[str, Path]:
    """As options of the method; the UNet and the text encoder are not part of the golden data."""
    from diffusers import UNet2DConditionModel

    found = {"base": write_sd_base(root / "sd15"), "checkpoint": root / "pytorch_model.bin"}
    vision = vision_state(clip_vision(64, 2, "quick_gelu", 64), "image_encoder.")[0]
    unet = formula.state(UNet2DConditionModel.from_config(sd_unet(64)))
    tensors = {f"unet.{key}": value for key, value in unet.items()}
    tensors |= {f"image_encoder.{key}": value for key, value in vision.items()}
    tensors |= {
        f"postfuse_module.{key}": value for key, value in formula.tensors(fuser(64, ""), "postfuse_module.").items()
    }
    tensors["image_encoder.vision_model.embeddings.position_ids"] = torch.arange(257)[None]
    torch.save(tensors, found["checkpoint"])
    return found
