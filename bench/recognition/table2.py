"""Table 2 of the paper from beginning to end: people are sampled, drawn, learned from, and the recogniser is tested.

    <out>/table2/fit/            components of the recogniser's embeddings
    <out>/table2/people/         the sampled identities
    <out>/table2/sets/           the synthetic set, and the real one where it is rendered
    <out>/table2/pairs/          verification sets, where they are rendered
    <out>/table2/trained/        a recogniser for each row and seed
    <out>/table2/report/         the table

What is there is not made again. In the embedded world rendered people take the place of photographs: those whom
the real-data row learns from, those whose embeddings are fitted, and those on whom every recogniser is tested are
different people.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bench.errors import UserError
from bench.execution.local import Advance, Work, run_shards
from bench.experiment import Experiment
from bench.facesets import making
from bench.facesets.check import check, chosen, embed
from bench.facesets.store import FaceSet
from bench.identities import fitting, people
from bench.identities.fitting import Block, FitOptions
from bench.identity import IDENTITY, RECORDED, Spec, digest, identity
from bench.recognition import trained, training
from bench.recognition.job import Job, TrainOptions, job_id
from bench.recognition.launched import processes
from bench.recognition.pairs import Pairs, find_pairs
from bench.recognition.readers import reader
from bench.recognition.recipe import Recipe
from bench.recognition.rendered import PER_PERSON, Cast, Rendered, most_pairs, write_crops, write_lists
from bench.recognition.report import Outcome, write
from bench.recognition.testing import decisions, evaluate, table
from bench.report.results import Finding, folder_of, write_finding
from bench.runtime import Runtime
from bench.spec import RunSpec, detector_id
from bench.store import locked, read_json, read_table, write_table

TESTS = "tests.parquet"
"""In the folder of a recogniser: its accuracy on each verification set."""
UNTRAINED, REAL = "untrained", "real"
_PAIRS = 37
"""Added to the world's seed for the verification sets."""
_BLOCKS = 10
"""Parts in which the crops of the verification sets are made."""
Seeds = Annotated[tuple[int, ...], Field(min_length=1), RECORDED]


