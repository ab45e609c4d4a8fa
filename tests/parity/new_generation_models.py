"""Tiny checkpoints of golden/generation, section 6, written to disk in the official layouts."""

from pathlib import Path

import torch

from baselines import vec2face
from tests.parity import generation_formula as formula

VEC2FACE = vec2face.Sizes(width=192, depths=(2, 2), latent=32, channels=(32, 32, 64, 64, 32), blocks=1)


def write_vec2face(root: Path) -> dict[str, Path]:
    """As options of the method."""
    root.mkdir(parents=True, exist_ok=True)
    tensors = formula.tensors(vec2face.layout(VEC2FACE), "model_vec2face.")
    tensors["token_emb.position_ids"] = torch.arange(50)[None]
    torch.save({"model_vec2face": tensors, "epoch": 1}, root / "vec2face_generator.pth")
    return {"checkpoint": root / "vec2face_generator.pth"}
