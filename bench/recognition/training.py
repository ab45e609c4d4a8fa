"""Train a recogniser on a face set: seeded, resumable at any instant, on a CPU, a GPU, or several (accelerate).

<folder>/resume.pt                all that is needed to go on; deleted by nobody
<folder>/recogniser.safetensors   the backbone of the last epoch, with the keys of AdaFace's official files
<folder>/recogniser.json          what it is
<folder>/log.parquet, log.png, .pdf   loss, learning rate and accuracy over time
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from bench.console import progress
from bench.errors import UserError
from bench.execution.local import limit_threads
from bench.extractors.backbones import TITLES, build
from bench.facesets.store import FaceSet
from bench.identity import IDENTITY, RECORDED, Spec, digest, identity
from bench.provenance import environment
from bench.recognition.augment import augment
from bench.recognition.pairs import Pairs
from bench.recognition.recipe import Recipe, ends_early, rate_at
from bench.recognition.testing import evaluate
from bench.store import locked, read_json, sweep, write_json, write_table

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from torch import Tensor, nn

WEIGHTS = "recogniser.safetensors"
RECORD = "recogniser.json"
RESUME = "resume.pt"
TEST_BATCH = 64


class TrainOptions(Spec):
    """How a training is run.

    Attributes:
        seed: of the first weights, the order of the images and their changes.
        test_every: epochs between two tests on the given sets; 0: the last epoch alone is tested.
        log_every: steps between two rows of the log.
        save_every: seconds between two checkpoints; one is also written at the end of each epoch.
        loaders: processes that read images ahead; 0: the training reads them itself.
    """

    seed: Annotated[int, IDENTITY, Field(ge=0)] = 0
    test_every: Annotated[int, RECORDED, Field(ge=0)] = 0
    log_every: Annotated[int, RECORDED, Field(ge=1)] = 100
    save_every: Annotated[float, RECORDED, Field(ge=0)] = 120.0
    loaders: Annotated[int, RECORDED, Field(ge=0)] = 0


@dataclass(frozen=True, eq=False)
class Job:
    """A training.

    Attributes:
        folder: where to.
        faces: folder of the face set.
        recipe: how.
        options: see `TrainOptions`.
        pairs: sets to test on; they decide nothing, but for a recipe whose schedule is a plateau.
        device: "cpu" or "cuda".
        threads: of this process.
    """

    folder: Path
    faces: Path
    recipe: Recipe
    options: TrainOptions
    pairs: Sequence[Pairs] = ()
    device: str = "cpu"
    threads: int = 1


def job_id(recipe: Recipe, options: TrainOptions, faces: FaceSet) -> str:
    """Return the identity of a training: recipe, seed and the crops of the set."""
    return digest({"recipe": identity(recipe), "options": identity(options), "faces": faces.record["content"]})


class Crops:
    """The crops of a face set that a recipe trains on, in batches that depend on the step alone.

    Attributes:
        labels: (n,) class of each crop, 0 to `classes` - 1.
        classes: number of identities with enough crops.
        dropped: number of identities without.
    """

    def __init__(self, faces: FaceSet, recipe: Recipe, seed: int, rank: int = 0, world: int = 1) -> None:
        self._faces, self._recipe, self._seed, self._rank, self._world = faces, recipe, seed, rank, world
        enough = faces.per_identity() >= recipe.min_images
        self._kept = np.flatnonzero(enough[faces.labels])
        self.labels = (np.cumsum(enough) - 1)[faces.labels[self._kept]]
        self.classes, self.dropped = int(enough.sum()), int((~enough).sum())
        self._order = lru_cache(maxsize=2)(self._shuffled)
        if self.steps < 1 or self.classes < 2:
            raise UserError(
                f"{faces.folder} has {len(self._kept)} crops of {self.classes} identities with at least "
                f"{recipe.min_images}: too few for recipe.batch={recipe.batch}"
            )

    @property
    def steps(self) -> int:
        """Steps in an epoch; what is left over is dropped."""
        return len(self._kept) // self._recipe.batch

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, step: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """This process's part of the batch of a step: (b, 112, 112, 3) uint8 RGB, and (b,) classes."""
        epoch, number = divmod(step, self.steps)
        size = self._recipe.batch
        places = self._order(epoch)[number * size : (number + 1) * size][self._rank :: self._world]
        return np.stack([self._changed(epoch, int(place)) for place in places]), self.labels[places]

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._kept))

    def _changed(self, epoch: int, place: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng([self._seed, epoch, place])
        return augment(self._faces.image(int(self._kept[place])), self._recipe.augmentation, rng)


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


def as_input(images: Tensor, colour: str, device: Any) -> Tensor:
    """Return (b, 3, 112, 112) float32 in [-1, 1] of (b, 112, 112, 3) uint8 RGB, in the order that the network reads.

    They lie in memory with the channels last, in which convolutions are faster.
    """
    import torch

    planes = images.to(device, non_blocking=True).permute(0, 3, 1, 2)
    planes = planes if colour == "rgb" else planes.flip(1)
    return planes.float().div(255).sub(0.5).div(0.5).contiguous(memory_format=torch.channels_last)


def train(job: Job) -> Path:
    """Train, or go on where the training was stopped; a finished one is left as it is.

    Returns:
        The folder.

    Raises:
        UserError: too few crops; or the loss is not a number, which ends the training and keeps the last checkpoint.
    """
    from accelerate import Accelerator

    faces = FaceSet(job.faces)
    limit_threads(job.threads)
    mixed = "no" if job.recipe.precision == "fp32" else job.recipe.precision
    accelerator = Accelerator(mixed_precision=mixed, cpu=job.device == "cpu")
    with _held(job.folder, accelerator):
        if not _is_finished(job.folder, accelerator):
            _train(job, faces, accelerator)
    return job.folder


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
    return bool(_from_main((folder / RECORD).exists(), accelerator))


def _from_main(value: Any, accelerator: Accelerator) -> Any:
    """Return the main process's value in every process: all must decide alike, or they wait for each other forever."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value


def _train(job: Job, faces: FaceSet, accelerator: Accelerator) -> None:
    rank, world = accelerator.process_index, accelerator.num_processes
    if job.recipe.batch % world or job.recipe.batch // world < 2:
        raise UserError(f"recipe.batch={job.recipe.batch} must be a multiple of the {world} processes, two each")
    key = job_id(job.recipe, job.options, faces)
    crops = Crops(faces, job.recipe, job.options.seed, rank, world)
    state = _new(job, crops)
    state.trainee, state.optimiser = accelerator.prepare(state.trainee, state.optimiser)
    state.load(job.folder / RESUME, accelerator, key)
    _run(job, crops, state, accelerator, key)
    if accelerator.is_main_process:
        _write(job, faces, crops, state, accelerator, key)


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
        if ends_early(job.recipe.schedule, accuracies(state.rows)):
            break
        _step(job, crops, state, accelerator, images, labels)
        bar.update(job.recipe.batch)
        ended = state.step % crops.steps == 0
        if ended or state.step % job.options.log_every == 0:
            state.rows.append(_log(job, crops, state, accelerator, ended))
            state.losses = []
        if ended or time.monotonic() - saved > job.options.save_every:
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
    rate = rate_at(recipe, state.step / crops.steps, accuracies(state.rows))
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    seed = np.random.default_rng([job.options.seed, state.step, accelerator.process_index]).integers(2**62)
    torch.manual_seed(int(seed))
    state.trainee.train()
    with accelerator.autocast():
        loss = state.trainee(as_input(images, recipe.colour, accelerator.device), labels.to(accelerator.device))
    value = float(accelerator.reduce(loss.detach(), "mean"))
    if not math.isfinite(value):
        raise UserError(
            f"the loss is {value} at step {state.step} (epoch {state.step // crops.steps}); the checkpoint in "
            f"{job.folder} is the last good one: lower recipe.rate or set recipe.clip"
        )
    state.optimiser.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    if recipe.clip is not None:
        accelerator.clip_grad_norm_(state.trainee.parameters(), recipe.clip)
    state.optimiser.step()
    state.step += 1
    state.losses.append(value)


def _log(job: Job, crops: Crops, state: State, accelerator: Accelerator, ended: bool) -> dict[str, Any]:
    """A row of the log; at the end of some epochs with the accuracy on each set."""
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
    return row | _from_main(measured, accelerator)


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


def _write(job: Job, faces: FaceSet, crops: Crops, state: State, accelerator: Accelerator, key: str) -> None:
    from safetensors.torch import save_file

    from bench.recognition.figures import write_log

    network = accelerator.unwrap_model(state.trainee).backbone
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    unfinished = job.folder / f".tmp-{WEIGHTS}"
    save_file(tensors, unfinished)
    os.replace(unfinished, job.folder / WEIGHTS)
    log = pd.DataFrame(state.rows)
    write_table(job.folder / "log.parquet", log)
    write_log(log, job.folder / "log")
    write_json(job.folder / RECORD, _record(job, faces, crops, state, accelerator, key))


def _record(job: Job, faces: FaceSet, crops: Crops, state: State, accelerator: Accelerator, key: str) -> dict[str, Any]:
    return {
        "id": key,
        "name": "adaface",
        "network": job.recipe.network,
        "layout": TITLES[job.recipe.network],
        "colour": job.recipe.colour,
        "trained_on": trained_on(faces),
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
        "processes": accelerator.num_processes,
        "device": str(accelerator.device),
        "environment": environment(),
    }


def trained_on(faces: FaceSet) -> str:
    """Return what a recogniser of this set was trained on, in the words of `trained_on`: the set, and what made it."""
    record = faces.record
    made_by = f" by {record['method']}" if record.get("method") else ""
    sets = ", ".join(record.get("card", {}).get("training_sets", ()))
    name = record.get("name", faces.folder.name)
    return f"{name}: {len(faces)} images of {faces.identities} identities{made_by}" + (
        f" (from {sets})" if sets else ""
    )


def untrained(recipe: Recipe, seed: int, folder: Path) -> Path:
    """Write the recipe's network with its first values, as the floor of a table, and return the folder."""
    import torch
    from safetensors.torch import save_file

    from bench.recognition.network import initialise

    torch.manual_seed(seed)
    network = build(recipe.network)
    initialise(network)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS)
    record = {"name": "adaface", "network": recipe.network, "layout": TITLES[recipe.network], "colour": recipe.colour}
    write_json(folder / RECORD, record | {"trained_on": "nothing", "images": 0, "identities": 0, "epochs": 0})
    return folder


def extractor(folder: Path, device: str = "cpu") -> Any:
    """Return a trained recogniser as an extractor of the panel.

    Raises:
        UserError: there is none in `folder`.
    """
    from bench.extractors.adaface import AdaFace
    from bench.runtime import Runtime

    if not (folder / RECORD).is_file():
        raise UserError(f"no {RECORD} in {folder}: no recogniser, or its training has not ended; run it again")
    record = read_json(folder / RECORD)
    options = AdaFace.Options(
        weights=folder / WEIGHTS,
        network=record["network"],
        colour=record["colour"],
        trained_on=record["trained_on"],
        batch=TEST_BATCH,
    )
    return AdaFace(options, Runtime(device))
