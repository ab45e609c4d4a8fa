"""From a spec to a job: which photos, which identities, which folders, which shards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from baselines.protocol import FORMER_NEEDS
from bench import assets, registry
from bench import spec as specs
from bench.data.folder import Folder, FolderOptions
from bench.data.photos import PhotoStatus, content_id
from bench.deviations import deviations
from bench.errors import UserError
from bench.faces.views import View
from bench.identity import files
from bench.spec import RunSpec, recognisers_needed, view_of
from bench.status import SampleStatus
from bench.store import ShardTable, shard_table

PHOTO_ROWS = 64
"""Rows in a shard of a dataset's photos, which runs with other shard sizes share."""


@dataclass(frozen=True, eq=False)
class ImageList:
    """An ordered list of images whose faces and features are kept in one folder.

    Attributes:
        folder: a run's folder, or the folder of a dataset's photos.
        frame: a row per image: row, item, subject, index, path (absolute), status, reason; a sample's `file` is its
            path below the folder.
        shard_rows: rows in a shard (the last one may have fewer).
    """

    folder: Path
    frame: pd.DataFrame
    shard_rows: int

    @property
    def shards(self) -> int:
        """Return the number of shards."""
        return -(-len(self.frame) // self.shard_rows)

    def shard(self, number: int) -> pd.DataFrame:
        """Return the rows of one shard."""
        return self.frame.iloc[number * self.shard_rows : (number + 1) * self.shard_rows]

    def sizes(self) -> list[int]:
        """Return the number of images in each shard."""
        return [len(self.shard(s)) for s in range(self.shards)]

    def table(self, name: str) -> ShardTable:
        """Return a table of the folder."""
        return shard_table(self.folder, name)


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that the stages share about one run.

    Attributes:
        spec: of the run.
        photos: the dataset's table (`bench.data.photos`), in the order of the list.
        items: its references, one row per item.
        needs: what the method needs of a reference.
        content: identity of the photos by content.
        id: identity of the run; its first 8 digits end the folder's name.
        folder: of the run.
        photos_folder: of the dataset's photos, shared by all runs on them.
    """

    spec: RunSpec
    photos: pd.DataFrame
    items: pd.DataFrame
    needs: frozenset[str]
    content: str
    id: str
    folder: Path
    photos_folder: Path

    @property
    def shard_rows(self) -> int:
        """Return the number of samples in a shard."""
        return self.spec.execution.shard_size * self.spec.protocol.samples_per_item

    @property
    def shards(self) -> int:
        """Return the number of shards of the run."""
        return -(-len(self.items) // self.spec.execution.shard_size)

    def with_shard_size(self, size: int) -> Job:
        """Return the same job in shards of `size` items."""
        execution = self.spec.execution.model_copy(update={"shard_size": size})
        return replace(self, spec=self.spec.model_copy(update={"execution": execution}))

    def photo_images(self) -> ImageList:
        """Return the dataset's photos as images to extract from."""
        return _image_list(self.photos, self.photos_folder)

    def reference_set(self) -> ImageList | None:
        """Return the protocol's reference set as images to extract from; each is a subject of its own.

        Raises:
            UserError: its folder holds no image.
        """
        if self.spec.protocol.reference_set is None:
            return None
        options = FolderOptions(root=self.spec.protocol.reference_set, references="all")
        photos = Folder(options).photos()
        return _image_list(photos, self.photos_folder.parent / f"reference-set-{content_id(photos)[:8]}")

    def sample_images(self) -> ImageList:
        """Return the run's samples as images to extract from.

        Raises:
            UserError: they are not all made.
        """
        samples = shard_table(self.folder, "samples").read(self.shards)
        paths = [str(self.folder / p) if p else "" for p in samples["path"]]
        return ImageList(self.folder, samples.assign(file=samples["path"], path=paths), self.shard_rows)


def _image_list(photos: pd.DataFrame, folder: Path) -> ImageList:
    frame = photos.assign(row=range(len(photos)), index=-1)
    frame["status"] = frame["status"].where(frame["status"] == PhotoStatus.OK, str(SampleStatus.UNDECODABLE))
    return ImageList(folder, frame, PHOTO_ROWS)


def plan(spec: RunSpec) -> Job:
    """Read the dataset's list and work out identities and folders; load no network.

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
        spec=spec,
        photos=photos,
        items=items,
        needs=needs,
        content=content,
        id=run,
        folder=base / f"{spec.method.shown}-{run[:8]}",
        photos_folder=base / f"photos-{content[:8]}",
    )


def warnings(spec: RunSpec) -> list[str]:
    """Return what a reader of the run's numbers must know before believing them."""
    evaluator = spec.evaluator
    label = spec.dataset.label
    found = deviations(spec.protocol)
    if evaluator.only_for and label not in evaluator.only_for:
        known = ", ".join(evaluator.only_for)
        found.append(
            f"evaluator {evaluator.name} knows the faces of {known} alone: its numbers on {label} mean little; "
            "official networks: profile=paper"
        )
    return found


def needs_of(spec: RunSpec) -> frozenset[str]:
    """Return what the method needs of a reference: as its options say where they say it, else as its class does."""
    method = registry.get("methods", spec.method.name)
    needs = getattr(spec.method.options, "needs", method.needs)
    return frozenset(FORMER_NEEDS.get(need, need) for need in needs)


def validate(spec: RunSpec) -> None:
    """Check what can be checked without reading an image: that the parts fit each other.

    Raises:
        UserError: a recogniser, landmark network or parser that something needs is not configured; a file is not there.
    """
    for path in files(spec):
        if not path.exists():
            raise assets.missing_file(path)
    evaluator = spec.evaluator
    for name in recognisers_needed(needs_of(spec)):
        if name not in evaluator.recognisers:
            known = ", ".join(evaluator.recognisers)
            raise UserError(
                f"method {spec.method.name} needs embeddings of recogniser {name!r}; "
                f"evaluator {evaluator.name} has: {known}"
            )
    for name, extractor in evaluator.all_extractors.items():
        _validate_view(spec, name, view_of(extractor))


def _validate_view(spec: RunSpec, extractor: str, view: View) -> None:
    if view.masked and spec.evaluator.parser is None:
        raise UserError(f"extractor {extractor} reads {view.name}: evaluator.parser must name a face parser")
    if spec.evaluator.landmarker is None and view.needs_landmarks(spec.protocol.views):
        otherwise = "" if view.from_landmarks else " (or protocol.views.alignment=facexlib5)"
        raise UserError(
            f"extractor {extractor} reads {view.name}: evaluator.landmarker must name a landmark network{otherwise}"
        )
