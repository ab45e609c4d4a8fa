"""The verb `recognition`: train recognisers, test them, and hold them against published accuracies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from bench.cli.configured import Command, configured, options_of
from bench.console import say, show
from bench.errors import UserError, unknown
from bench.identity import RECORDED, Spec

if TYPE_CHECKING:
    from bench.execution.local import Work
    from bench.recognition.job import Job
    from bench.recognition.testing import Published, Tested
    from bench.spec import RunSpec


SHOWN = ["recogniser", "set", "pairs", "accuracy", "fold_se", "low", "high", "tar@0.01", "note"]
"""Columns of a test that the terminal shows."""


class Task(Spec):
    """What is trained or tested; see conf/recognition.yaml."""

    faces: Annotated[Path | None, RECORDED]
    pairs: Annotated[Path | None, RECORDED]
    sets: Annotated[tuple[str, ...], RECORDED]
    seeds: Annotated[tuple[int, ...], Field(min_length=1), RECORDED]
    to: Annotated[Path | None, RECORDED]
    recognisers: Annotated[tuple[str, ...], RECORDED]
    published: Annotated[str | None, RECORDED]
    flip: Annotated[bool, RECORDED]
    batch: Annotated[int, Field(ge=1), RECORDED]


def main(argv: Sequence[str]) -> int:
    """Train a recogniser, test recognisers, or hold one against its published accuracy."""
    commands = {
        "train": Command(_train, "train a recogniser on a face set, once for each seed"),
        "test": Command(_test, "ten-fold accuracy on verification sets; two recognisers are compared pair by pair"),
        "gate": Command(_gate, "does each recogniser reach its published accuracy?"),
    }
    return configured("recognition", "recognition", commands, argv)


def _parsed(config: Any) -> tuple[Any, Task, Any, Any]:
    """The run's spec, the task, how the training is run, and the recipe."""
    from bench.recognition.job import TrainOptions
    from bench.recognition.recipe import parse
    from bench.spec import from_mapping, plain
    from bench.stages.run import on_device

    values = plain(config)
    task, options = options_of(values.pop("recognition"), "recognition", Task, TrainOptions)
    recipe = parse(values.pop("recipe"))
    return on_device(from_mapping(values)), task, options, recipe


def _train(config: Any) -> None:
    from bench.execution.local import run_shards
    from bench.facesets.store import FaceSet
    from bench.recognition.job import Job, job_id
    from bench.recognition.launched import is_main
    from bench.recognition.pairs import find_pairs
    from bench.recognition.trained import RECORD

    spec, task, options, recipe = _parsed(config)
    if task.faces is None:
        raise UserError("recognition.faces is missing; give it as recognition.faces=DIR, the folder of a face set")
    faces, pairs = FaceSet(task.faces), find_pairs(task.pairs, task.sets) if task.pairs else []
    jobs = []
    for seed in task.seeds:
        own = options.model_copy(update={"seed": seed})
        name = f"{task.faces.name}-{recipe.name}-{seed}-{job_id(recipe, own, faces)[:8]}"
        folder = (task.to or spec.out / "recognition") / name
        execution = spec.execution
        jobs.append(Job(folder, task.faces, recipe, own, pairs, execution.device, execution.threads))
    _check_workers(spec.execution.workers)
    todo = [number for number, job in enumerate(jobs) if not (job.folder / RECORD).exists()]
    run_shards(partial(_trainer, jobs), todo, [1] * len(jobs), spec.execution, "train")
    if is_main():
        for job in jobs:
            show(str(job.folder))


def _check_workers(workers: int) -> None:
    from bench.recognition.launched import processes

    if workers > 1 and processes() > 1:
        raise UserError(f"one training has {processes()} processes here: give execution.workers=1, or no launcher")


def _trainer(jobs: Sequence[Job]) -> Work:
    from bench.execution.local import Work
    from bench.recognition.training import train

    def one(number: int, _: None, advance: Callable[[int], object]) -> None:
        train(jobs[number])
        advance(1)

    return Work(one)


def _tested(spec: RunSpec, task: Task, names: Sequence[str]) -> dict[str, list[Tested]]:
    """Each named recogniser's result on each set."""
    from bench.recognition.pairs import find_pairs
    from bench.recognition.readers import reader
    from bench.recognition.testing import evaluate

    if task.pairs is None or not task.recognisers:
        raise UserError(
            "give recognition.pairs=DIR (verification sets) and recognition.recognisers=[...] (folders of trained "
            "ones, or names of the evaluator's)"
        )
    sets, results = find_pairs(task.pairs, task.sets), {}
    for name in names:
        found = reader(spec, name)
        say(f"{found.name}, trained on: {found.trained_on or 'unknown'}")
        results[found.name] = [evaluate(found.network, pairs, task.batch, task.flip) for pairs in sets]
    return results


def _test(config: Any) -> None:
    import pandas as pd

    from bench.recognition.testing import table

    spec, task, _, _ = _parsed(config)
    results = _tested(spec, task, task.recognisers)
    for name, tests in results.items():
        frame = table(tests)
        show(frame.assign(recogniser=name)[SHOWN].to_string(index=False))
        show(f"{name}: average {frame['accuracy'].mean():.4f}\n")
    rows = [_compared(one, other, results) for one, other in combinations(results, 2)]
    if rows:
        show("McNemar's test on the pairs of all sets:")
        show(pd.DataFrame(rows).to_string(index=False))


def _compared(one: str, other: str, results: dict[str, list[Tested]]) -> dict[str, Any]:
    import numpy as np

    from bench.recognition.verification import mcnemar

    found = mcnemar(*(np.concatenate([tested.right for tested in results[name]]) for name in (one, other)))
    return {"first": one, "second": other, **vars(found)}


def _gate(config: Any) -> None:
    from bench.recognition.testing import gate, table

    spec, task, _, _ = _parsed(config)
    known = _known(task)
    for name, one in known.items():
        if not one.accuracies:
            show(f"{name}: not tested, no accuracy is published ({one.source})")
    held = [name for name, one in known.items() if one.accuracies]
    if task.recognisers and not held:
        raise UserError("nothing was tested: none of these recognisers has a published accuracy")
    failed = []
    for name, tests in zip(held, _tested(spec, task, held).values(), strict=True):
        found = gate(table(tests), known[name].accuracies)
        show(f"{name} against {known[name].source}:\n{found.to_string(index=False)}")
        failed += [] if found.loc[found["measured"].notna(), "passes"].all() else [name]
    if failed:
        raise UserError(f"{', '.join(failed)}: below the published accuracy; check colour, alignment and weights")


def _known(task: Task) -> dict[str, Published]:
    """Return what is published of each recogniser of the task, or of the one that all are to be held against."""
    from bench.recognition.testing import Published, published

    stored = published()
    if task.published is not None and task.published not in stored:
        raise unknown("published recogniser", task.published, stored)
    nothing = Published(
        {}, "it is not in reports/published/recognisers.csv; recognition.published=NAME takes another's"
    )
    return {name: stored.get(task.published or Path(name).name, nothing) for name in task.recognisers}
