"""Which engine makes the shards of a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

from bench import registry
from bench.console import say
from bench.devices import gpus
from bench.errors import UserError
from bench.execution.engine import Command, Engine, Stage, command
from bench.execution.here import Here
from bench.execution.manual import Manual
from bench.execution.processes import Local
from bench.execution.ray_tasks import Ray
from bench.execution.shards import run_shards, watched
from bench.execution.slurm import Slurm
from bench.execution.work import Task
from bench.spec import Execution

WITH_PARENT = "--end-with-stdin"
"""Option of the verb `work`: its process ends when its standard input does."""


Build = Callable[[Task, Execution, Sequence[str]], Engine]
"""(task, execution, GPUs that its processes share out) -> an engine: what is registered by a name."""


def make(task: Task, execution: Execution) -> int:
    """Make the shards of a stage that are not whole, by the engine of `execution`; return how many there were.

    Raises:
        UserError: the engine is not there; or as `run_shards`.
    """
    missing = len(task.missing())
    if not missing:
        return 0
    engine = engine_of(task, execution)
    # This process shows its own progress.
    with nullcontext() if isinstance(engine, Here) else watched(task):
        run_shards(task, engine, execution)
    return missing


def engine_of(task: Task, execution: Execution) -> Engine:
    """Return the engine that makes the shards of a stage.

    Raises:
        UserError: it is not registered, or cannot be imported.
    """
    build: Build = registry.get("engines", execution.engine)
    return build(task, execution, devices_of(execution))


def manual(task: Task, execution: Execution, devices: Sequence[str]) -> Engine:
    """Return the engine that leaves processes to the user."""
    return Manual(execution.workers)


def slurm(task: Task, execution: Execution, devices: Sequence[str]) -> Engine:
    """Return the engine of arrays of jobs."""
    return Slurm(execution.sbatch, command_of(execution, devices))


def ray(task: Task, execution: Execution, devices: Sequence[str]) -> Engine:
    """Return the engine of a Ray cluster's tasks."""
    gpus_of_task = 0 if execution.device == "cpu" else 1
    return Ray(execution.address, gpus_of_task, command_of(execution, devices, WITH_PARENT))


def local(task: Task, execution: Execution, devices: Sequence[str]) -> Engine:
    """Return the engine of this machine: this process where one is enough, else processes of its own."""
    if execution.shard_minutes is None and min(execution.workers, len(task.missing())) == 1:
        return Here(task, execution.threads)
    return Local(_places(execution, devices), command_of(execution, devices, WITH_PARENT))


def command_of(execution: Execution, devices: Sequence[str], *options: str) -> Command:
    """Return the function from a part of a stage to the command that makes it.

    Args:
        execution: whose limit of time the processes keep.
        devices: GPUs of which each process claims one; none: it takes its device as it finds it.
        options: further ones of the verb `work`.
    """
    return partial(_command, execution, devices, options)


def _command(
    execution: Execution, devices: Sequence[str], options: Sequence[str], stage: Stage, part: Sequence[int]
) -> list[str]:
    of_devices = ["--devices", ",".join(devices)] if devices else []
    of_minutes = [] if execution.shard_minutes is None else ["--minutes", str(execution.shard_minutes)]
    return [*command(stage, part), *of_devices, *of_minutes, *options]


def devices_of(execution: Execution) -> list[str]:
    """Return the GPUs that the workers share out among them; none where a worker takes its device as it finds it.

    Raises:
        UserError: devices are named, but the device is the CPU.
    """
    if execution.devices != "auto":
        if execution.device == "cpu":
            raise UserError("execution.devices names GPUs, but execution.device=cpu; say execution.device=cuda")
        return list(execution.devices)
    is_shared = execution.engine == "local" and execution.workers > 1 and execution.device != "cpu"
    if not is_shared:
        return []
    return gpus() if execution.device == "cuda" else [execution.device]


def _places(execution: Execution, devices: Sequence[str]) -> int:
    """Return how many processes run at once: one for each device."""
    if not devices or execution.workers <= len(devices):
        return execution.workers
    say(
        f"execution.workers={execution.workers}: {len(devices)} processes, one for each of {', '.join(devices)}; "
        "name a device twice in execution.devices to give it two"
    )
    return len(devices)
