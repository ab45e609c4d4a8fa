"""The state of a training, kept in a file, so that it goes on where it was stopped."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from torch import nn

RESUME = "resume.pt"


@dataclass
class State:
    """What a checkpoint holds."""

    trainee: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def save(self, path: Path, accelerator: Accelerator, key: str) -> None:
        """Write the checkpoint, whole or not at all."""
        import torch

        if not accelerator.is_main_process:
            return
        unfinished = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        scaler = accelerator.scaler.state_dict() if accelerator.scaler is not None else {}
        parts = {"trainee": accelerator.unwrap_model(self.trainee).state_dict(), "scaler": scaler, "key": key}
        parts |= {"optimiser": self.optimiser.state_dict(), "step": self.step, "rows": self.rows, "losses": self.losses}
        with unfinished.open("wb") as file:
            torch.save(parts, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)

    def load(self, path: Path, accelerator: Accelerator, key: str) -> None:
        """Read a checkpoint where there is one.

        Raises:
            UserError: it is that of another training, or damaged.
        """
        if not path.exists():
            return
        saved = _saved(path, accelerator.device)
        if saved.get("key") != key:
            raise UserError(f"{path} is the checkpoint of another training; give out=DIR of a new folder")
        accelerator.unwrap_model(self.trainee).load_state_dict(saved["trainee"])
        self.optimiser.load_state_dict(saved["optimiser"])
        if accelerator.scaler is not None and saved["scaler"]:
            accelerator.scaler.load_state_dict(saved["scaler"])
        self.step, self.rows, self.losses = saved["step"], saved["rows"], saved["losses"]


def _saved(path: Path, device: Any) -> dict[str, Any]:
    import torch

    try:
        return dict(torch.load(path, map_location=device, weights_only=True))
    except Exception as error:  # a damaged file makes torch raise almost anything
        raise UserError(
            f"{path} is damaged ({type(error).__name__}); delete it and run the same command again"
        ) from error
