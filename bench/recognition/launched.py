"""Processes of one training, as `accelerate launch` and `torchrun` start them; known before torch is loaded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate import Accelerator


def processes() -> int:
    """Return how many processes a launcher started for this command; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Return whether this is the process that speaks for all of them."""
    return int(os.environ.get("RANK", "0")) == 0


def from_main(value: Any, accelerator: Accelerator) -> Any:
    """Return the main process's value in every process: all must decide alike, or they wait for each other forever."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value
