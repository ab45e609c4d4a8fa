"""Frozen specs of a run, and the one place where Hydra's config becomes types.

A pluggable part (method, dataset, detector, recogniser, ...) is written flat in YAML, `name` next to its options;
here it becomes a `Part` whose options are the part's own `Options` class. Unknown keys are errors everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, SerializeAsAny, ValidationError

from bench import registry
from bench.errors import UserError, nearest
from bench.faces.search import FaceOptions
from bench.faces.views import View, ViewOptions, view_read_by
from bench.identity import ADDED, CONTENT, IDENTITY, RECORDED, Spec, digest, identity
from bench.names import PathName, fit_for_a_path
from bench.relations import Relation, refuse_unknown
from bench.relations import table as relations_table


def _fit_for_a_folder(label: str) -> str:
    """Return a label that can be the name of a folder on every system.

    Raises:
        ValueError: it cannot.
    """
    fit_for_a_path(label)
    if label.casefold() in _TAKEN:
        raise ValueError(f"a label must not be one of {', '.join(_TAKEN)}, which name other folders")
    return label


_TAKEN = ("compare", "photos", "reference-set")
Label = Annotated[str, AfterValidator(_fit_for_a_folder)]


def _fit_or_empty(label: str) -> str:
    return _fit_for_a_folder(label) if label else label


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names as they are.

    Raises:
        ValueError: one of them is there twice.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"name each one once; twice: {', '.join(twice)}")
    return names


Names = Annotated[tuple[str, ...], AfterValidator(_each_once)]


class Part(Spec):
    """A pluggable part.

    Attributes:
        name: in the registry.
        version: of its class, which declares it; 1 where it does not.
        options: its own.
    """

    name: Annotated[PathName, IDENTITY]
    version: Annotated[int, Field(ge=1), IDENTITY, ADDED] = 1
    options: Annotated[SerializeAsAny[Spec], IDENTITY]


class Card(Spec):
    """What a method declares about itself: nothing here changes a sample.

    Attributes:
        relations: recogniser of the panel -> how the method depends on it, where that does not follow from
            `bench/relations.yaml`; the name "*" means all others.
        sees_targets: whether it was shown the subjects' other photos, so that none is left unseen.
        training_sets: names of the data that it was trained on.
        training_people: how many people they show; None where nobody says it. An axis of `compare --along`.
        training_images: how many images they hold; likewise.
        licence: of its weights.
        source: where it comes from.
    """

    relations: Annotated[dict[str, Relation], RECORDED] = Field(default_factory=dict)
    sees_targets: Annotated[bool, RECORDED] = False
    training_sets: Annotated[Names, RECORDED] = ()
    training_people: Annotated[int | None, Field(ge=1), RECORDED] = None
    training_images: Annotated[int | None, Field(ge=1), RECORDED] = None
    licence: Annotated[str, RECORDED] = ""
    source: Annotated[str, RECORDED] = ""

    def relation(self, recogniser: str) -> Relation:
        """Return the method's relation to a recogniser; "unknown" where nothing is declared (see `completed`)."""
        return self.relations.get(recogniser, self.relations.get("*", "unknown"))

    def completed(self, method: str, trained_on: Mapping[str, str]) -> Card:
        """Return the card with a relation to every recogniser: the declared one, else what follows from the table.

        Args:
            method: its name.
            trained_on: recogniser of the evaluator -> its training set as the evaluator declares it, or "".

        Raises:
            UserError: the card names a recogniser that nobody has.
        """
        refuse_unknown(self.relations, trained_on, method)
        by_hand = {name: self.relations.get(name, self.relations.get("*")) for name in trained_on}
        facts = relations_table()
        found = {name: own or facts.of(method, name, trained_on[name]) for name, own in by_hand.items()}
        return self.model_copy(update={"relations": {**self.relations, **found}})


class MethodSpec(Part):
    """A method.

    Attributes:
        card: what it declares about itself.
        label: tells runs of one method apart, in the names of folders, tables and figures; "": the method's name.
    """

    card: Annotated[Card, RECORDED] = Card()
    label: Annotated[str, AfterValidator(_fit_or_empty), RECORDED] = ""

    @property
    def shown(self) -> str:
        """What a reader calls the run."""
        return self.label or self.name


