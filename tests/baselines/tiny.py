"""Tiny random checkpoints in the official layouts; they need no file from elsewhere. Images are 16 pixels square."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from baselines.protocol import Reference, Request
from bench.runtime import Runtime

WIDTH, EMBEDDING = 32, 16
CPU = Runtime("cpu", 1)
SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}
UNET = {
    "sample_size": 8,
    "block_out_channels": [16, 32],
    "layers_per_block": 1,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 8,
    "norm_num_groups": 8,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
VAE = {
    "block_out_channels": [8, 8],
    "norm_num_groups": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
}
CONTROL = {k: v for k, v in UNET.items() if k not in ("sample_size", "up_block_types")}
CONTROL["conditioning_embedding_out_channels"] = [8, 16]


def tokenizer(folder: Path, *words: str) -> int:
    """A CLIP tokenizer that spells, but for whole `words` of two letters; returns the size of its vocabulary."""
    letters = [chr(c) for c in range(33, 127)]
    vocabulary = letters + [c + "</w>" for c in letters] + [w + "</w>" for w in words]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(f"{w[0]} {w[1]}</w>" for w in words), ""]))
    special = dict.fromkeys(("eos_token", "unk_token", "pad_token"), "<|endoftext|>") | {"bos_token": "<|startoftext|>"}
    settings = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(vocabulary)


def network(folder: Path, kind: str, config: dict, seed: int) -> None:
    import diffusers

    torch.manual_seed(seed)
    made = getattr(diffusers, kind).from_config(config)
    if kind == "ControlNetModel":
        torch.manual_seed(seed)
        for layer in [*made.controlnet_down_blocks, made.controlnet_mid_block]:
            torch.nn.init.normal_(layer.weight, std=0.2)
    made.save_pretrained(folder)


def text_encoder(folder: Path, vocabulary: int) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(3)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, **sizes))
    model.config.architectures = ["CLIPTextModelWrapper"]
    folder.mkdir(parents=True)
    model.config.save_pretrained(folder)
    state = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in model.state_dict().items()}
    torch.save(state, folder / "pytorch_model.bin")


def base(folder: Path) -> Path:
    """Stable Diffusion 1.5."""
    words = tokenizer(folder / "tokenizer", "id")
    text_encoder(folder / "text_encoder", words)
    network(folder / "unet", "UNet2DConditionModel", UNET, 1)
    network(folder / "vae", "AutoencoderKL", VAE, 2)
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    return folder


def arc2face(folder: Path) -> Path:
    """One folder that is both `model` and `base`."""
    base(folder)
    (folder / "text_encoder").rename(folder / "encoder")
    (folder / "unet").rename(folder / "arc2face")
    network(folder / "controlnet", "ControlNetModel", CONTROL, 4)
    return folder


def lora(path: Path, rank: int = 4) -> Path:
    """A LoRA of all attention layers, with the names of latent-consistency/lcm-lora-sdv1-5."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(5)
    unet, state = UNet2DConditionModel.from_config(UNET), {}
    for name, layer in unet.named_modules():
        if name.endswith(("to_q", "to_k", "to_v")):
            key = "lora_unet_" + name.replace(".", "_")
            state[f"{key}.lora_down.weight"] = torch.randn(rank, layer.weight.shape[1])
            state[f"{key}.lora_up.weight"] = torch.randn(layer.weight.shape[0], rank) * 0.1
            state[f"{key}.alpha"] = torch.tensor(float(rank))
    save_file(state, path)
    return path


def adapter(path: Path, read: int, width: int = WIDTH) -> Path:
    """An image-prompt adapter from `read` numbers to 4 tokens, for the tiny UNet."""
    return adapter_of({**UNET, "cross_attention_dim": width}, path, read)


def adapter_of(config: dict, path: Path, read: int) -> Path:
    """An image-prompt adapter for the UNet of a configuration."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(6)
    unet, width, layers = UNet2DConditionModel.from_config(config), config["cross_attention_dim"], {}
    for i, name in enumerate(unet.attn_processors):
        if "attn2" in name:
            hidden = unet.get_submodule(name.removesuffix(".processor")).to_q.weight.shape[0]
            layers |= {f"{i}.to_{k}_ip.weight": torch.randn(hidden, width) for k in "kv"}
    projection = {"proj.weight": torch.randn(4 * width, read), "proj.bias": torch.zeros(4 * width)}
    projection |= {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
    torch.save({"image_proj": projection, "ip_adapter": layers}, path)
    return path


def embedding(person: int) -> torch.Tensor:
    return torch.randn(EMBEDDING, generator=torch.Generator().manual_seed(person)) * 20


def requests(people: int, samples: int) -> list[Request]:
    found = []
    for person in range(people):
        reference = Reference(f"i{person}", f"s{person}", embeddings={"arcface": embedding(person).numpy()})
        found += [Request(reference, k, 1000 * person + k, "photo of a person") for k in range(samples)]
    return found
