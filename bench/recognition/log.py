"""The log of a training: loss, learning rate and accuracy, a row every few steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.recognition.checkpoint import State
from bench.recognition.crops import Crops, as_input
from bench.recognition.job import Job
from bench.recognition.launched import from_main
from bench.recognition.testing import evaluate
from bench.recognition.trained import TEST_BATCH

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn


class Live:
    """The network in training as a recogniser that can be tested."""

    def __init__(self, network: nn.Module, colour: str, device: Any) -> None:
        self._network, self._colour, self._device = network, colour, device

    def extract(self, crops: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """Return "feature", (b, 512) float32, of (b, 112, 112, 3) uint8 RGB crops."""
        import torch

        self._network.eval()
        with torch.inference_mode():
            feature = self._network(as_input(torch.from_numpy(crops), self._colour, self._device))
        return {"feature": feature.float().cpu().numpy()}


def row(job: Job, crops: Crops, state: State, accelerator: Accelerator, ended: bool) -> dict[str, Any]:
    """Return a row of the log; at the end of some epochs with the accuracy on each set."""
    epoch = state.step / crops.steps
    row = {
        "step": state.step,
        "epoch": epoch,
        "loss": float(np.mean(state.losses)),
        "rate": float(state.optimiser.param_groups[0]["lr"]),
    }
    if not ended or not _tests(job, round(epoch)):
        return row
    # Batch norm's statistics differ between processes, and so would what the schedule makes of the accuracies.
    measured = _accuracy(job, state, accelerator) if accelerator.is_main_process else None
    return row | from_main(measured, accelerator)


def _accuracy(job: Job, state: State, accelerator: Accelerator) -> dict[str, float]:
    live = Live(accelerator.unwrap_model(state.trainee).backbone, job.recipe.colour, accelerator.device)
    return {pairs.name: evaluate(live, pairs, TEST_BATCH).result.accuracy for pairs in job.pairs}


def _tests(job: Job, epoch: int) -> bool:
    """Whether an epoch is tested: every so many, the last one, and all where the schedule asks for it."""
    every = 1 if job.recipe.schedule.kind == "plateau" else job.options.test_every
    return epoch == job.recipe.epochs or bool(every and epoch % every == 0)


def accuracies(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the mean accuracy over the sets in each row of a log that has one, in order."""
    known = {"step", "epoch", "loss", "rate"}
    found = [[value for name, value in row.items() if name not in known] for row in rows]
    return [float(np.mean(values)) for values in found if values]
