"""From a spec to a job: which photos, which samples, which identities, which folders, which shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baselines.protocol import FORMER_NEEDS, declared
from bench import assets, registry
from bench import spec as specs
from bench.conditions.cells import is_given
from bench.conditions.default import Default, DefaultOptions
from bench.conditions.kinds import ConditionKind
from bench.conditions.planned import Known, Planned, content_of, planned, read_planned, used
from bench.conditions.protocol import Inputs
from bench.data.folder import Folder, FolderOptions
from bench.data.known import remembered
from bench.data.photos import PhotoStatus, content_id, with_further_references
from bench.deviations import deviations
from bench.errors import UserError
from bench.faces.views import View
from bench.identity import files
from bench.provenance import MASK
from bench.sample_files import below
from bench.spec import RunSpec, recognisers_needed, view_of
from bench.status import SampleStatus
from bench.store import ShardTable, read_record, read_table, shard_table

FIELDS = {"id": str, "content": str, "gallery": str, "shard_size": int, "spec": dict, "weights": dict}
"""Fields of `run.json` that a run is resumed by, and their types."""
PHOTO_ROWS = 64
"""Rows in a shard of a dataset's photos, which runs with other shard sizes share."""


FOUND = {str(status): str(SampleStatus.UNDECODABLE) for status in PhotoStatus} | {
    str(PhotoStatus.OK): str(SampleStatus.OK),
    str(PhotoStatus.ABSENT): str(SampleStatus.UNAVAILABLE),
}
"""Status of a photo in its dataset's table -> what extraction begins with."""


