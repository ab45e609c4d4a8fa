"""The verb `identities`: components of embeddings, and people sampled from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from bench.cli.configured import Command, configured, options_of
from bench.console import show
from bench.errors import UserError
from bench.identity import IDENTITY, RECORDED, Spec


class FitTask(Spec):
    """What is fitted: the photos of the run's dataset, or embeddings in files."""

    recogniser: Annotated[str, IDENTITY]
    vectors: Annotated[Path | None, RECORDED]
    to: Annotated[Path | None, RECORDED]


class SampleTask(Spec):
    """Which fit is sampled."""

    fit: Annotated[Path | None, RECORDED]
    to: Annotated[Path | None, RECORDED]


def main(argv: Sequence[str]) -> int:
    """Fit principal components on embeddings, or sample people from a fit."""
    commands = {
        "fit": Command(_fit, "fit components on the embeddings of a dataset, or on .npy files"),
        "sample": Command(_sample, "sample distinct people from a fit"),
    }
    return configured("identities", "identities", commands, argv)


def _fit(config: Any) -> None:
    from bench.identities.fitting import FitOptions, write
    from bench.identity import digest, identity
    from bench.spec import from_mapping, plain
    from bench.stages.run import on_device

    values = plain(config)
    task, options = options_of(values.pop("fit"), "fit", FitTask, FitOptions)
    values.pop("sample")
    spec = on_device(from_mapping(values))
    blocks, origin = _embeddings(spec, task)
    key = digest({"task": origin, "options": identity(options)})[:8]
    folder = task.to or spec.out / "identities" / f"fit-{origin['dataset']}-{key}"
    pca = write(blocks, options, folder, origin)
    show(f"{folder}: {pca.n} vectors, {pca.needed(0.99)} of {pca.width} components explain 99 % of the variance")


def _embeddings(spec: Any, task: FitTask) -> tuple[Any, dict[str, str]]:
    """The embeddings, and where they come from."""
    from bench.hashing import sha256_path
    from bench.identities.fitting import from_files

    if task.vectors is None:
        return _of_dataset(spec, task.recogniser)
    origin = {"dataset": task.vectors.name, "recogniser": task.recogniser, "content": sha256_path(task.vectors)}
    return from_files(task.vectors), origin


def _of_dataset(spec: Any, recogniser: str) -> tuple[Any, dict[str, str]]:
    """The embeddings of a dataset's photos, extracted where they are missing; the images of a subject in a row."""
    import numpy as np
    import pandas as pd

    from bench.spec import feature_id
    from bench.stages.run import dataset_embeddings

    job, features = dataset_embeddings(spec, recogniser)
    subjects = pd.factorize(job.photos["subject"])[0].astype(np.int64)
    order = np.argsort(subjects, kind="stable")

    def blocks() -> Iterator[Any]:
        yield features[order], subjects[order]

    trained = str(getattr(spec.evaluator.recognisers[recogniser].options, "trained_on", ""))
    origin = {"dataset": spec.dataset.label, "recogniser": recogniser, "trained_on": trained, "content": job.content}
    return blocks, origin | {"features": feature_id(spec, recogniser)}


def _sample(config: Any) -> None:
    from bench.identities.fitting import RECORD
    from bench.identities.people import SampleOptions, sample
    from bench.identity import digest, identity
    from bench.spec import plain
    from bench.store import read_json

    values = plain(config)
    task, options = options_of(values["sample"], "sample", SampleTask, SampleOptions)
    if task.fit is None or not (task.fit / RECORD).is_file():
        raise UserError("sample.fit is the folder of a fit; make one with `python -m bench identities fit`")
    key = digest({"fit": read_json(task.fit / RECORD), "options": identity(options)})[:8]
    folder = task.to or Path(values["out"]) / "identities" / f"people-{key}"
    people = sample(task.fit, options, folder)
    show(f"{folder}: {len(people)} people, {people.images.sum()} images")