class World(Spec):
    """How much is rendered where a user gives nothing.

    Attributes:
        fit_people: people whose embeddings are fitted, with `fit_images` of each.
        fit_images: see `fit_people`.
        real_people: people of the real-data row, with `real_images` of each.
        real_images: see `real_people`.
        frontal: 0 (all poses and expressions) to 1 of those images.
        test_people: people of the verification sets.
        pairs: in each verification set.
        seed: of all of them.
    """

    fit_people: Annotated[int, IDENTITY, Field(ge=2)] = 500
    fit_images: Annotated[int, IDENTITY, Field(ge=1)] = 2
    real_people: Annotated[int, IDENTITY, Field(ge=2)] = 200
    real_images: Annotated[int, IDENTITY, Field(ge=2)] = 10
    frontal: Annotated[float, IDENTITY, Field(ge=0, le=1)] = 0.3
    test_people: Annotated[int, IDENTITY, Field(ge=20, multiple_of=10)] = 150
    pairs: Annotated[int, IDENTITY, Field(ge=20, multiple_of=20)] = 600
    seed: Annotated[int, IDENTITY, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _enough_people(self) -> World:
        if self.pairs > (most := most_pairs(self.test_people)):
            raise ValueError(f"{self.test_people} test_people make {most} different pairs at most")
        return self


class Table2(Spec):
    """The experiment.

    Attributes:
        label: name of the synthetic set's row.
        fit: folder of a fit; None: of rendered people.
        real: folder of a face set of photographs; None: of rendered people.
        pairs: folder of verification sets; None: of rendered people.
        sets: names of the verification sets.
        recogniser: whose embeddings are fitted.
        judge: the recogniser that looks at the sets; none that the method follows.
        options: of the fit.
        sample: which people.
        faceset: how their images become crops.
        world: what is rendered.
        recipe: how recognisers are trained.
        train: how the training is run; its seed is one of `seeds`.
        seeds: of the trainings.
    """

    label: Annotated[str, RECORDED]
    fit: Annotated[Path | None, RECORDED] = None
    real: Annotated[Path | None, RECORDED] = None
    pairs: Annotated[Path | None, RECORDED] = None
    sets: Annotated[tuple[str, ...], Field(min_length=1), RECORDED]
    recogniser: Annotated[str, RECORDED] = "arcface"
    judge: Annotated[str, RECORDED] = "judge"
    options: Annotated[FitOptions, RECORDED] = FitOptions()
    sample: Annotated[people.SampleOptions, RECORDED]
    faceset: Annotated[making.SetOptions, RECORDED] = making.SetOptions()
    world: Annotated[World, RECORDED] = World()
    recipe: Annotated[Recipe, RECORDED]
    train: Annotated[TrainOptions, RECORDED] = TrainOptions()
    seeds: Seeds = (0,)


@dataclass(frozen=True, eq=False)
class Entry:
    """One trained (or untrained) recogniser of the table.

    Attributes:
        row: name of the row.
        faces: folder of the face set; None for the untrained floor.
        seed: of the training.
        folder: of the recogniser.
    """

    row: str
    faces: Path | None
    seed: int
    folder: Path


def run(spec: RunSpec, plan: Table2) -> Path:
    """Run the experiment, or go on where it was stopped, and return the folder of its report."""
    if processes() > 1:
        raise UserError("experiment=table2 runs without a launcher; execution.workers=N trains several rows at once")
    base = spec.out / "table2"
    with locked(base):
        pairs = find_pairs(plan.pairs or _pairs(spec, plan, base), plan.sets)
        real = FaceSet(plan.real) if plan.real else _real(spec, plan, base)
        fitted = plan.fit or _fit(spec, plan, base)
        faces = making.make(_synthetic(spec, plan, fitted, base))
        entries = list(_entries(plan, {REAL: real, plan.label: faces}, base))
        _train_all(spec, plan, entries, pairs)
        outcome = Outcome(
            results=_tests(entries),
            quality=_quality(spec, plan, {REAL: real, plan.label: faces}),
            recognisers=[_summary(entry) for entry in entries],
            logs=_logs(entries),
            sets=plan.sets,
            label=plan.label,
            real=REAL,
            recipe=plan.recipe.name,
            judge=plan.judge,
        )
        main, *others = write(base / "report", outcome)
        title, dataset = main.title, spec.dataset.label
        finding = Finding("table2", title, dataset, spec.method.shown, spec.profile, [main, *others])
        write_finding(folder_of(spec.out, "table2", dataset), finding)
        return base / "report"


def _real(spec: RunSpec, plan: Table2, base: Path) -> FaceSet:
    cast = Cast("train", plan.world.real_people, plan.world.seed + 11, plan.world.frontal)
    return _rendered(spec, plan, base, REAL, cast, plan.world.real_images)


def _fit(spec: RunSpec, plan: Table2, base: Path) -> Path:
    """Fits components on the embeddings of rendered people."""
    world = plan.world
    cast = Cast("train", world.fit_people, world.seed + 23, world.frontal)
    faces = _rendered(spec, plan, base, "fit", cast, world.fit_images)
    part = spec.evaluator.recognisers[plan.recogniser]
    parts = {"faces": faces.record["content"], "recogniser": identity(part), "options": identity(plan.options)}
    folder = base / f"fit-{digest(parts)[:8]}"
    if not (folder / fitting.RECORD).exists():
        arcface = reader(spec, plan.recogniser)
        rows = np.argsort(faces.labels, kind="stable")
        features = embed(faces, rows, arcface.network, arcface.batch)

        def blocks() -> Iterator[Block]:
            yield features, faces.labels[rows].astype(np.int64)

        fitting.write(blocks, plan.options, folder, {"dataset": "rendered people", "recogniser": plan.recogniser})
    return folder


def _rendered(spec: RunSpec, plan: Table2, base: Path, name: str, cast: Cast, images: int) -> FaceSet:
    """A face set of rendered people."""
    parts = {"cast": list(vars(cast).values()), "images": images, "detector": detector_id(spec)}
    key = digest(parts | {"options": identity(plan.faceset)})
    record = {"name": f"{name}: rendered people", "id": key, "card": {"training_sets": ["the embedded world"]}}
    folder = base / "sets" / f"{name}-{key[:8]}"
    maker = partial(Rendered, cast)
    counts = [images] * cast.people
    detector = spec.evaluator.detector
    return making.make(
        making.Job(folder, counts, plan.faceset, detector, spec.protocol.faces, spec.execution, maker, False, record)
    )


def _synthetic(spec: RunSpec, plan: Table2, fitted: Path, base: Path) -> making.Job:
    """Samples people, and returns the job that draws them by the method."""
    fit_record = fitting.load(fitted)[2]
    parts = {"fit": fit_record, "sample": identity(plan.sample)}
    folder = base / f"people-{digest(parts)[:8]}"
    if not (folder / people.RECORD).exists():
        people.sample(fitted, plan.sample, folder)
    return making.generated(spec, people.Identities(folder), plan.faceset, base / "sets", plan.label)


def _pairs(spec: RunSpec, plan: Table2, base: Path) -> Path:
    """Rendered verification sets; written next to their place and moved there when they are whole."""
    world = plan.world
    parts = {"detector": detector_id(spec), "world": [world.test_people, world.pairs, world.seed]}
    folder = base / f"pairs-{digest(parts)[:8]}"
    if not folder.exists():
        unfinished = folder.with_name(f".{folder.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        blocks = np.array_split(np.arange(world.test_people), _BLOCKS)
        sizes = [2 * PER_PERSON * len(block) for block in blocks]
        maker = partial(_pair_maker, spec, world, unfinished, blocks)
        run_shards(maker, range(_BLOCKS), sizes, spec.execution, "pairs")
        write_lists(unfinished, world.test_people, world.pairs, world.seed + _PAIRS)
        unfinished.rename(folder)
    return folder


def _pair_maker(spec: RunSpec, world: World, folder: Path, blocks: Sequence[NDArray[np.int64]]) -> Work:
    """Makes the crops of one block of people of the verification sets at a time."""
    find = making.finder(spec.evaluator.detector, spec.protocol.faces, Runtime("cpu", spec.execution.threads))

    def one(block: int, _: None, advance: Advance) -> None:
        write_crops(folder, find, blocks[block].tolist(), world.seed + _PAIRS)
        advance(2 * PER_PERSON * len(blocks[block]))

    return Work(one)


def _entries(plan: Table2, sets: dict[str, FaceSet], base: Path) -> Iterator[Entry]:
    """The untrained floor, then each set, for every seed."""
    recipe = digest({"recipe": identity(plan.recipe)})[:8]
    for seed in plan.seeds:
        yield Entry(UNTRAINED, None, seed, base / "trained" / f"{UNTRAINED}-{recipe}-{seed}")
    for row, faces in sets.items():
        for seed in plan.seeds:
            key = job_id(plan.recipe, _seeded(plan.train, seed), faces)
            yield Entry(row, faces.folder, seed, base / "trained" / f"{row}-{seed}-{key[:8]}")


def _seeded(options: TrainOptions, seed: int) -> TrainOptions:
    return options.model_copy(update={"seed": seed})


def _train_all(spec: RunSpec, plan: Table2, entries: Sequence[Entry], pairs: Sequence[Pairs]) -> None:
    """Trains and tests what is missing; several at once where there are several workers."""
    todo = [number for number, entry in enumerate(entries) if not (entry.folder / TESTS).exists()]
    sizes = [0 if entry.faces is None else len(FaceSet(entry.faces)) * plan.recipe.epochs for entry in entries]
    run_shards(partial(_trainer, spec, plan, entries, pairs), todo, sizes, spec.execution, "train")


def _trainer(spec: RunSpec, plan: Table2, entries: Sequence[Entry], pairs: Sequence[Pairs]) -> Work:
    def one(number: int, _: None, advance: Advance) -> None:
        entry = entries[number]
        _train(spec, plan, entry, pairs)
        network = trained.extractor(entry.folder)
        tested = [evaluate(network, one, trained.TEST_BATCH) for one in pairs]
        write_table(entry.folder / "decisions.parquet", decisions(tested))
        write_table(entry.folder / TESTS, table(tested, entry.seed))
        advance(0 if entry.faces is None else len(FaceSet(entry.faces)) * plan.recipe.epochs)

    return Work(one)


def _train(spec: RunSpec, plan: Table2, entry: Entry, pairs: Sequence[Pairs]) -> None:
    if entry.faces is None:
        trained.untrained(plan.recipe, entry.seed, entry.folder)
        return
    options = _seeded(plan.train, entry.seed)
    execution = spec.execution
    training.train(Job(entry.folder, entry.faces, plan.recipe, options, pairs, execution.device, execution.threads))


def _tests(entries: Sequence[Entry]) -> pd.DataFrame:
    """A row per recogniser and set."""
    parts = [read_table(entry.folder / TESTS).assign(row=entry.row, seed=entry.seed) for entry in entries]
    return pd.concat(parts, ignore_index=True)


def _quality(spec: RunSpec, plan: Table2, sets: Mapping[str, FaceSet]) -> pd.DataFrame:
    """What the judge says of each set, on at most 500 identities as in DCFace."""
    judge, rows = reader(spec, plan.judge), []
    for name, faces in sets.items():
        looked = chosen(faces, 500, 0)
        rows.append({"row": name, **check(faces, looked, embed(faces, looked, judge.network, judge.batch), 0)})
    return pd.DataFrame(rows)


def _logs(entries: Sequence[Entry]) -> dict[tuple[str, int], pd.DataFrame]:
    trained = [entry for entry in entries if entry.faces is not None]
    return {(entry.row, entry.seed): read_table(entry.folder / "log.parquet") for entry in trained}


def _summary(entry: Entry) -> dict[str, Any]:
    return {"row": entry.row, "seed": entry.seed, **read_json(entry.folder / trained.RECORD)}


EXPERIMENT = Experiment(Table2, run)
