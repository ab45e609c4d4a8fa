"""Frozen specs of a run, and the one place where Hydra's config becomes types.

A pluggable part (method, dataset, detector, recogniser, ...) is written flat in YAML, `name` beside its options;
here it becomes a `Part` whose options are the part's own `Options` class. Unknown keys are errors everywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SerializeAsAny, ValidationError

from bench import registry
from bench.errors import UserError
from bench.identity import CONTENT, IDENTITY, RECORDED, Spec, digest, identity

Label = Annotated[int, Field(ge=0, le=18)]
Level = Annotated[int, Field(ge=0, le=255)]
Relation = Literal["conditioned", "trained_against", "same_training_data", "none", "unknown"]


class Part(Spec):
    """A pluggable part: its registry name and its own options."""

    name: Annotated[str, IDENTITY]
    options: Annotated[SerializeAsAny[Spec], IDENTITY]


class Card(Spec):
    """What a method declares about itself: nothing here changes a sample.

    `relations` says for each recogniser of the panel how the method depends on it; the name "*" stands for all others.
    `sees_targets` says that it was shown the subjects' other photos, so that none is left unseen.
    """

    relations: Annotated[dict[str, Relation], RECORDED] = Field(default_factory=dict)
    sees_targets: Annotated[bool, RECORDED] = False
    training_sets: Annotated[tuple[str, ...], RECORDED] = ()
    licence: Annotated[str, RECORDED] = ""
    source: Annotated[str, RECORDED] = ""

    def relation(self, recogniser: str) -> Relation:
        """The method's relation to a recogniser."""
        return self.relations.get(recogniser, self.relations.get("*", "unknown"))


class MethodSpec(Part):
    """A method, its options and its card."""

    card: Annotated[Card, RECORDED] = Card()


class DatasetSpec(Part):
    """A dataset; its label names the folder of its runs and enters every seed."""

    label: Annotated[str, IDENTITY]


class Views(Spec):
    """How a face becomes the crops that networks see."""

    alignment: Annotated[Literal["ffhq68", "facexlib5"], IDENTITY] = "ffhq68"  # of the 512 crop
    transform_size: Annotated[int, Field(ge=512), IDENTITY] = 4096  # of the FFHQ crop's intermediate image
    background: Annotated[tuple[Label, ...], IDENTITY] = (0,)  # parsing labels that are removed
    fill: Annotated[tuple[Level, Level, Level], IDENTITY] = (0, 0, 0)  # RGB in their place
    min_foreground: Annotated[float, Field(ge=0, le=1), IDENTITY] = 0.05  # below: status empty_mask
    flame_landmarks: Annotated[Literal["mapped", "again"], IDENTITY] = "mapped"  # again: found in the aligned crop


class Protocol(Spec):
    """What is made and what is measured; the same for every method.

    `reference_set` is a folder of pictures that distances between distributions (FID, KID, ...) compare the samples
    with, instead of with the references.
    """

    name: Annotated[str, IDENTITY]
    seed: Annotated[int, IDENTITY] = 0
    samples_per_item: Annotated[int, Field(ge=1), IDENTITY] = 5
    prompt: Annotated[str, IDENTITY] = "photo of a person"
    prompt_id: Annotated[str, IDENTITY] = "neutral"
    views: Annotated[Views, IDENTITY] = Views()
    metrics: Annotated[tuple[str, ...] | None, IDENTITY] = None  # None: all whose networks are there
    reference_set: Annotated[Path | None, CONTENT] = None


class Evaluator(Spec):
    """The networks that measure. `only_for` names the datasets that they know, if they don't know every face."""

    name: Annotated[str, RECORDED]
    detector: Annotated[Part, IDENTITY]
    landmarker: Annotated[Part | None, IDENTITY] = None
    parser: Annotated[Part | None, IDENTITY] = None
    recognisers: Annotated[dict[str, Part], IDENTITY]
    extractors: Annotated[dict[str, Part], IDENTITY] = Field(default_factory=dict)
    only_for: Annotated[tuple[str, ...], RECORDED] = ()
    licences: Annotated[tuple[str, ...], RECORDED] = ()


class Execution(Spec):
    """Where and how the work is done; recorded, never part of an identity."""

    device: Annotated[str, RECORDED] = "cpu"
    workers: Annotated[int, Field(ge=1), RECORDED] = 1
    threads: Annotated[int, Field(ge=1), RECORDED] = 1  # of every process; another number changes last digits
    shard_size: Annotated[int, Field(ge=1), RECORDED] = 16  # items
    order: Annotated[Literal["list", "reversed", "shuffled"], RECORDED] = "list"  # in which shards run
    on_existing: Annotated[Literal["only_missing", "never", "always"], RECORDED] = "only_missing"


class RunSpec(Spec):
    """Everything about one run: a method on a dataset under a protocol, measured by an evaluator."""

    method: Annotated[MethodSpec, IDENTITY]
    dataset: Annotated[DatasetSpec, IDENTITY]
    protocol: Annotated[Protocol, IDENTITY]
    evaluator: Annotated[Evaluator, IDENTITY]
    execution: Annotated[Execution, RECORDED] = Execution()
    profile: Annotated[str, RECORDED] = ""
    out: Annotated[Path, RECORDED] = Path("runs")
    weights_dir: Annotated[Path, RECORDED] = Path("weights")


