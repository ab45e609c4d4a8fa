"""Processes of one training, as `accelerate launch` and `torchrun` start them; known before torch is loaded."""

from __future__ import annotations

import os


def processes() -> int:
    """Return how many processes a launcher started for this command; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Return whether this is the process that speaks for all of them."""
    return int(os.environ.get("RANK", "0")) == 0