class DatasetSpec(Part):
    """A dataset.

    Attributes:
        label: names the folder of its runs and enters every seed.
        references_per_item: references that an item has, where its subject has so many photos: the first targets of a
            subject become further references of its items and are targets no longer.
    """

    label: Annotated[Label, IDENTITY]
    references_per_item: Annotated[int, Field(ge=1), IDENTITY, ADDED] = 1


class Protocol(Spec):
    """What is made and what is measured; the same for every method.

    Attributes:
        name: of the protocol.
        seed: enters every sample's seed.
        samples_per_item: samples of each item under each prompt.
        prompt: the text that text-driven methods get.
        prompt_id: its name in the tables.
        prompts: name -> text of several prompts, which take the place of the one.
        faces: how the face that is meant is found.
        views: how crops are cut.
        metrics: their names; None: all whose networks the evaluator has.
        reference_set: a folder of images that distances between distributions (FID, KID, ...) compare the samples with,
            instead of with the references.
        fmr_levels: false match rates at which thresholds of verification are set; one without enough pairs of
            references gives no number.
    """

    name: Annotated[str, IDENTITY]
    seed: Annotated[int, Field(ge=0), IDENTITY] = 0
    samples_per_item: Annotated[int, Field(ge=1), IDENTITY] = 5
    prompt: Annotated[str, IDENTITY] = "photo of a person"
    prompt_id: Annotated[PathName, IDENTITY] = "neutral"
    prompts: Annotated[dict[PathName, str], IDENTITY, ADDED] = Field(default_factory=dict)
    faces: Annotated[FaceOptions, IDENTITY] = FaceOptions()
    views: Annotated[ViewOptions, IDENTITY] = ViewOptions()
    metrics: Annotated[Names | None, IDENTITY] = None
    reference_set: Annotated[Path | None, CONTENT] = None
    fmr_levels: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], IDENTITY, ADDED] = (0.1, 0.01, 0.001)

    @property
    def texts(self) -> dict[str, str]:
        """Return the text of every prompt of the run by its id."""
        return self.prompts or {self.prompt_id: self.prompt}


class Evaluator(Spec):
    """The networks that measure.

    Attributes:
        name: of the panel.
        detector: finds faces.
        landmarker: finds the 68 landmarks of a face.
        parser: says which pixels of an aligned crop are background.
        recognisers: name -> face recognition network.
        extractors: name -> any other network that reads a view.
        only_for: labels of the datasets whose faces the networks know; empty where they know every face.
        licences: of the weights.
    """

    name: Annotated[str, RECORDED]
    detector: Annotated[Part, IDENTITY]
    landmarker: Annotated[Part | None, IDENTITY] = None
    parser: Annotated[Part | None, IDENTITY] = None
    recognisers: Annotated[dict[PathName, Part], IDENTITY]
    extractors: Annotated[dict[PathName, Part], IDENTITY] = Field(default_factory=dict)
    only_for: Annotated[tuple[str, ...], RECORDED] = ()
    licences: Annotated[tuple[str, ...], RECORDED] = ()

    @property
    def all_extractors(self) -> dict[str, Part]:
        """Return every network that reads views, by name: the recognisers, then the others."""
        return {**self.recognisers, **self.extractors}


def _registered(group: str) -> AfterValidator:
    """Return what refuses a name that a group of the registry lacks."""

    def checked(name: str) -> str:
        known = registry.entries(group)
        if name not in known:
            raise ValueError(f"allowed: {', '.join(sorted(known))}")
        return name

    return AfterValidator(checked)


Gpu = Annotated[str, Field(pattern=r"^cuda:[0-9]+$")]


