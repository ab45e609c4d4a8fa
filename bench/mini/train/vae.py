"""`sd15/vae`: the autoencoder, 64-pixel faces to 8 x 8 x 32; diffusers' `AutoencoderKL`.

Its latents are fixed: the first principal components of the image's 8 x 8 patches, each divided by the root of its
deviation. A latent space that is free to choose takes many hours of two cores; this one is known beforehand, so that
the decoder starts from something worth decoding and the UNet needs not wait for it. The decoder sees its neighbourhood
and gives back more than the components hold; a critic that distinguishes its patches from true ones (as in VQGAN,
Esser et al. 2021) keeps them as sharp as the world's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.mini.train import crops
from bench.mini.train.data import EVAL, TRAIN, Faces, faces
from bench.mini.train.export import halved
from bench.mini.train.loop import Course, Plan, fit

SIZE = 64
LATENT = 32
BATCH = 32
UNIT = 16
"""The mean square of so many components is one; the further ones add detail, and little to the energy.

Sixteen are too few: on the inverse of so many, faces keep a cosine similarity of 0.33 to other images of the person
(32: 0.52, 48: 0.57, the pictures themselves: 0.61).
"""
COURSE = Course(steps=3600, rate=1e-3, half=False, average=0.998)
CRITIC = 0.03
"""Weight of the critic's opinion."""


def portraits(held: Faces, work: Path, name: str, *, plain: bool = False) -> np.ndarray:
    """Return (N, 64, 64, 3) uint8 RGB, FFHQ's crop of every render; cut once and kept in the work folder.

    Args:
        held: renders.
        work: the folder.
        name: of the renders.
        plain: paint what is behind the head in its mean colour.
    """
    path = work / f"{name}-{'plain' if plain else 'portraits'}.npy"
    if not path.exists():
        starts = range(0, len(held), 1000)
        parts = [_portraits(held, np.arange(start, min(start + 1000, len(held))), plain) for start in starts]
        np.save(path, np.concatenate(parts))
    return np.load(path, mmap_mode="r")


def _portraits(held: Faces, index: np.ndarray, plain: bool) -> np.ndarray:
    """Return portraits, cut at twice the size and averaged down, so that fine detail doesn't alias."""
    moves = crops.ffhq_moves(held.landmarks[index], 2 * SIZE)
    large = crops.warp(held.images[index], moves, 2 * SIZE, reflect=True)
    if plain:
        behind = crops.warp(held.labels[index], moves, 2 * SIZE, nearest=True, reflect=True)[..., None] == 0
        total = (large * behind).sum((1, 2), keepdims=True, dtype=np.float64)
        colour = total / np.maximum(behind.sum((1, 2), keepdims=True), 1)
        large = np.where(behind, np.rint(colour).astype(np.uint8), large)
    return crops.halved(large)


def network() -> nn.Module:
    """Return AutoencoderKL with 1.2 M parameters: an eighth of the side, as in Stable Diffusion, 32 channels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(24, 48, 64, 64),
        latent_channels=LATENT,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
    )


def critic() -> nn.Module:
    """Map (n, 3, 64, 64) RGB in -1..1 to (n, 1, 16, 16): how true each patch of about 24 pixels looks."""
    widths = ((3, 32, 3, 1), (32, 64, 4, 2), (64, 96, 4, 2), (96, 96, 3, 1))
    layers = [
        nn.Sequential(nn.Conv2d(before, after, side, stride, 1), nn.LeakyReLU(0.2))
        for before, after, side, stride in widths
    ]
    return nn.Sequential(*layers, nn.Conv2d(96, 1, 3, 1, 1))


class Taught(nn.Module):
    """The autoencoder and its critic, trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.autoencoder: Any = network()
        self.critic = critic()