def resolve(config: Any) -> RunSpec:
    """Turns Hydra's composed config (an OmegaConf DictConfig) into a frozen `RunSpec`.

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
    """The same from plain mappings, as `run.json` and tests hold them.

    Raises:
        UserError: as `resolve`.
    """
    data = dict(values)
    for name, group in (("method", "methods"), ("dataset", "datasets")):
        data[name] = _part(data.get(name), group, name, _OUTER[name])
    data["evaluator"] = _evaluator(data.get("evaluator"))
    dataset = data["dataset"]
    dataset["label"] = dataset.get("label") or dataset["name"]
    return validated(RunSpec, data, "")


_OUTER = {"method": {"name", "card"}, "dataset": {"name", "label"}}


def _evaluator(raw: Any) -> dict[str, Any]:
    data = dict(_mapping(raw, "evaluator"))
    for name in ("detector", "landmarker", "parser"):
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
    """Splits a flat part into what stands beside its options and the validated options."""
    data = _mapping(raw, where)
    if not isinstance(data.get("name"), str):
        raise UserError(f"{where}.name is missing; one of: {', '.join(sorted(registry.targets(group)))}")
    options_class = registry.get(group, data["name"]).Options
    inner = {k: v for k, v in data.items() if k not in outer}
    return {
        **{k: v for k, v in data.items() if k in outer},
        "options": validated(options_class, inner, where, also=outer),
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
    """One line for the first thing that pydantic found wrong (and how many more there are)."""
    first, more = error.errors()[0], error.error_count() - 1
    path = ".".join([where, *(str(p) for p in first["loc"])]).strip(".").replace(".options.", ".")
    tail = f" (and {more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key {path}{_nearest(model, first['loc'], also)}{tail}"
    if first["type"] == "missing":
        return f"{path} is missing; give it as {path}=VALUE{tail}"
    return f"{path}={first.get('input')!r}: {first['msg'][0].lower()}{first['msg'][1:]}{tail}"


def _nearest(model: type[BaseModel], loc: tuple[int | str, ...], also: set[str]) -> str:
    """The valid names beside an unknown key, the nearest first."""
    for step in loc[:-1]:
        field = model.model_fields.get(str(step))
        model = field.annotation if field and isinstance(field.annotation, type) else model
    names = sorted({*model.model_fields, *(also if len(loc) == 1 else set())})
    near = difflib.get_close_matches(str(loc[-1]), names, n=1, cutoff=0.5)
    return (f"; did you mean {near[0]}?" if near else ";") + f" known: {', '.join(names)}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def detector_id(spec: RunSpec) -> str:
    """Identity of face detection: the detector's options and weights."""
    return digest({"detector": identity(spec.evaluator.detector)})


def landmarks_id(spec: RunSpec) -> str | None:
    """Identity of the landmark pass; None where no landmark network is configured."""
    if spec.evaluator.landmarker is None:
        return None
    return digest({"faces": detector_id(spec), "landmarker": identity(spec.evaluator.landmarker)})


def run_id(spec: RunSpec, content_id: str, needs: frozenset[str] = frozenset()) -> str:
    """Identity of a run's samples.

    Hashed: the method with its weights, the photos by content, the dataset's label, seed, prompt and number of
    samples, the detector (it decides which references are eligible and where their faces are) and the recognisers
    whose embeddings the method is given. Nothing that only measures, and nothing of `Execution`.
    """
    recognisers = sorted(n.removeprefix("embedding:") for n in needs if n.startswith("embedding:"))
    return digest(
        {
            "method": identity(spec.method),
            "dataset": {"label": spec.dataset.label, "content": content_id},
            "protocol": identity(spec.protocol, only=("seed", "samples_per_item", "prompt", "prompt_id")),
            "detector": detector_id(spec),
            "embeddings": {name: feature_id(spec, name, "arcface112") for name in recognisers},
        }
    )


def feature_id(spec: RunSpec, name: str, view: str) -> str:
    """Identity of one extractor's features: its options and weights, the view, and what finds the face."""
    part: Part = {**spec.evaluator.recognisers, **spec.evaluator.extractors}[name]
    return digest({"extractor": identity(part, only=("name", "options")), "view": view_id(spec, view)})


FLAME_VIEWS = ("flame224", "smirk224")


def view_id(spec: RunSpec, view: str) -> dict[str, Any]:
    """What decides the pixels of a view: detector, and for aligned views landmarks, crop and mask."""
    if view == "arcface112":
        return {"view": view, "faces": detector_id(spec)}
    views, masked = spec.protocol.views, view.endswith("masked")
    crop = ("alignment", "transform_size") + (("background", "fill", "min_foreground") if masked else ())
    crop += ("flame_landmarks",) if view in FLAME_VIEWS else ()
    parser = identity(spec.evaluator.parser) if masked and spec.evaluator.parser else None
    faces = landmarks_id(spec) or detector_id(spec)
    return {"view": view, "faces": faces, "crop": identity(views, only=crop), "parser": parser}
