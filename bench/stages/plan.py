"""From a spec to a job: which photos, which identities, which folders, which shards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from baselines.protocol import FORMER_NEEDS
from bench import assets, registry
from bench import spec as specs
from bench.data.folder import Folder, FolderOptions
from bench.data.photos import content_id
from bench.errors import UserError
from bench.identity import files
from bench.spec import RunSpec
from bench.store import Table, table

PHOTO_ROWS = 64  # in a shard of a dataset's photos, which runs with other shard sizes share


@dataclass(frozen=True, eq=False)
class Pictures:
    """An ordered list of pictures whose faces and features are kept in one folder.

    Attributes:
        folder: a run's folder, or the folder of a dataset's photos.
        frame: a row per picture: row, item, subject, index, path (absolute), status, reason; a sample's `file` is its
            path below the folder.
        shard_rows: rows in a shard (the last one may have fewer).
    """

    folder: Path
    frame: pd.DataFrame
    shard_rows: int

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-len(self.frame) // self.shard_rows)

    def shard(self, number: int) -> pd.DataFrame:
        """The rows of one shard."""
        return self.frame.iloc[number * self.shard_rows : (number + 1) * self.shard_rows]

    def sizes(self) -> list[int]:
        """Pictures in each shard."""
        return [len(self.shard(s)) for s in range(self.shards)]

    def table(self, name: str) -> Table:
        """A table of the folder."""
        return table(self.folder, name)


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that the stages share about one run.

    Attributes:
        photos: the dataset's table (`bench.data.photos`), in the order of the list.
        items: its references, one row per item.
        needs: what the method needs of a reference.
        id: identity of the run; its first 8 digits end the folder's name.
        folder: the run's folder. gallery: the folder of the dataset's photos, shared by all runs on it.
    """

    spec: RunSpec
    photos: pd.DataFrame
    items: pd.DataFrame
    needs: frozenset[str]
    content: str
    id: str
    folder: Path
    gallery: Path

    @property
    def shard_rows(self) -> int:
        """Samples in a shard."""
        return self.spec.execution.shard_size * self.spec.protocol.samples_per_item

    @property
    def shards(self) -> int:
        """Number of shards of the run."""
        return -(-len(self.items) // self.spec.execution.shard_size)

    def with_shard_size(self, size: int) -> Job:
        """The same job in shards of `size` items."""
        execution = self.spec.execution.model_copy(update={"shard_size": size})
        return replace(self, spec=self.spec.model_copy(update={"execution": execution}))

    def photo_pictures(self) -> Pictures:
        """The dataset's photos as pictures to extract from."""
        return _pictures(self.photos, self.gallery)

    def reference_set(self) -> Pictures | None:
        """The protocol's reference set as pictures to extract from; each is a subject of its own.

        Raises:
            UserError: no picture in its folder.
        """
        if self.spec.protocol.reference_set is None:
            return None
        options = FolderOptions(root=self.spec.protocol.reference_set, references="all")
        photos = Folder(options).photos()
        return _pictures(photos, self.gallery.parent / f"reference-set-{content_id(photos)[:8]}")

    def sample_pictures(self) -> Pictures:
        """The run's samples as pictures to extract from.

        Raises:
            UserError: they are not all made.
        """
        samples = table(self.folder, "samples").read(self.shards)
        paths = [str(self.folder / p) if p else "" for p in samples["path"]]
        return Pictures(self.folder, samples.assign(file=samples["path"], path=paths), self.shard_rows)


def _pictures(photos: pd.DataFrame, folder: Path) -> Pictures:
    frame = photos.assign(row=range(len(photos)), index=-1)
    frame["status"] = frame["status"].where(frame["status"] == "ok", "undecodable")
    return Pictures(folder, frame, PHOTO_ROWS)


def plan(spec: RunSpec) -> Job:
    """Reads the dataset's list and works out identities and folders; loads no network.

    Raises:
        UserError: the dataset has no reference, or lacks what its options name.
    """
    validate(spec)
    photos = registry.get("datasets", spec.dataset.name)(spec.dataset.options).photos()
    items = photos[photos["role"] == "reference"].reset_index(drop=True)
    if items.empty:
        raise UserError(f"dataset {spec.dataset.label} has no reference photo")
    content = content_id(photos)
    needs = needs_of(spec)
    run = specs.run_id(spec, content, needs)
    base = spec.out / spec.dataset.label
    return Job(
        spec, photos, items, needs, content, run, base / f"{spec.method.name}-{run[:8]}", base / f"photos-{content[:8]}"
    )


def warnings(spec: RunSpec) -> list[str]:
    """What a reader of the run's numbers must know before believing them."""
    evaluator, label = spec.evaluator, spec.dataset.label
    if evaluator.only_for and label not in evaluator.only_for:
        known = ", ".join(evaluator.only_for)
        return [
            f"evaluator {evaluator.name} knows the faces of {known} alone: its numbers on {label} mean little; "
            "official networks: profile=paper"
        ]
    return []


def needs_of(spec: RunSpec) -> frozenset[str]:
    """What the method needs of a reference: as its options say where they say it, else as its class does."""
    method = registry.get("methods", spec.method.name)
    needs = getattr(spec.method.options, "needs", method.needs)
    return frozenset(FORMER_NEEDS.get(need, need) for need in needs)


def validate(spec: RunSpec) -> None:
    """What can be checked without reading an image: that the parts fit each other.

    Raises:
        UserError: a recogniser, landmark network or parser that something needs is not configured; a file is not there.
    """
    for path in files(spec):
        if not path.exists():
            raise assets.missing_file(path)
    evaluator = spec.evaluator
    for need in sorted(needs_of(spec)):
        name = need.removeprefix("embedding:")
        if name != need and name not in evaluator.recognisers:
            known = ", ".join(evaluator.recognisers)
            raise UserError(
                f"method {spec.method.name} needs embeddings of recogniser {name!r}; "
                f"evaluator {evaluator.name} has: {known}"
            )
    for name, part in {**evaluator.recognisers, **evaluator.extractors}.items():
        view = part.options.view  # type: ignore[attr-defined]
        if view.endswith("masked") and evaluator.parser is None:
            raise UserError(f"extractor {name} reads {view}: evaluator.parser must name a face parser")
        if view != "arcface112" and evaluator.landmarker is None and spec.protocol.views.alignment == "ffhq68":
            raise UserError(
                f"extractor {name} reads {view}: evaluator.landmarker must name a landmark network "
                "(or protocol.views.alignment=facexlib5)"
            )