class Execution(Spec):
    """Where and how the work is done; recorded, never part of an identity.

    Attributes:
        engine: what starts the processes: "local" (this machine), "slurm" (arrays of jobs), "ray" (tasks of a cluster),
            "manual" (the user, by `python -m bench work`), or the engine of another package.
        device: "cpu", "cuda", "cuda:1"; "auto": a GPU where torch and ONNX Runtime can use one, else the CPU.
        devices: the GPUs of a machine that its processes share out, one each; "auto": all of them.
        workers: processes.
        threads: of every process; another number changes last digits.
        attempts: how often a shard is tried whose process ended.
        shard_minutes: a process ends where a shard takes longer; None: it may take any time.
        sbatch: further options of sbatch, by their long names.
        address: of a Ray cluster; "": RAY_ADDRESS, else a Ray of this machine.
        shard_size: items in a shard.
        order: in which shards run.
        on_existing: what happens with results that exist: "only_missing" adds what is not there, "never" leaves the run
            alone, "always" makes everything again.
        verify: every photo is read and hashed again, also where its size, time and inode are as they were.
        retry: which samples that exist are made again: "none", or those with "errors", that the method failed to make.
        samples: how the images of new samples are kept: "files", a PNG file each, or "tar", one uncompressed tar for
            each shard.
    """

    engine: Annotated[str, _registered("engines"), RECORDED] = "local"
    device: Annotated[str, RECORDED] = "cpu"
    devices: Annotated[Literal["auto"] | Annotated[tuple[Gpu, ...], Field(min_length=1)], RECORDED] = "auto"
    workers: Annotated[int, Field(ge=1), RECORDED] = 1
    threads: Annotated[int, Field(ge=1), RECORDED] = 1
    attempts: Annotated[int, Field(ge=1), RECORDED] = 3
    shard_minutes: Annotated[float | None, Field(gt=0), RECORDED] = None
    sbatch: Annotated[dict[str, str | bool | int | float], RECORDED] = Field(default_factory=dict)
    address: Annotated[str, RECORDED] = ""
    shard_size: Annotated[int, Field(ge=1), RECORDED] = 16
    order: Annotated[Literal["list", "reversed", "shuffled"], RECORDED] = "list"
    on_existing: Annotated[Literal["only_missing", "never", "always"], RECORDED] = "only_missing"
    verify: Annotated[bool, RECORDED] = False
    retry: Annotated[Literal["none", "errors"], RECORDED] = "none"
    samples: Annotated[Literal["files", "tar"], RECORDED] = "files"


def _default_conditions() -> Part:
    return Part(name="default", options=registry.get("conditions", "default").Options())


class RunSpec(Spec):
    """Everything about one run: a method on a dataset under a protocol, measured by an evaluator.

    Attributes:
        method: makes the samples.
        dataset: the references.
        conditions: what each sample is made from in addition to its references.
        protocol: what is made and measured.
        evaluator: the networks that measure.
        execution: where and how the work is done.
        profile: the profile that the run was asked for by.
        out: folder of all runs.
        weights_dir: where `fetch` puts weights.
        tracker: of experiments, to which a scored run's numbers go; None: to none.
    """

    method: Annotated[MethodSpec, IDENTITY]
    dataset: Annotated[DatasetSpec, IDENTITY]
    conditions: Annotated[Part, IDENTITY, ADDED] = Field(default_factory=_default_conditions)
    protocol: Annotated[Protocol, IDENTITY]
    evaluator: Annotated[Evaluator, IDENTITY]
    execution: Annotated[Execution, RECORDED] = Execution()
    profile: Annotated[str, RECORDED] = ""
    out: Annotated[Path, RECORDED] = Path("runs")
    weights_dir: Annotated[Path, RECORDED] = Path("weights")
    tracker: Annotated[Annotated[str, _registered("trackers")] | None, RECORDED] = None


def resolve(config: Any) -> RunSpec:
    """Turn Hydra's composed config (an OmegaConf DictConfig) into a frozen `RunSpec`.

    Raises:
        UserError: unknown key (with the nearest valid one), wrong type, unknown method or dataset, missing value.
    """
    return from_mapping(plain(config))


def plain(config: Any) -> dict[str, Any]:
    """Return Hydra's composed config as plain types, its references resolved.

    Raises:
        UserError: a value is missing, or a reference leads nowhere.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    try:
        found = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is missing; give it as {error.full_key}=VALUE") from error
    except OmegaConfBaseException as error:
        raise UserError(_first_line(error)) from error
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def from_mapping(values: Mapping[str, Any]) -> RunSpec:
    """Return the same from plain mappings, as `run.json` and tests hold them.

    Raises:
        UserError: as `resolve`.
    """
    data = dict(values)
    data.setdefault("conditions", {"name": "default"})
    for name, group in GROUPS.items():
        data[name] = _part(data.get(name), group, name, OUTER[name])
    data["evaluator"] = _evaluator(data.get("evaluator"))
    dataset = data["dataset"]
    dataset["label"] = dataset.get("label") or dataset["name"]
    return _with_relations(validated(RunSpec, data, ""))


def _with_relations(spec: RunSpec) -> RunSpec:
    """Return the spec whose method's card has a relation to every recogniser of the evaluator."""
    recognisers = spec.evaluator.recognisers.items()
    trained_on = {name: str(getattr(part.options, "trained_on", "")) for name, part in recognisers}
    card = spec.method.card.completed(spec.method.name, trained_on)
    return spec.model_copy(update={"method": spec.method.model_copy(update={"card": card})})


