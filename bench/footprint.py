"""How much memory a diffusion method takes, estimated before it is loaded, and the batch that fits.

    weights      the numbers in its files, at 2 bytes each on a GPU (methods run in fp16 or bf16 there) and 4 on a CPU;
                 the image decoder (`vae`) in fp32 everywhere
    loading      on a CPU the file of a network lies beside it until it is checked: the largest one
    decoding     one image at a time, in fp32; nothing is loaded meanwhile
    per sample   both rows of the guidance through the UNet, and its ControlNet before it

Activations are counted, not measured: `python -m tests.perf.activations` adds up every tensor that lives during a step
of a network of official size, with fused attention. Kernels' workspaces and the gaps between blocks are not in that, so
a sample is taken at twice the count. A batch that still is too large for a GPU is halved by the run
(`baselines.diffusion.halved`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
GPU_WIDTH, CPU_WIDTH = 2, 4
"""Bytes of a number at a method's default precision: fp16 or bf16, and fp32."""
RESERVE = 1024 * MIB
"""Taken beside weights and activations: the device's context, libraries, conditions."""
MARGIN = 2
"""A sample's activations are taken at so many times their count."""
BATCHES = (20, 16, 10, 8, 5, 4, 2, 1)
"""They divide the 80 samples of a shard, so that no batch is padded; a run that is broken off repeats a whole batch."""


@dataclass(frozen=True)
class Base:
    """What a base model's pictures cost, counted at their official size: bytes of a sample in fp16, and of decoding."""

    per_sample: int
    decoding: int


BASES = {
    "sd15": Base(130 * MIB, 768 * MIB),  # 512 x 512
    "realistic_vision_v4": Base(195 * MIB, 1152 * MIB),  # SD 1.5 at 512 x 768
    "realistic_vision_v6": Base(195 * MIB, 1152 * MIB),  # likewise
    "realvisxl_v3": Base(315 * MIB, 3072 * MIB),  # SDXL at 1024 x 1024
    "sdxl": Base(430 * MIB, 3072 * MIB),  # likewise, with InstantID's ControlNet
}
"""Folder of a base model under the weights folder -> its cost."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a method takes whatever its batch, and for each sample of it."""

    fixed: int
    per_sample: int


def proposed_batch(free: int, weights: int, per_sample: int) -> int:
    """The largest of `BATCHES` that fits into memory; 0 where not even one sample does.

    Args:
        free: bytes.
        weights: bytes that are taken whatever the batch.
        per_sample: bytes, above 0.

    >>> proposed_batch(24_000, 4_000, 500), proposed_batch(8_000, 4_000, 500), proposed_batch(4_400, 4_000, 500)
    (20, 8, 0)
    """
    return next((size for size in BATCHES if weights + size * per_sample <= free), 0)


def footprint(base: Base, files: Iterable[Path], width: int) -> Footprint:
    """The estimate of a method.

    Args:
        base: its base model.
        files: its weights; other files count as what they weigh.
        width: bytes of a number at its default precision: `GPU_WIDTH` or `CPU_WIDTH`.

    Raises:
        safetensors.SafetensorError: a .safetensors file is none.
    """
    sizes = [resident(path, width) for path in files]
    loading = max(sizes, default=0) if width == CPU_WIDTH else 0
    return Footprint(RESERVE + sum(sizes) + max(loading, base.decoding), MARGIN * base.per_sample * width // 2)


def resident(path: Path, width: int) -> int:
    """Bytes that a file of weights takes once loaded.

    A pickle does not tell its numbers without being read: it is taken as if it held fp16, which is the most that it can
    hold. So it takes what it weighs on a GPU, and on a CPU twice that. ONNX networks run as they are stored.
    """
    if path.suffix == ".safetensors":
        return numbers(path) * (CPU_WIDTH if "vae" in path.parent.name else width)
    return path.stat().st_size * (1 if path.suffix == ".onnx" else width // 2)


def numbers(path: Path) -> int:
    """How many numbers a .safetensors file holds, read from its header."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
