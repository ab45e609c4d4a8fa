"""One training loop for every recipe: seeded, resumable, on a CPU or a GPU, bounded by steps or by minutes.

A recipe gives two functions: `draw` makes the batch of one step as NumPy arrays, where the plan has workers in another
process, and `loss` computes on them on the device.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

Draw = Callable[[np.random.Generator], Any]
Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Plan:
    """Where a recipe works and how long.

    Attributes:
        work: folder of renders and checkpoints; a recipe that finds its checkpoint there goes on from it.
        out: folder of the exported weights.
        seed: of the first weights and of every batch.
        device: "cpu" or "cuda".
        steps: overrides the recipe's own number of steps.
        minutes: if given, the learning rate follows the clock instead of the steps and each training ends on time.
        compiled: compile the UNet; takes minutes and a C++ compiler, and saves a third of the time.
        workers: processes that draw batches ahead; 0 draws them in turn with the steps, which suits a CPU.
    """

    work: Path
    out: Path
    seed: int = 0
    device: str = "cpu"
    steps: int | None = None
    minutes: float | None = None
    compiled: bool = False
    workers: int = 0


@dataclass(frozen=True)
class Course:
    """How one network is trained.

    Attributes:
        steps: number of optimiser steps.
        rate: peak learning rate of AdamW (3 % warm-up, then a cosine to a hundredth).
        decay: weight decay.
        half: bfloat16 autocast where the device has matrix units for it; costs on depthwise convolutions.
        average: decay of the running mean of the weights, which is what is exported; 0 exports the last weights.
    """

    steps: int
    rate: float = 2e-3
    decay: float = 1e-4
    half: bool = True
    average: float = 0.0


def say(text: str) -> None:
    """Write one line of progress to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@cache
def has_matrix_units(device: str) -> bool:
    """Return whether 16-bit products are faster than 32-bit ones: on a GPU, and on processors with AMX or AVX-512 BF16.

    Elsewhere bfloat16 is emulated, at several times the cost.
    """
    cpu = torch.backends.cpu.get_cpu_capability()
    return device != "cpu" or (cpu.startswith("AVX512") and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def rate_at(progress: float) -> float:
    """Return the learning rate at `progress` in 0..1, as a share of its peak.

    >>> rate_at(0.03), round(rate_at(1.0), 3)
    (1.0, 0.01)
    """
    if progress < 0.03:
        return max(progress / 0.03, 0.01)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.03) / 0.97))


@dataclass
class _State:
    """What a checkpoint holds in addition to the progress."""

    module: nn.Module
    mean: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        part = path.with_suffix(".part")
        parts = {
            "module": self.module.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        torch.save({**parts, "step": self.step, "seconds": self.seconds}, part)
        os.replace(part, path)

    def load(self, path: Path, device: str) -> None:
        saved = torch.load(path, map_location=device, weights_only=True)
        self.module.load_state_dict(saved["module"])
        self.mean.load_state_dict(saved["mean"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self.seconds = saved["step"], saved["seconds"]


def _progress(plan: Plan, course: Course, state: _State) -> float:
    if plan.minutes is not None:
        return state.seconds / (60 * plan.minutes)
    return state.step / (plan.steps or course.steps)


def _average(state: _State, decay: float) -> None:
    """Move the mean weights towards the current ones; faster at the start, so that the first weights don't linger."""
    keep = min(decay, (1 + state.step) / (10 + state.step))
    pairs = list(zip(state.mean.state_dict().values(), state.module.state_dict().values(), strict=True))
    blended = [pair for pair in pairs if pair[0].is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_([mean for mean, _ in blended], [now for _, now in blended], 1 - keep)
        for mean, now in pairs:
            if not mean.is_floating_point():
                mean.copy_(now)


class _Batches(Dataset[Any]):
    """The batch of each step, seeded by the step alone: a resumed training sees what an unbroken one sees."""

    def __init__(self, draw: Draw, seed: int) -> None:
        self.draw, self.seed = draw, seed

    def __getitem__(self, step: int) -> Any:
        return self.draw(np.random.default_rng((self.seed, step)))


class _From(Sampler[int]):
    """All whole numbers from `first` on."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        return count(self.first)


def batches(draw: Draw, plan: Plan, first: int) -> Iterator[Any]:
    """Return the batches from step `first` on, as tensors on the CPU; workers are forked, so renders stay shared."""
    return iter(
        DataLoader(
            _Batches(draw, plan.seed),
            batch_size=None,
            sampler=_From(first),
            num_workers=plan.workers,
            multiprocessing_context="fork" if plan.workers else None,
            pin_memory=plan.device == "cuda",
        )
    )


def seed_torch(plan: Plan, step: int, stream: int) -> None:
    """Seed torch for one step; another `stream` gives other numbers at the same step."""
    torch.manual_seed(int(np.random.default_rng((plan.seed, step, stream)).integers(2**62)))


def _step(state: _State, drawn: Iterator[Any], loss: Loss, plan: Plan, course: Course) -> Tensor:
    started = time.monotonic()
    for group in state.optimiser.param_groups:
        group["lr"] = course.rate * rate_at(_progress(plan, course, state))
    batch = next(drawn)
    seed_torch(plan, state.step, 1)
    with torch.autocast(plan.device, torch.bfloat16, enabled=course.half and has_matrix_units(plan.device)):
        value = loss(state.module, batch)
    state.optimiser.zero_grad(set_to_none=True)
    value.backward()
    nn.utils.clip_grad_norm_(state.module.parameters(), 1.0)
    state.optimiser.step()
    _average(state, course.average)
    state.step += 1
    state.seconds += time.monotonic() - started
    return value.detach()


def fit(name: str, make: Callable[[], nn.Module], draw: Draw, loss: Loss, course: Course, plan: Plan) -> nn.Module:
    """Train the module that `make` builds, or resume from its checkpoint, and return it on the CPU in eval mode.

    Args:
        name: of the checkpoint `work/<name>.pt` and of the lines of progress.
        make: builds the module; runs under the plan's seed.
        draw: the arrays of one batch, drawn with the generator that it gets.
        loss: of the module on such a batch, as tensors on the CPU; its own randomness is torch's.
        course: steps, rates, precision.
        plan: seed, device, limits and folders.
    """
    torch.manual_seed(plan.seed)
    module = make().to(device=plan.device).to(memory_format=torch.channels_last).train()
    mean = make().to(device=plan.device).to(memory_format=torch.channels_last)
    mean.load_state_dict(module.state_dict())
    fused = {"fused": True} if plan.device == "cuda" else {}
    optimiser = torch.optim.AdamW(
        module.parameters(), course.rate, betas=(0.9, 0.98), weight_decay=course.decay, **fused
    )
    state = _State(module, mean, optimiser)
    path = plan.work / f"{name}.pt"
    if path.exists():
        state.load(path, plan.device)
    _run(name, state, draw, loss, course, plan, path)
    return state.mean.cpu().eval()


def _run(name: str, state: _State, draw: Draw, loss: Loss, course: Course, plan: Plan, path: Path) -> None:
    saved, recent, drawn = time.monotonic(), [], batches(draw, plan, state.step)
    while _progress(plan, course, state) < 1:
        recent.append(_step(state, drawn, loss, plan, course))
        if state.step % 100 == 0:
            share = _progress(plan, course, state)
            mean = float(torch.stack(recent).mean())
            say(f"{name} step {state.step} ({share:.0%}, {state.seconds:.0f} s) loss {mean:.4f}")
            recent = []
        if time.monotonic() - saved > 120:
            state.save(path)
            saved = time.monotonic()
    state.save(path)