@dataclass(frozen=True, eq=False)
class ImageList:
    """An ordered list of images whose faces and features are kept in one folder.

    Attributes:
        folder: a run's folder, or the folder of a dataset's photos.
        frame: a row per image: row, item, subject, index, path (absolute), status, reason; a sample's `file` is its
            path below the folder. Samples in tars have `offset` and `length`, too (`bench.sample_files`).
        bounds: the row at which each shard begins, and the number of all rows.
    """

    folder: Path
    frame: pd.DataFrame
    bounds: tuple[int, ...]

    @property
    def shards(self) -> int:
        """Return the number of shards."""
        return len(self.bounds) - 1

    def shard(self, number: int) -> pd.DataFrame:
        """Return the rows of one shard."""
        return self.rows_of(range(number, number + 1))

    def rows_of(self, shards: range) -> pd.DataFrame:
        """Return the rows of several shards, one after the other."""
        return self.frame.iloc[self.bounds[shards.start] : self.bounds[shards.stop]]

    def sizes(self) -> list[int]:
        """Return the number of images in each shard."""
        return [len(self.shard(s)) for s in range(self.shards)]

    def items(self, number: int) -> list[str]:
        """Return what the images of one shard are called, for messages: their items, or else their subjects."""
        rows = self.shard(number)
        return [str(name) for name in rows["item"].where(rows["item"] != "", rows["subject"]).unique()]

    def table(self, name: str) -> ShardTable:
        """Return a table of the folder."""
        return shard_table(self.folder, name)


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that the stages share about one run.

    Attributes:
        spec: of the run.
        photos: the dataset's table (`bench.data.photos`), in the order of the list.
        items: its items, a row each, with the photo that is put to the method.
        samples: the table of samples (`bench.conditions.planned`), a row each.
        needs: what the method needs of a reference.
        content: identity of the photos by content.
        conditions: identity of the table of samples by content; None where it is the default's.
        id: identity of the run; its first 8 digits end the folder's name.
        folder: of the run.
        photos_folder: of the dataset's photos, shared by all runs on them.
    """

    spec: RunSpec
    photos: pd.DataFrame
    items: pd.DataFrame
    samples: pd.DataFrame
    needs: frozenset[str]
    content: str
    conditions: str | None
    id: str
    folder: Path
    photos_folder: Path

    @property
    def bounds(self) -> tuple[int, ...]:
        """Return the row at which each shard of samples begins, and the number of all samples."""
        counts = self.samples.groupby("item", sort=False).size().to_numpy()
        ends = np.concatenate([[0], np.cumsum(counts)])
        return (*(int(end) for end in ends[: -1 : self.spec.execution.shard_size]), len(self.samples))

    @property
    def shards(self) -> int:
        """Return the number of shards of the run."""
        return -(-len(self.items) // self.spec.execution.shard_size)

    @property
    def keys(self) -> dict[str, str]:
        """Return item -> its file name."""
        return dict(zip(self.items["item"], self.items["key"], strict=True))

    @property
    def samples_per_item(self) -> int:
        """Return the number of samples that an item has at most."""
        return int(self.samples["index"].max()) + 1

    def with_shard_size(self, size: int) -> Job:
        """Return the same job in shards of `size` items."""
        execution = self.spec.execution.model_copy(update={"shard_size": size})
        return self.with_spec(self.spec.model_copy(update={"execution": execution}))

    def with_spec(self, spec: RunSpec) -> Job:
        """Return the same job with a spec whose execution is another."""
        return replace(self, spec=spec)

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
        with remembered(self.photos_folder.parent, verify=self.spec.execution.verify):
            photos = Folder(options).photos()
        return _image_list(photos, self.photos_folder.parent / f"reference-set-{content_id(photos)[:8]}")

    def sample_images(self) -> ImageList:
        """Return the run's samples as images to extract from.

        Raises:
            UserError: they are not all made.
        """
        samples = shard_table(self.folder, "samples").read(self.shards)
        paths = [str(below(self.folder, p)) if p else "" for p in samples["path"]]
        return ImageList(self.folder, samples.assign(file=samples["path"], path=paths), self.bounds)


def _image_list(photos: pd.DataFrame, folder: Path) -> ImageList:
    frame = photos.assign(row=range(len(photos)), index=-1)
    frame["status"] = frame["status"].map(FOUND)
    return ImageList(folder, frame, (*range(0, len(frame), PHOTO_ROWS), len(frame)))


Embeddings = Callable[[RunSpec, ImageList, str], NDArray[np.float32]]
"""(spec, photos, recogniser) -> (n, d) features of the photos, extracted where they are missing; NaN without a face."""


def plan(spec: RunSpec, embeddings: Embeddings) -> tuple[Job, Planned]:
    """Read the dataset's list and work out samples, identities and folders.

    Args:
        spec: of the run.
        embeddings: for sources of conditions that ask for them; the default does not, and no network is loaded.

    Returns:
        The job, and its table of samples with the files that belong to it, to be written into the job's folder.

    Raises:
        UserError: the dataset has no reference, or lacks what its options name; the conditions do not fit the dataset;
            or the method does not accept them.
    """
    validate(spec)
    base = spec.out / spec.dataset.label
    dataset = registry.get("datasets", spec.dataset.name)(spec.dataset.options)
    with remembered(base, verify=spec.execution.verify):
        photos = dataset.photos()
    photos = with_further_references(photos, spec.dataset.references_per_item)
    items = _items(photos)
    if items.empty:
        raise UserError(f"dataset {spec.dataset.label} has no reference photo")
    content = content_id(photos)
    photos_folder = base / f"photos-{content[:8]}"
    rows, is_default = _samples(spec, items, photos, partial(embeddings, spec, _image_list(photos, photos_folder)))
    check_accepted(spec, used(rows.table))
    check_without_photos(spec, photos, rows.table)
    needs = needs_of(spec)
    conditions = None if is_default else rows.content
    run = specs.run_id(spec, content, needs, conditions)
    folder = base / f"{spec.method.shown}-{run[:8]}"
    return Job(spec, photos, items, rows.table, needs, content, conditions, run, folder, photos_folder), rows


def load(folder: Path) -> Job:
    """Return the job of a run that was begun, from its folder alone: what a worker needs, without the dataset.

    The spec is that of the last command that worked on the run.

    Raises:
        UserError: the folder is not that of a run, or its tables are not those that it was begun with.
    """
    record = read_record(folder / "run.json", FIELDS)
    dump = record.get("planned", record["spec"])
    if MASK in json.dumps(dump):
        raise UserError(f"{folder}/run.json keeps no secret: give it to the method by the environment")
    spec = specs.recorded(dump)
    photos, samples = _as_listed(read_table(folder / "photos.parquet")), read_planned(folder)
    # A run that was begun before there were conditions is the default.
    conditions = record.get("conditions")
    if conditions is not None and content_of(samples) != conditions:
        raise UserError(f"the table of samples in {folder} is not the one that the run was begun with")
    job = Job(
        spec=spec,
        photos=photos,
        items=_items(photos),
        samples=samples,
        needs=needs_of(spec),
        content=record["content"],
        conditions=conditions,
        id=record["id"],
        folder=folder,
        photos_folder=folder.parent / record["gallery"],
    )
    return job.with_shard_size(record["shard_size"])


def _as_listed(photos: pd.DataFrame) -> pd.DataFrame:
    """Return a run's table of photos without what extraction found in files that are fine."""
    is_listed = photos["status"].isin(list(PhotoStatus))
    status, reason = photos["status"].where(is_listed, str(PhotoStatus.OK)), photos["reason"].where(is_listed, "")
    return photos.assign(status=status, reason=reason)