GROUPS = {"method": "methods", "dataset": "datasets", "conditions": "conditions"}
"""Setting of a run that is one part -> its group in the registry."""

FINDERS = ("detector", "landmarker", "parser")
"""Parts of an evaluator that find a face and its regions; the group of each is the plural."""

OUTER = {
    "method": {"name", "card", "label"},
    "dataset": {"name", "label", "references_per_item"},
    "conditions": {"name"},
}
"""Setting of a run that is one part -> what is next to the part's own options."""


def recorded(dump: Mapping[str, Any]) -> RunSpec:
    """Return the spec that `RunSpec.model_dump(mode="json")` gave, as `run.json` holds it.

    Raises:
        UserError: as `resolve`; or a part has another version now.
    """
    spec = from_mapping(_as_written(dump))
    _check_versions(dump, spec.model_dump(mode="json"), "")
    return spec


def changed(spec: RunSpec, changes: Mapping[str, Any]) -> RunSpec:
    """Return a spec with other values, given as a configuration holds them.

    Args:
        spec: of a run.
        changes: setting -> values. A part (method, dataset, conditions) whose values have a `name` takes the place of
            the spec's; all other values are laid over the spec's own.

    Raises:
        UserError: as `resolve`.
    """
    data = _as_written(spec.model_dump(mode="json"))
    for name, values in changes.items():
        is_laid_over = isinstance(values, Mapping) and not (name in GROUPS and "name" in values)
        data[name] = {**data[name], **values} if is_laid_over else values
    return from_mapping(data)


