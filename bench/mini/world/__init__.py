"""A parametric renderer of heads: who, what, how seen, and the truth about every pixel."""

from bench.mini.world.parameters import (
    AMOUNTS,
    EXPRESSION,
    EYELIDS,
    FLAME_EXPRESSION,
    IDENTITY,
    JAW,
    JAW_RADIANS,
    LABELS,
    POSE,
    Render,
    Scene,
    rotation,
)
from bench.mini.world.render import render
from bench.mini.world.sampling import sample_identities, sample_scenes, split_of

__all__ = [
    "AMOUNTS",
    "EXPRESSION",
    "EYELIDS",
    "FLAME_EXPRESSION",
    "IDENTITY",
    "JAW",
    "JAW_RADIANS",
    "LABELS",
    "POSE",
    "Render",
    "Scene",
    "render",
    "rotation",
    "sample_identities",
    "sample_scenes",
    "split_of",
]
