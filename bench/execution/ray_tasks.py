"""Ray: one task for each part. A task starts the same command as any other engine."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.execution.engine import Command, Stage

STORE = 80 * 2**20
"""Bytes of Ray's object store, its least: nothing but names travels."""
_OF_RAY = ("RAY_", "CUDA_VISIBLE_DEVICES")
"""Beginnings of variables that a task has of Ray, not of the driver."""


@dataclass(frozen=True)
class Ray:
    """The engine of a Ray cluster whose nodes see this package and the run at the same place.

    Attributes:
        address: of the cluster; "": RAY_ADDRESS, else a Ray of this machine alone.
        gpus: that a task gets.
        command: what a task starts; it ends when its standard input does, so with its task.
    """

    address: str
    gpus: int
    command: Command

    def attempt(self, stage: Stage, parts: Sequence[Sequence[int]]) -> None:
        """Hand out a task for each part, and wait until none is left; a part whose node is lost is not made again here.

        Raises:
            UserError: Ray is not installed, or its cluster cannot be reached.
        """
        ray = _connected(self.address)
        here = _environment()
        # No retries: the loop behind all engines makes them, and Ray's own never end where memory is short.
        remote = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=0)(_run)
        logs = [str(stage.notes.absolute() / f"part-{number}.log") for number in range(1, len(parts) + 1)]
        tasks = [
            remote.remote(self.command(stage, part), log, os.getcwd(), here)
            for part, log in zip(parts, logs, strict=True)
        ]
        waiting = tasks
        try:
            while waiting:
                _, waiting = ray.wait(waiting, num_returns=1)
        finally:
            for task in waiting:
                ray.cancel(task, force=True)


def _connected(address: str) -> Any:
    """Return Ray, connected by the first stage of this process."""
    try:
        import ray
    except ImportError as error:
        raise UserError("execution=ray needs Ray: python -m pip install 'idbench[ray]'") from error
    if ray.is_initialized():
        return ray
    where = address or os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = {} if where else {"object_store_memory": STORE, "include_dashboard": False}
    try:
        ray.init(address=where or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"cannot reach Ray at {where or 'this machine'}: {str(error).splitlines()[0]}") from error
    return ray


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OF_RAY)}


def _run(command: Sequence[str], log: str, folder: str, environment: Mapping[str, str]) -> None:
    """Run a command where the driver would, and end with it."""
    of_ray = {name: value for name, value in os.environ.items() if name.startswith(_OF_RAY)}
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with Path(log).open("ab") as file:
        started = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=file, cwd=folder, env={**environment, **of_ray},
        )  # fmt: skip
        started.wait()
