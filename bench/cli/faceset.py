"""The verb `faceset`: training sets of aligned crops, made, taken in, given away and looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from bench.cli.configured import Command, configured, options_of
from bench.console import show
from bench.errors import UserError
from bench.identity import RECORDED, Spec


class Task(Spec):
    """What is done with which set; see conf/faceset.yaml."""

    label: Annotated[str | None, RECORDED]
    identities: Annotated[Path | None, RECORDED]
    source: Annotated[Path | None, RECORDED]
    set: Annotated[Path | None, RECORDED]
    format: Annotated[str, RECORDED]
    to: Annotated[Path | None, RECORDED]
    recogniser: Annotated[str, RECORDED]
    people: Annotated[int, Field(ge=2), RECORDED]
    against: Annotated[tuple[Path, ...], RECORDED]


def main(argv: Sequence[str]) -> int:
    """Make, import, export or check a face set."""
    commands = {
        "make": Command(_make, "let a method draw sampled people, and keep the aligned crops"),
        "import": Command(_import, "take in a set of others: RecordIO, folders, WebDataset, Parquet"),
        "export": Command(_export, "write a set as folders, WebDataset, RecordIO or Parquet"),
        "check": Command(_check, "uniqueness, consistency and error rates of a set, and its overlap with others"),
    }
    return configured("faceset", "faceset", commands, argv)


def _parsed(config: Any) -> tuple[Any, Task, Any]:
    """The run's spec, the task, and how images become crops."""
    from bench.facesets.making import SetOptions
    from bench.spec import from_mapping, plain
    from bench.stages.run import on_device

    values = plain(config)
    task, options = options_of(values.pop("faceset"), "faceset", Task, SetOptions)
    return on_device(from_mapping(values)), task, options


def _given(path: Path | None, key: str, what: str) -> Path:
    if path is None:
        raise UserError(f"faceset.{key} is missing; give it as faceset.{key}=DIR, {what}")
    return path


def _make(config: Any) -> None:
    from bench.facesets.making import generated, make
    from bench.identities.people import Identities

    spec, task, options = _parsed(config)
    people = Identities(_given(task.identities, "identities", "the folder of `python -m bench identities sample`"))
    faces = make(generated(spec, people, options, spec.out / "facesets", task.label or spec.method.name))
    counts = faces.tried()["status"].value_counts()
    tried = ", ".join(f"{n} {status}" for status, n in counts.items())
    show(f"{faces.folder}: {len(faces)} crops of {faces.identities} identities ({tried})")


def _import(config: Any) -> None:
    from bench.facesets.formats import read, take_in
    from bench.facesets.store import FaceSet

    spec, task, _ = _parsed(config)
    source = _given(task.source, "source", "a .rec file or a folder")
    label = task.label or source.stem
    folder = spec.out / "facesets" / label
    take_in(read(source), folder, {"name": label, "source": source.name})
    faces = FaceSet(folder)
    show(f"{folder}: {len(faces)} crops of {faces.identities} identities")


def _export(config: Any) -> None:
    from bench.facesets.formats import export
    from bench.facesets.store import FaceSet

    _, task, _ = _parsed(config)
    to = _given(task.to, "to", "a new folder")
    faces = FaceSet(_given(task.set, "set", "the folder of a face set"))
    export(faces, task.format, to)  # type: ignore[arg-type]
    show(f"{to}: {len(faces)} crops of {faces.identities} identities")


def _check(config: Any) -> None:
    import pandas as pd

    from bench.facesets import quality
    from bench.facesets.check import PAIRS, check, chosen, embed, overlap, write_scores
    from bench.facesets.store import FaceSet
    from bench.recognition.readers import reader

    spec, task, _ = _parsed(config)
    faces = FaceSet(_given(task.set, "set", "the folder of a face set"))
    judge = reader(spec, task.recogniser)
    rows = chosen(faces, task.people, 0)
    features = embed(faces, rows, judge.network, judge.batch)
    show(pd.Series(check(faces, rows, features, 0)).to_string())
    write_scores([(judge.name, quality.pair_scores(features, faces.labels[rows], PAIRS, 0))], faces.folder / "scores")
    for folder in task.against:
        other = FaceSet(folder)
        others = embed(other, chosen(other, other.identities, 0), judge.network, judge.batch)
        found = overlap(features, others, quality.THRESHOLD)
        show(f"nearest in {folder.name}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