def _items(photos: pd.DataFrame) -> pd.DataFrame:
    return photos[photos["role"] == "reference"].reset_index(drop=True)


def reference_rows(photos: pd.DataFrame) -> dict[str, tuple[int, ...]]:
    """Return item -> rows of its references: its own photo, then the further references of its subject."""
    numbered = photos.assign(number=range(len(photos)))
    further = numbered[photos["role"] == "further"].groupby("subject", sort=False)["number"].agg(tuple).to_dict()
    own = numbered[photos["role"] == "reference"]
    rows = zip(own["item"], own["subject"], own["number"], strict=True)
    return {str(item): (int(number), *further.get(subject, ())) for item, subject, number in rows}


def _samples(
    spec: RunSpec, items: pd.DataFrame, photos: pd.DataFrame, features: Callable[[str], NDArray[np.float32]]
) -> tuple[Planned, bool]:
    """Return the table of samples, and whether it is the default's under one prompt."""
    images = photos["image"].tolist()
    inputs = Inputs(
        items=items,
        references={item: tuple(images[row] for row in rows) for item, rows in reference_rows(photos).items()},
        samples_per_item=spec.protocol.samples_per_item,
        prompts=spec.protocol.texts,
        seed=spec.protocol.seed,
        embeddings=lambda name: _by_photo(spec, photos, name, features),
    )
    names = set(photos.loc[photos["role"] != "target", "image"])
    known = Known(items, names, list(inputs.prompts))
    source = registry.get("conditions", spec.conditions.name)(spec.conditions.options)
    rows = planned(source.table(inputs), known)
    default = planned(Default(DefaultOptions()).table(inputs), known)
    return rows, not spec.protocol.prompts and rows.content == default.content


def _by_photo(
    spec: RunSpec, photos: pd.DataFrame, recogniser: str, features: Callable[[str], NDArray[np.float32]]
) -> Mapping[str, NDArray[np.float32]]:
    """Return name of a photo -> embedding, of the references that have one."""
    if recogniser not in spec.evaluator.recognisers:
        raise _no_recogniser(spec, f"conditions={spec.conditions.name}", recogniser)
    rows = features(recogniser)
    wanted = (photos["role"] != "target").to_numpy() & np.isfinite(rows).all(axis=1)
    return {str(name): row for name, row, is_wanted in zip(photos["image"], rows, wanted, strict=True) if is_wanted}


def warnings(job: Job) -> list[str]:
    """Return what a reader of the run's numbers must know before believing them."""
    return [*deviations(job.spec.protocol), *_unknown_faces(job.spec), *_unlike_samples(job), *_references(job)]


def _unknown_faces(spec: RunSpec) -> list[str]:
    evaluator = spec.evaluator
    label = spec.dataset.label
    if evaluator.only_for and label not in evaluator.only_for:
        known = ", ".join(evaluator.only_for)
        return [
            f"evaluator {evaluator.name} knows the faces of {known} alone: its numbers on {label} mean little; "
            "official networks: profile=paper"
        ]
    return []