def _as_written(dump: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dump of a spec as a configuration holds it: the options of each part next to its name."""
    data = {name: _flat(dump[name]) if name in GROUPS else value for name, value in dump.items()}
    evaluator = dict(dump["evaluator"])
    for name in FINDERS:
        evaluator[name] = evaluator[name] and _flat(evaluator[name])
    for table in ("recognisers", "extractors"):
        evaluator[table] = {k: _flat(v) for k, v in evaluator[table].items()}
    return {**data, "evaluator": evaluator}


def _flat(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part as it is written: its options next to its name."""
    outer = {k: v for k, v in part.items() if k not in ("version", "options")}
    return {**outer, **part["options"]}


def _check_versions(then: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Check that every part of two dumps has the same version."""
    if "options" in now and then.get("version", 1) != now["version"]:
        raise UserError(
            f"{where}{now['name']} has version {now['version']}, the run was begun with {then.get('version', 1)}; "
            "run its command again"
        )
    for name, value in now.items():
        if isinstance(value, Mapping) and name != "options" and isinstance(then.get(name), Mapping):
            _check_versions(then[name], value, f"{where}{name}.")


def _evaluator(raw: Any) -> dict[str, Any]:
    data = dict(_mapping(raw, "evaluator"))
    for name in FINDERS:
        if data.get(name) is not None:
            data[name] = _part(data[name], f"{name}s", f"evaluator.{name}", {"name"})
    for table in ("recognisers", "extractors"):
        parts = _mapping(data.get(table) or {}, f"evaluator.{table}")
        data[table] = {
            key: _part(value, "extractors", f"evaluator.{table}.{key}", {"name"})
            for key, value in parts.items()
            if value is not None
        }
    return data


def _part(raw: Any, group: str, where: str, outer: set[str]) -> dict[str, Any]:
    """Split a flat part into the validated options and what is next to them."""
    data = _mapping(raw, where)
    if not isinstance(data.get("name"), str):
        raise UserError(f"{where}.name is missing; one of: {', '.join(sorted(registry.entries(group)))}")
    part = registry.get(group, data["name"])
    inner = {k: v for k, v in data.items() if k not in outer}
    return {
        **{k: v for k, v in data.items() if k in outer},
        "version": getattr(part, "version", 1),
        "options": validated(part.Options, inner, where, also=outer),
    }


def _mapping(raw: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise UserError(f"{where} must be a mapping with a name, not {raw!r}")
    return raw


def validated(model: type[Any], data: Any, where: str, also: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
    """Return a spec from plain mappings; `where` and `also` (further keys that are known there) are for the message.

    Raises:
        UserError: unknown key (with the nearest valid one), or wrong type.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UserError(_explain(error, model, where, also)) from error


def _explain(error: ValidationError, model: type[BaseModel], where: str, also: set[str]) -> str:
    """Return one line for the first thing that pydantic found wrong (and how many more there are)."""
    first = error.errors()[0]
    more = error.error_count() - 1
    path = ".".join([where, *(str(p) for p in first["loc"])]).strip(".").replace(".options.", ".")
    tail = f" (and {more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key {path}{_nearest(model, first['loc'], also)}{tail}"
    if first["type"] == "missing":
        return f"{path} is missing; give it as {path}=VALUE{tail}"
    said = first["msg"].removeprefix("Value error, ")
    return f"{path}={first.get('input')!r}: {said[0].lower()}{said[1:]}{tail}"


def _nearest(model: type[BaseModel], loc: tuple[int | str, ...], also: set[str]) -> str:
    """Return the valid names in place of an unknown key, the nearest first."""
    for step in loc[:-1]:
        field = model.model_fields.get(str(step))
        model = field.annotation if field and isinstance(field.annotation, type) else model
    names = sorted({*model.model_fields, *(also if len(loc) == 1 else set())})
    near = nearest(str(loc[-1]), names)
    return (f"; did you mean {near}?" if near else ";") + f" known: {', '.join(names)}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def detector_id(spec: RunSpec) -> str:
    """Return the identity of face detection: the detector's options and weights, and the rules of the search."""
    return digest({"detector": identity(spec.evaluator.detector), "faces": identity(spec.protocol.faces)})


def landmarks_id(spec: RunSpec) -> str | None:
    """Return the identity of the landmark pass; None where no landmark network is configured."""
    if spec.evaluator.landmarker is None:
        return None
    return digest({"faces": detector_id(spec), "landmarker": identity(spec.evaluator.landmarker)})


def run_id(spec: RunSpec, content_id: str, needs: frozenset[str] = frozenset(), conditions: str | None = None) -> str:
    """Return the identity of a run's samples.

    Hashed: the method with its weights, the photos by content, the dataset's label, seed, prompts and number of
    samples, the detector (it decides which references are eligible and where their faces are), the recognisers
    whose embeddings the method is given, and the table of conditions by content. Nothing that only measures, and
    nothing of `Execution`.

    Args:
        spec: of the run.
        content_id: of the photos.
        needs: of the method.
        conditions: content of the table of samples; None where it is the default's.
    """
    values = {
        "method": identity(spec.method),
        "dataset": {"label": spec.dataset.label, "content": content_id},
        "protocol": identity(spec.protocol, only=("seed", "samples_per_item", "prompt", "prompt_id", "prompts")),
        "detector": detector_id(spec),
        "embeddings": {name: feature_id(spec, name) for name in recognisers_needed(needs)},
    }
    return digest(values if conditions is None else {**values, "conditions": conditions})


def recognisers_needed(needs: frozenset[str]) -> list[str]:
    """Return the recognisers whose embeddings a method is given, in the order of their names.

    >>> recognisers_needed(frozenset({"image", "embedding:arcface"}))
    ['arcface']
    """
    return sorted(need.removeprefix("embedding:") for need in needs if need.startswith("embedding:"))


def view_of(extractor: Part) -> View:
    """Return the view that an extractor reads.

    Raises:
        UserError: there is none of that name; the message has the nearest name.
    """
    return view_read_by(extractor.name, str(extractor.options.view))  # type: ignore[attr-defined]


def feature_id(spec: RunSpec, name: str) -> str:
    """Return the identity of one extractor's features: its options and weights, its view, and what finds the face."""
    extractor = spec.evaluator.all_extractors[name]
    options = identity(extractor, only=("name", "version", "options"))
    return digest({"extractor": options, "view": view_id(spec, view_of(extractor))})


def view_id(spec: RunSpec, view: View) -> dict[str, Any]:
    """Return what decides the pixels of a view: what finds the face, and where it has options, crop and mask."""
    if view.whole:
        return {"view": view.name}
    finder = (landmarks_id(spec) if view.uses_landmarks else None) or detector_id(spec)
    if not view.options:
        return {"view": view.name, "faces": finder}
    parser = identity(spec.evaluator.parser) if view.masked and spec.evaluator.parser else None
    crop = identity(spec.protocol.views, only=view.options)
    return {"view": view.name, "faces": finder, "crop": crop, "parser": parser}
