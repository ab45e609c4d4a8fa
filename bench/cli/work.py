"""`python -m bench work`: make some shards of a stage, in a process that any scheduler may start."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from bench.console import verb_parser
from bench.errors import UserError
from bench.execution.devices import claim
from bench.execution.engine import Stage, parse_part
from bench.execution.engines import WITH_PARENT
from bench.execution.work import let_go, prepare_process, work


def main(argv: Sequence[str]) -> int:
    """Make some shards of a stage of a run that `generate`, `extract` or `run` has begun; those that exist are kept."""
    parser = verb_parser("work", main)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("stage", help="references, generate, photos, reference-set, extract")
    parser.add_argument("part", help="3/32 for the third of 32 parts, or shards such as 0-7,12")
    parser.add_argument("--devices", help="GPUs of this machine, such as cuda:0,cuda:1: the first free one is used")
    parser.add_argument("--minutes", type=float, help="the process ends where a shard takes longer")
    parser.add_argument(WITH_PARENT, action="store_true", help="the process ends when its standard input does")
    arguments = parser.parse_args(argv)
    if arguments.end_with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    device = None
    if arguments.devices:
        # Before torch is loaded, which looks for GPUs once.
        claim(arguments.devices.split(","))
        device = "cuda"
    return _work(Stage(arguments.run, arguments.stage), arguments.part, arguments.minutes, device)


def _work(stage: Stage, part: str, minutes: float | None, device: str | None) -> int:
    from bench.stages.tasks import rebuilt, record_device

    if not (stage.folder / "run.json").exists():
        raise UserError(f"{stage.folder} is not the folder of a run; `python -m bench ls runs` lists them")
    task, spec = rebuilt(stage, device)
    prepare_process(spec.execution.threads)
    shards = parse_part(part, len(task.sizes))
    if spec.execution.engine != "local":
        record_device(stage, spec)
    work(task, shards, minutes)
    return 1 if any(not task.is_whole(shard) for shard in shards) else 0


def _end_with_stdin() -> None:
    """End this process when the one that started it ends: it must not go on writing."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    try:
        let_go()
    finally:
        os._exit(1)
