"""`Arc2Face/base/vae`: the autoencoder of the latent space, 64-pixel faces to 8 x 8 x 8; `AutoencoderKL` of diffusers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.mini.train import crops
from bench.mini.train.data import EVAL, TRAIN, Faces, faces
from bench.mini.train.export import halved
from bench.mini.train.loop import Course, Plan, fit

SIZE = 64
LATENT = 8
COURSE = Course(steps=4000, rate=2e-3, average=0.995)


def portraits(held: Faces, work: Path, name: str) -> np.ndarray:
    """(N, 64, 64, 3) uint8 RGB, FFHQ's crop of every render; cut once and kept in the work folder."""
    path = work / f"{name}-portraits.npy"
    if not path.exists():
        parts = [
            _portraits(held, np.arange(start, min(start + 1000, len(held)))) for start in range(0, len(held), 1000)
        ]
        np.save(path, np.concatenate(parts))
    return np.load(path, mmap_mode="r")


def _portraits(held: Faces, index: np.ndarray) -> np.ndarray:
    """Cut at twice the size and averaged down, so that fine detail doesn't alias."""
    large = crops.warp(held.images[index], crops.ffhq_moves(held.landmarks[index], 2 * SIZE), 2 * SIZE, reflect=True)
    small = large.reshape(len(index), SIZE, 2, SIZE, 2, 3).mean((2, 4))
    return np.rint(small).astype(np.uint8)


def network() -> nn.Module:
    """AutoencoderKL with 1.2 M parameters: an eighth of the side, as in Stable Diffusion, and eight latent channels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        latent_channels=LATENT,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
    )


def _edges(difference: Tensor) -> Tensor:
    """Absolute differences of neighbours: what blur changes most."""
    across, down = difference.diff(dim=3).abs().mean(), difference.diff(dim=2).abs().mean()
    return across + down


def train(images: np.ndarray, plan: Plan) -> nn.Module:
    """Trains the autoencoder: absolute and edge error, and a weak pull to a normal posterior."""

    def loss(module: nn.Module, rng: np.random.Generator) -> Tensor:
        index = np.sort(rng.choice(len(images), 32, replace=False))
        cut = images[index]
        cut = cut[:, :, ::-1] if rng.random() < 0.5 else cut
        target = crops.tensor(cut, 127.5, 127.5, plan.device)
        posterior = module.encode(target).latent_dist
        difference = module.decode(posterior.sample()).sample.float() - target
        return difference.abs().mean() + _edges(difference) + 2e-6 * posterior.kl().float().mean()

    return fit("vae", network, loss, COURSE, plan)


def encode(module: nn.Module, images: np.ndarray) -> np.ndarray:
    """(N, 16, 8, 8) float16: mean and log-variance of each image's latent, unscaled."""
    with torch.no_grad():
        parts = [_moments(module, images[start : start + 256]) for start in range(0, len(images), 256)]
    return np.concatenate(parts)


def _moments(module: Any, images: np.ndarray) -> np.ndarray:
    values = crops.tensor(images, 127.5, 127.5, "cpu")
    with torch.autocast("cpu", torch.bfloat16):
        return module.encode(values).latent_dist.parameters.float().half().numpy()


def write(module: Any, moments: np.ndarray, folder: Path) -> None:
    """Saves the autoencoder as diffusers does, with the scale that brings its latents to unit deviation."""
    from safetensors.torch import save_file

    mean, variance = moments[:, :LATENT].astype(np.float32), np.exp(moments[:, LATENT:].astype(np.float32))
    scale = float(1 / np.sqrt(mean.var() + mean.mean() ** 2 + variance.mean()))
    module.register_to_config(scaling_factor=round(scale, 5))
    module.save_config(folder)
    save_file(halved(module.state_dict()), folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


def run(plan: Plan) -> dict[str, float]:
    """Trains and exports it; returns the mean absolute error of its reconstructions of unseen people, of 255."""
    images = portraits(faces(TRAIN, plan.work), plan.work, TRAIN.name)
    module: Any = train(images, plan)
    folder = plan.out / "Arc2Face" / "base" / "vae"
    write(module, encode(module, images[:4000]), folder)
    unseen = portraits(faces(EVAL, plan.work), plan.work, EVAL.name)[:500]
    values = crops.tensor(unseen, 127.5, 127.5, "cpu")
    with torch.no_grad():
        back = module.decode(module.encode(values).latent_dist.mode()).sample.clamp(-1, 1)
    scale = json.loads((folder / "config.json").read_text())["scaling_factor"]
    return {"absolute_error": float(F.l1_loss(back, values)) * 127.5, "scaling_factor": scale}