def _opinions(judge: nn.Module, made: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the critic's hinge loss, and the decoder's loss with a frozen critic (Lim and Ye 2017)."""
    still = {name: value.detach() for name, value in judge.named_parameters()}
    taught = F.relu(1 - judge(real)).mean() + F.relu(1 + judge(made.detach())).mean()
    return taught, -torch.func.functional_call(judge, still, (made,)).mean()


def centre(side: int) -> Tensor:
    """Return (side, side) weights of mean one: more for the middle of the image, where the face is."""
    along = torch.linspace(-1, 1, side)
    square = along[:, None] ** 2 + along[None] ** 2
    weight = 0.5 + 1.5 * torch.exp(-square / 0.32)
    return weight / weight.mean()


def _edges(difference: Tensor) -> Tensor:
    """Return the absolute differences of neighbours: what blur changes most."""
    across, down = difference.diff(dim=3).abs().mean(), difference.diff(dim=2).abs().mean()
    return across + down


@dataclass(frozen=True)
class Basis:
    """What turns patches into latents.

    Attributes:
        mean: (192,) of the patches, values in -1..1.
        rows: (32, 192) components over the roots of their deviations; the first sixteen have unit mean square.
    """

    mean: np.ndarray
    rows: np.ndarray


def _patches(images: np.ndarray) -> np.ndarray:
    """Return (n, 8, 8, 192) float32 in -1..1: the 8 x 8 patches of (n, 64, 64, 3) uint8 images."""
    n, side = len(images), SIZE // 8
    cut = images.reshape(n, side, 8, side, 8, 3).swapaxes(2, 3).reshape(n, side, side, 192)
    return cut.astype(np.float32) / 127.5 - 1


def basis(images: np.ndarray) -> Basis:
    """Return the principal components of the patches of at most 2000 of the images."""
    found = _patches(images[:: max(len(images) // 2000, 1)]).reshape(-1, 192)
    mean = found.mean(0)
    variance, axes = np.linalg.eigh(np.cov((found - mean).T.astype(np.float64)))
    deviation = np.sqrt(variance[::-1][:LATENT])
    rows = axes[:, ::-1][:, :LATENT].T / np.sqrt(deviation)[:, None]
    rows *= np.sign(rows.sum(1, keepdims=True)) / np.sqrt(deviation[:UNIT].mean())
    return Basis(mean, rows.astype(np.float32))


def latents(images: np.ndarray, known: Basis) -> np.ndarray:
    """Return (n, 32, 8, 8) float32 of (n, 64, 64, 3) uint8 images."""
    return ((_patches(images) - known.mean) @ known.rows.T).transpose(0, 3, 1, 2)


def train(images: np.ndarray, plain: np.ndarray, plan: Plan) -> nn.Module:
    """Train the decoder on slightly noisy latents (absolute error, edges, critic), the encoder to give the latents.

    Half of the pictures are before a plain colour, as those of `arc2face` are.
    """
    known, weight = basis(images), centre(SIZE).to(plan.device)

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        index = np.sort(rng.choice(len(images), BATCH, replace=False))
        both = np.concatenate([images[index[::2]], plain[index[1::2]]])
        cut = np.ascontiguousarray(both[:, :, :: rng.choice([-1, 1])])
        return cut, latents(cut, known)

    def loss(module: Any, drawn: Sequence[Tensor]) -> Tensor:
        target = crops.tensor(drawn[0], 127.5, 127.5, plan.device)
        wanted = drawn[1].to(plan.device)
        noisy = wanted + 0.15 * torch.rand(BATCH, 1, 1, 1, device=plan.device) * torch.randn_like(wanted)
        made = module.autoencoder.decode(noisy.contiguous(memory_format=torch.channels_last)).sample.float()
        difference = (made - target) * weight
        posterior = module.autoencoder.encode(target[:6]).latent_dist
        taught = (posterior.mean - wanted[:6]).square().mean() + 0.01 * (posterior.logvar + 6).square().mean()
        judging, judged = _opinions(module.critic, made, target)
        return difference.abs().mean() + _edges(difference) + 0.3 * taught + judging + CRITIC * judged

    return cast(Taught, fit("vae", Taught, draw, loss, COURSE, plan)).autoencoder


def write(module: Any, folder: Path) -> None:
    """Save the autoencoder as diffusers does; its latents have unit deviation, so the scale is 1."""
    from safetensors.torch import save_file

    module.register_to_config(scaling_factor=1.0)
    module.save_config(folder)
    save_file(halved(module.state_dict()), folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


def run(plan: Plan) -> dict[str, float]:
    """Train and export it; return mean absolute errors, of 255, on unseen people."""
    held = faces(TRAIN, plan.work)
    images, plain = (portraits(held, plan.work, TRAIN.name, plain=plain) for plain in (False, True))
    module: Any = train(images, plain, plan)
    write(module, plan.out / "sd15" / "vae")
    unseen = portraits(faces(EVAL, plan.work), plan.work, EVAL.name)[:500]
    values, known = crops.tensor(unseen, 127.5, 127.5, "cpu"), basis(images)
    given = torch.from_numpy(latents(unseen, known))
    with torch.no_grad():
        taught = module.decode(given).sample.clamp(-1, 1)
        whole = module.decode(module.encode(values).latent_dist.mode()).sample.clamp(-1, 1)
    error = {"decoder_error": F.l1_loss(taught, values), "autoencoder_error": F.l1_loss(whole, values)}
    return {name: float(value) * 127.5 for name, value in error.items()}
