"""Which engine makes the shards of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

from bench.console import say
from bench.devices import gpus
from bench.errors import UserError
from bench.execution.engine import Engine, Stage, command
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
    """Return the engine that makes the shards of a stage."""
    devices = devices_of(execution)
    if execution.engine == "manual":
        return Manual(execution.workers)
    if execution.engine == "slurm":
        return Slurm(execution.sbatch, partial(_command, execution, devices, ()))
    if execution.engine == "ray":
        gpus_of_task = 0 if execution.device == "cpu" else 1
        return Ray(execution.address, gpus_of_task, partial(_command, execution, devices, (WITH_PARENT,)))
    if execution.shard_minutes is None and min(execution.workers, len(task.missing())) == 1:
        return Here(task, execution.threads)
    return Local(_places(execution, devices), partial(_command, execution, devices, (WITH_PARENT,)))


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
