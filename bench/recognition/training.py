"""Train a recogniser on a face set: seeded, resumable at any instant, on a CPU, a GPU, or several (accelerate).

<folder>/resume.pt                all that is needed to go on; deleted by nobody
<folder>/recogniser.safetensors   the backbone of the last epoch, with the keys of AdaFace's official files
<folder>/recogniser.json          what it is
<folder>/log.parquet, log.png, .pdf   loss, learning rate and accuracy over time
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.console import progress
from bench.errors import UserError
from bench.execution.local import prepare_process
from bench.extractors.backbones import build
from bench.facesets.store import FaceSet
from bench.provenance import device, how, measured
from bench.recognition import log, trained
from bench.recognition.checkpoint import RESUME, State
from bench.recognition.crops import Crops, as_input
from bench.recognition.job import Job, job_id
from bench.recognition.launched import from_main, processes
from bench.recognition.recipe import ends_early, rate_at
from bench.store import locked, sweep

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor


def train(job: Job) -> Path:
    """Train, or go on where the training was stopped; a finished one is left as it is.

    Returns:
        The folder.

    Raises:
        UserError: too few crops; or the loss is not a number, which ends the training and keeps the last checkpoint.
    """
    from accelerate import Accelerator

    faces = FaceSet(job.faces)
    prepare_process(job.threads)
    mixed = "no" if job.recipe.precision == "fp32" else job.recipe.precision
    _take(job.device)
    accelerator = Accelerator(mixed_precision=mixed, cpu=job.device == "cpu")
    with _held(job.folder, accelerator):
        if not _is_finished(job.folder, accelerator):
            _train(job, faces, accelerator)
    return job.folder


def _take(device: str) -> None:
    """Make a numbered GPU the one that accelerate takes; launched processes have one each by their own number."""
    if ":" not in device:
        return
    if processes() > 1:
        raise UserError(
            f"execution.device={device} is one GPU for {processes()} processes; say execution.device=cuda, or "
            "start one process"
        )
    import torch

    torch.cuda.set_device(device)


@contextmanager
def _held(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """Hold the folder for all processes of a training: the main one has the lock, the others wait for it."""
    with locked(folder) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            sweep(folder)
        accelerator.wait_for_everyone()
        yield


def _is_finished(folder: Path, accelerator: Accelerator) -> bool:
    """Whether the training has ended before, as the main process saw it when it had the lock."""
    return bool(from_main((folder / trained.RECORD).exists(), accelerator))


def _train(job: Job, faces: FaceSet, accelerator: Accelerator) -> None:
    rank, world = accelerator.process_index, accelerator.num_processes
    if job.recipe.batch % world or job.recipe.batch // world < 2:
        raise UserError(f"recipe.batch={job.recipe.batch} must be a multiple of the {world} processes, two each")
    key = job_id(job.recipe, job.options, faces)
    crops = Crops(faces, job.recipe, job.options.seed, rank, world)
    state = _new(job, crops)
    state.trainee, state.optimiser = accelerator.prepare(state.trainee, state.optimiser)
    state.load(job.folder / RESUME, accelerator, key)
    before = state.step
    with measured() as cost:
        _run(job, crops, state, accelerator, key)
    if accelerator.is_main_process:
        made = {"made": state.step - before, **how(cost, 1, job.threads, device(_name(accelerator)))}
        record = _record(job, faces, crops, state, key) | {"processes": world} | made
        trained.write(job.folder, accelerator.unwrap_model(state.trainee).backbone, state.rows, record)


def _name(accelerator: Accelerator) -> str:
    """Return the device as `execution.device` names it; accelerate numbers the CPU, and the current GPU has none."""
    import torch

    found = accelerator.device
    if found.type == "cpu":
        return "cpu"
    return f"{found.type}:{torch.cuda.current_device() if found.index is None else found.index}"


def _record(job: Job, faces: FaceSet, crops: Crops, state: State, key: str) -> dict[str, Any]:
    return {
        "id": key,
        **trained.layout(job.recipe),
        "trained_on": trained.trained_on(faces),
        "faces": {"name": faces.record.get("name", faces.folder.name), "content": faces.record["content"]},
        "images": len(crops),
        "identities": crops.classes,
        "dropped_identities": crops.dropped,
        "tried_images": len(faces.tried()),
        "recipe": job.recipe.model_dump(),
        "options": job.options.model_dump(),
        "epochs": state.step / crops.steps,
        "epoch_rule": "last",
        "looked_at_test_sets": job.recipe.schedule.kind == "plateau",
    }


def _new(job: Job, crops: Crops) -> State:
    import torch

    from bench.recognition.network import Trainee, initialise, optimiser

    torch.manual_seed(job.options.seed)
    backbone = build(job.recipe.network)
    initialise(backbone)
    trainee = Trainee(backbone, job.recipe.head.build(512, crops.classes)).train()
    trainee = trainee.to(memory_format=torch.channels_last)
    return State(trainee, optimiser(trainee, job.recipe.rate, job.recipe.momentum, job.recipe.decay))


def _run(job: Job, crops: Crops, state: State, accelerator: Accelerator, key: str) -> None:
    total, saved = crops.steps * job.recipe.epochs, time.monotonic()
    bar = progress(total * job.recipe.batch, f"train {job.folder.name}")
    bar.update(state.step * job.recipe.batch)
    for images, labels in _batches(crops, state.step, total, job.options.loaders):
        if ends_early(job.recipe.schedule, log.accuracies(state.rows)):
            break
        _step(job, crops, state, accelerator, images, labels)
        bar.update(job.recipe.batch)
        ended = state.step % crops.steps == 0
        if ended or state.step % job.options.log_every == 0:
            state.rows.append(log.row(job, crops, state, accelerator, ended))
            state.losses = []
        if ended or time.monotonic() - saved > job.options.save_every:
            _check_weights(job, crops, state)
            state.save(job.folder / RESUME, accelerator, key)
            saved = time.monotonic()
    bar.close()


def _batches(crops: Crops, first: int, total: int, loaders: int) -> Iterator[tuple[Tensor, Tensor]]:
    from torch.utils.data import DataLoader

    steps = range(first, total)
    return iter(DataLoader(crops, batch_size=None, sampler=steps, num_workers=loaders))  # type: ignore[arg-type]


def _step(job: Job, crops: Crops, state: State, accelerator: Accelerator, images: Tensor, labels: Tensor) -> None:
    import torch

    recipe = job.recipe
    rate = rate_at(recipe, state.step / crops.steps, log.accuracies(state.rows))
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    seed = np.random.default_rng([job.options.seed, state.step, accelerator.process_index]).integers(2**62)
    torch.manual_seed(int(seed))
    state.trainee.train()
    with accelerator.autocast():
        loss = state.trainee(as_input(images, recipe.colour, accelerator.device), labels.to(accelerator.device))
    value = float(accelerator.reduce(loss.detach(), "mean"))
    if not math.isfinite(value):
        raise _diverged(job, crops, state, f"the loss is {value}")
    state.optimiser.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    if recipe.clip is not None:
        accelerator.clip_grad_norm_(state.trainee.parameters(), recipe.clip)
    state.optimiser.step()
    state.step += 1
    state.losses.append(value)


def _check_weights(job: Job, crops: Crops, state: State) -> None:
    """Check that a checkpoint would be one to go on from: a loss can be finite whose gradient is not."""
    import torch

    if not all(bool(torch.isfinite(weight).all()) for weight in state.trainee.parameters()):
        raise _diverged(job, crops, state, "a weight is not finite")


def _diverged(job: Job, crops: Crops, state: State, what: str) -> UserError:
    kept = f"the last checkpoint, {job.folder / RESUME}, stays" if (job.folder / RESUME).exists() else "none was kept"
    return UserError(
        f"{what} at step {state.step} (epoch {state.step // crops.steps}); {kept}: lower recipe.rate or set recipe.clip"
    )
