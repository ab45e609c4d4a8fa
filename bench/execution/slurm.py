"""Slurm: one array of jobs for each attempt. Neither accounting nor a package is needed."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import UserError
from bench.execution.engine import Command, Stage
from bench.store import write_atomic


@dataclass(frozen=True)
class Slurm:
    """The engine of a Slurm cluster, on a disk that every node sees at the same place.

    Attributes:
        options: of sbatch, by their long names.
        command: what a job is started with.
    """

    options: Mapping[str, object]
    command: Command

    def attempt(self, stage: Stage, parts: Sequence[Sequence[int]]) -> None:
        """Submit an array with a task for each part, and wait until Slurm has none of it left.

        Raises:
            UserError: sbatch is not there, or refuses; its own words.
        """
        script = stage.notes / "array.sh"
        write_atomic(script, _script([self.command(stage, part) for part in parts]).encode())
        asked = [
            "sbatch", "--wait", "--parsable", "--requeue", "--open-mode=append", f"--job-name=idbench-{stage.name}",
            f"--array=0-{len(parts) - 1}", f"--output={stage.notes.absolute()}/part-%a.log",
            *_options(self.options), str(script),
        ]  # fmt: skip
        try:
            process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError as error:
            raise UserError("execution=slurm needs sbatch, which is not on the PATH of this machine") from error
        _wait(process)


def _script(commands: Sequence[Sequence[str]]) -> str:
    """Return the script of the array: each task becomes its part's command."""
    cases = [f"{number}) exec {shlex.join(command)} ;;" for number, command in enumerate(commands)]
    return "\n".join(["#!/bin/bash", 'case "$SLURM_ARRAY_TASK_ID" in', *cases, "esac", ""])


def _options(options: Mapping[str, object]) -> list[str]:
    """Return options of sbatch as it takes them; one that is true has no value.

    >>> _options({"partition": "gpu", "gpus-per-task": 1, "exclusive": True, "overcommit": False})
    ['--partition=gpu', '--gpus-per-task=1', '--exclusive']
    """
    given = {name: value for name, value in options.items() if value is not False}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]


def _wait(process: subprocess.Popen[str]) -> None:
    """Wait for an array; cancel it where this process is interrupted.

    The exit code is not asked: it is that of the jobs, and the disk knows better.
    """
    assert process.stdout is not None
    job = process.stdout.readline().strip().partition(";")[0]
    try:
        _, said = process.communicate()
    except BaseException:
        if job:
            subprocess.run(["scancel", job], check=False)
        process.kill()
        raise
    if not job:
        raise UserError(f"sbatch refuses: {' '.join(said.split()) or f'exit code {process.returncode}'}")
