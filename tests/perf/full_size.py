"""Checkpoints of official size by the formula of golden/generation: written, loaded, one step. A script, not a test.

    BENCH_SHARED=../shared python -m tests.perf.full_size arc2face|faceid_sdxl|instantid FOLDER [--side 512]

Needs 4 GB (arc2face) to 13 GB (instantid) of disk in FOLDER; what lies there already is taken as it is, so faceid_sdxl
and instantid share a base. docs/performance.md tells memory and time.
"""

import argparse
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from baselines.protocol import Reference, Request
from bench.faces.face import Face
from bench.runtime import Runtime
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models

SD_UNET = {
    "sample_size": 64, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "cross_attention_dim": 768,
    "attention_head_dim": 8, "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}  # fmt: skip
XL_COMMON = {
    "block_out_channels": [320, 640, 1280], "layers_per_block": 2, "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20], "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": True,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
XL_UP = {"sample_size": 128, "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]}
VAE = {
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
WEIGHTS = "diffusion_pytorch_model.safetensors"
PROMPT = "photo of a person"
TEXT = models.clip_text(768, 12, 12, intermediate=3072)
TEXT_2 = models.clip_text(1280, 32, 20, "gelu", intermediate=5120, projection=1280)


def network(folder: Path, kind: str, config: dict, dtype: torch.dtype, prefix: str = "") -> int:
    """Writes a network of diffusers; returns the number of its parameters."""
    import diffusers

    with torch.device("meta"):
        made = getattr(diffusers, kind).from_config(config)
    count = sum(v.numel() for v in made.state_dict().values())
    if (folder / WEIGHTS).exists():
        return count
    made.save_config(folder)
    state = {k: formula.parameter(prefix + k, k, v.shape).to(dtype) for k, v in made.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    return count


def arc2face(root: Path) -> dict:
    print("parameters of the UNet:", network(root / "arc2face", "UNet2DConditionModel", SD_UNET, torch.float32))
    models.write_text_encoder(root / "encoder", TEXT, binary=True)
    network(root / "vae", "AutoencoderKL", {**VAE, "scaling_factor": 0.18215}, torch.float32)
    models.write_scheduler(root / "scheduler", models.SD_SCHEDULER)
    models.write_tokenizer(root / "tokenizer")
    return {"model": root, "base": root}


def xl(root: Path) -> Path:
    unet = {**XL_COMMON, **XL_UP}
    print("parameters of the UNet:", network(root / "unet", "UNet2DConditionModel", unet, torch.float16))
    network(root / "vae", "AutoencoderKL", {**VAE, "scaling_factor": 0.13025}, torch.float32)
    if not (root / "text_encoder_2/model.safetensors").exists():
        models.write_text_encoder(root / "text_encoder", TEXT, "text_encoder.")
        models.write_text_encoder(root / "text_encoder_2", TEXT_2, "text_encoder_2.", projection=True)
    models.write_scheduler(root / "scheduler", models.XL_SCHEDULER)
    models.write_tokenizer(root / "tokenizer")
    models.write_tokenizer(root / "tokenizer_2", pad="!")
    return root


def xl_attention(rank: int = 0) -> dict[str, torch.Tensor]:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config({**XL_COMMON, **XL_UP})
    shapes = models.attention_shapes(unet, rank)
    return {k: v.half() for k, v in formula.tensors(shapes, "ip_adapter.").items()}


def faceid_sdxl(root: Path) -> dict:
    proj = {"proj.0.weight": (1024, 512), "proj.0.bias": (1024,), "proj.2.weight": (8192, 1024), "proj.2.bias": (8192,)}
    proj |= {"norm.weight": (2048,), "norm.bias": (2048,)}
    file = root / "ip-adapter-faceid_sdxl.bin"
    found = {"base": xl(root / "sdxl"), "checkpoint": file, "version": "faceid"}
    torch.save({"image_proj": formula.tensors(proj, "image_proj."), "ip_adapter": xl_attention(128)}, file)
    return found


def instantid(root: Path) -> dict:
    found = {"base": xl(root / "sdxl"), "checkpoint": root / "ip-adapter.bin", "controlnet": root / "ControlNetModel"}
    network(found["controlnet"], "ControlNetModel", XL_COMMON, torch.float16, "controlnet.")
    shapes = {"latents": (1, 16, 1280), **models.perceiver("", 512, 1280, 2048, 5120)}
    groups = {"image_proj": formula.tensors(shapes, "image_proj."), "ip_adapter": xl_attention()}
    torch.save(groups, found["checkpoint"])
    return found


def method_of(name: str, given: dict, runtime: Runtime):
    if name == "arc2face":
        from baselines.arc2face import Arc2Face as Method
    elif name == "faceid_sdxl":
        from baselines.ip_adapter_faceid import IPAdapterFaceID as Method
    else:
        from baselines.instantid import InstantID as Method
    return Method(Method.Options(**given), runtime)


def request(recogniser: str) -> Request:
    draw = np.random.default_rng(0)
    keypoints = np.float32([[190, 240], [320, 240], [256, 310], [205, 370], [310, 370]])
    reference = Reference(
        "i", "s", image=np.zeros((512, 512, 3), np.uint8), face=Face(np.float32([120, 100, 400, 460]), 0.9, keypoints),
        embeddings={recogniser: draw.normal(size=512).astype(np.float32)},
    )  # fmt: skip
    return Request(reference, 0, 1, PROMPT)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=["arc2face", "faceid_sdxl", "instantid"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    clock = time.perf_counter
    start = clock()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # So that the peak below is of the method alone.
        given = pool.submit(globals()[asked.name], asked.folder).result()
    print(f"written in {clock() - start:.0f} s")
    given |= {"steps": 1, "batch": 1, "width": asked.side, "height": asked.side, "precision": asked.precision}
    start = clock()
    torch.set_num_threads(asked.threads)
    method = method_of(asked.name, given, Runtime(asked.device, asked.threads, (PROMPT,)))
    print(f"loaded and checked in {clock() - start:.0f} s; peak memory", peak())
    start = clock()
    output = method.generate([request(method.options.recogniser)])[0]
    print(f"one step and one image in {clock() - start:.0f} s: {output.error or output.image.shape}")
    print("peak memory", peak())


def peak() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB"


if __name__ == "__main__":
    main()
