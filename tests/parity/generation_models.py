"""Tiny checkpoints of golden/generation, written to disk in the official layouts."""

import gzip
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.parity import generation_formula as formula
from tests.shared import SHARED

VOCABULARY = SHARED / "tokenizers" / "bpe_simple_vocab_16e6.txt.gz"

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
    merges = gzip.decompress(VOCABULARY.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    letters = _byte_letters()
    words = letters + [c + "</w>" for c in letters] + ["".join(m.split()) for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": pad,
    }
    settings = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))


def _byte_letters() -> list[str]:
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in kept]
    return [chr(b) for b in kept] + [chr(256 + n) for n in range(len(rest))]


def write_arc2face(root: Path) -> tuple[Path, Path]:
    """(model, base) in the layouts of FoivosPar/Arc2Face and Stable Diffusion 1.5."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    model, base = root / "Arc2Face", root / "sd15"
    write_diffusers(model / "arc2face", UNet2DConditionModel, sd_unet(768))
    config = clip_text(768, 2, 12, intermediate=256)
    write_text_encoder(model / "encoder", config, binary=True)
    write_diffusers(base / "vae", AutoencoderKL, vae(0.18215))
    write_scheduler(base / "scheduler", SD_SCHEDULER)
    write_tokenizer(base / "tokenizer")
    return model, base