def _unlike_samples(job: Job) -> list[str]:
    kinds = [str(kind) for kind in used(job.samples) if kind is not ConditionKind.REFERENCES]
    by_item = job.samples.groupby("item")
    varied = [column for column in ("prompt_id", *kinds) if (by_item[column].nunique(dropna=False) > 1).any()]
    if varied:
        return [
            f"samples of one item differ by {', '.join(varied)}: similarity to the reference and diversity within an "
            "item measure these differences, too"
        ]
    return []


def _references(job: Job) -> list[str]:
    wanted = job.spec.dataset.references_per_item
    fewer = sum(len(rows) < wanted for rows in reference_rows(job.photos).values())
    found = [f"{fewer} of {len(job.items)} items have fewer than {wanted} references"] if fewer else []
    if wanted > 1 and ConditionKind.REFERENCES not in accepted(job.spec):
        found.append(f"method {job.spec.method.name} reads one reference of each item, the item's own")
    return found


def needs_of(spec: RunSpec) -> frozenset[str]:
    """Return what the method needs of a reference."""
    return frozenset(FORMER_NEEDS.get(need, need) for need in declared(_method(spec), spec.method.options, "needs"))


def accepted(spec: RunSpec) -> frozenset[ConditionKind]:
    """Return the kinds of conditions that the method accepts."""
    method = _method(spec)
    many = {ConditionKind.REFERENCES} if getattr(method, "many_references", False) else frozenset()
    return frozenset(map(ConditionKind, declared(method, spec.method.options, "accepts"))) | many


def _method(spec: RunSpec) -> Any:
    """Return the class of a run's method."""
    return registry.get("methods", spec.method.name)


def check_accepted(spec: RunSpec, kinds: Sequence[ConditionKind]) -> None:
    """Check that the method accepts the conditions of a run.

    Raises:
        UserError: it does not.
    """
    refused = [kind for kind in kinds if kind not in accepted(spec)]
    if refused:
        takes = ", ".join(sorted(accepted(spec))) or "none"
        raise UserError(
            f"conditions={spec.conditions.name} asks for {', '.join(refused)}, which method {spec.method.name} does "
            f"not accept with these options; it accepts: {takes}"
        )


def check_without_photos(spec: RunSpec, photos: pd.DataFrame, samples: pd.DataFrame) -> None:
    """Check that items without a photo are drawn from vectors that the conditions give.

    Raises:
        UserError: the method needs more than embeddings, or a sample of such an item has none.
    """
    absent = set(photos.loc[photos["status"] == PhotoStatus.ABSENT, "item"])
    if not absent:
        return
    needs = needs_of(spec)
    if len(recognisers_needed(needs)) != len(needs):
        raise UserError(
            f"the items of dataset {spec.dataset.label} have no photo, and method {spec.method.name} needs one; "
            "method=arc2face draws a face from an embedding alone"
        )
    rows = samples[samples["item"].isin(absent)]
    given = rows.get(ConditionKind.EMBEDDING, pd.Series(None, index=rows.index, dtype=object))
    if not all(map(is_given, given)):
        raise UserError(
            f"the items of dataset {spec.dataset.label} have no photo: conditions=identities gives each sample a vector"
        )


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
            raise _no_recogniser(spec, f"method {spec.method.name}", name)
    for name, extractor in evaluator.all_extractors.items():
        _validate_view(spec, name, view_of(extractor))


def _no_recogniser(spec: RunSpec, who: str, recogniser: str) -> UserError:
    known = ", ".join(spec.evaluator.recognisers)
    return UserError(
        f"{who} needs embeddings of recogniser {recogniser!r}; evaluator {spec.evaluator.name} has: {known}"
    )


def _validate_view(spec: RunSpec, extractor: str, view: View) -> None:
    if view.masked and spec.evaluator.parser is None:
        raise UserError(f"extractor {extractor} reads {view.name}: evaluator.parser must name a face parser")
    if spec.evaluator.landmarker is None and view.needs_landmarks(spec.protocol.views):
        otherwise = "" if view.from_landmarks else " (or protocol.views.alignment=facexlib5)"
        raise UserError(
            f"extractor {extractor} reads {view.name}: evaluator.landmarker must name a landmark network{otherwise}"
        )
