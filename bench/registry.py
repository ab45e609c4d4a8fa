"""Names of pluggable parts: ours by table, third parties' by entry point; nothing is imported until it is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint
from typing import Any

from bench.console import say
from bench.errors import UserError, unknown
from bench.installed import PREFIX, registered

BUILT_IN: dict[str, dict[str, str]] = {
    "conditions": {
        "averaging": "bench.conditions.averaging:Averaging",
        "components": "bench.conditions.components:Components",
        "default": "bench.conditions.default:Default",
        "identities": "bench.conditions.identities:OfIdentities",
        "interpolation": "bench.conditions.interpolation:Interpolation",
        "table": "bench.conditions.table:Table",
    },
    "methods": {
        "arc2face": "baselines.arc2face:Arc2Face",
        "consistentid": "baselines.consistentid:ConsistentID",
        "copy": "baselines.controls:Copy",
        "external": "baselines.external:External",
        "fastcomposer": "baselines.fastcomposer:FastComposer",
        "flux2_klein": "baselines.reference_edit:ReferenceEdit",
        "flux_kontext": "baselines.reference_edit:ReferenceEdit",
        "folder": "baselines.folder:Folder",
        "infiniteyou_aes": "baselines.infiniteyou:InfiniteYou",
        "infiniteyou_sim": "baselines.infiniteyou:InfiniteYou",
        "instantid": "baselines.instantid:InstantID",
        "ip_adapter_faceid_plus": "baselines.ip_adapter_faceid:IPAdapterFaceID",
        "ip_adapter_faceid_plusv2": "baselines.ip_adapter_faceid:IPAdapterFaceID",
        "ip_adapter_faceid_sdxl": "baselines.ip_adapter_faceid:IPAdapterFaceID",
        "photomaker": "baselines.photomaker:PhotoMaker",
        "photomaker_v2": "baselines.photomaker:PhotoMaker",
        "pulid_flux": "baselines.pulid_flux:PuLIDFlux",
        "qwen_image_edit_plus": "baselines.reference_edit:ReferenceEdit",
        "real": "baselines.controls:Real",
        "shuffle": "baselines.controls:Shuffle",
        "vec2face": "baselines.vec2face:Vec2Face",
        "withanyone": "baselines.withanyone:WithAnyone",
    },
    "datasets": {
        "agedb": "bench.data.agedb:AgeDB",
        "folder": "bench.data.folder:Folder",
        "identities": "bench.data.identities:SampledPeople",
        "london": "bench.data.london:London",
        "mini": "bench.data.mini:Mini",
        "synth500": "bench.data.synth500:Synth500",
    },
    "engines": {
        "local": "bench.execution.engines:local",
        "manual": "bench.execution.engines:manual",
        "ray": "bench.execution.engines:ray",
        "slurm": "bench.execution.engines:slurm",
    },
    "detectors": {
        "retinaface": "bench.faces.detection:RetinaFace",
        "scrfd": "bench.faces.detection:Scrfd",
    },
    "landmarkers": {
        "fan": "bench.faces.landmarks:Fan",
        "insightface68": "bench.faces.landmarks:Insightface68",
    },
    "parsers": {
        "bisenet": "bench.faces.parsing:BiSeNet",
        "parsenet": "bench.faces.parsing:ParseNet",
    },
    "experiments": {
        "fig10": "bench.paper.interpolation:EXPERIMENT",
        "fig11": "bench.paper.neighbours:EXPERIMENT",
        "fig14": "bench.paper.averaging:EXPERIMENT",
        "fig3": "bench.paper.ablations:FIG3",
        "fig5": "bench.paper.methods:FIG5",
        "fig7": "bench.paper.control:EXPERIMENT",
        "fig8": "bench.paper.components:EXPERIMENT",
        "fig9": "bench.paper.ablations:FIG9",
        "table1": "bench.paper.methods:TABLE1",
        "table2": "bench.recognition.table2:EXPERIMENT",
        "user_study": "bench.paper.methods:USER_STUDY",
    },
    "extractors": {
        "adaface": "bench.extractors.adaface:AdaFace",
        "arcface_onnx": "bench.extractors.recognition:ArcFaceOnnx",
        "arcface_torch": "bench.extractors.arcface_torch:ArcFaceTorch",
        "clip": "bench.extractors.clip:Clip",
        "clip_text": "bench.extractors.clip_text:ClipText",
        "crfiqa": "bench.extractors.crfiqa:CrFiqa",
        "cvlface_vit": "bench.extractors.cvlface_vit:CvlfaceVit",
        "deca": "bench.extractors.flame:Deca",
        "dinov2": "bench.extractors.dinov2:Dinov2",
        "dlib_face": "bench.extractors.dlib_face:DlibFace",
        "edgeface": "bench.extractors.edgeface:EdgeFace",
        "ediffiqa": "bench.extractors.ediffiqa:EDifFiqa",
        "emoca": "bench.extractors.flame:Emoca",
        "facenet": "bench.extractors.facenet:FaceNet",
        "inception": "bench.extractors.inception:Inception",
        "lpips": "bench.extractors.lpips:Lpips",
        "magface": "bench.extractors.magface:MagFace",
        "mica": "bench.extractors.mica:Mica",
        "sixdrepnet": "bench.extractors.sixdrepnet:SixDRepNet",
        "smirk": "bench.extractors.flame:Smirk",
        "sscd": "bench.extractors.sscd:Sscd",
    },
    "metrics": {
        "aesthetic": "bench.metrics.aesthetic:METRIC",
        "cmmd": "bench.metrics.cmmd:METRIC",
        "copy_paste": "bench.metrics.copy_paste:METRIC",
        "copying": "bench.metrics.copying:METRIC",
        "copying_lpips": "bench.metrics.copying_lpips:METRIC",
        "copying_sscd": "bench.metrics.copying_sscd:METRIC",
        "detection_agreement": "bench.metrics.detection_agreement:METRIC",
        "expression_control": "bench.metrics.expression_control:METRIC",
        "expression_diversity": "bench.metrics.expression_diversity:METRIC",
        "face_quality": "bench.metrics.face_quality:METRIC",
        "failure_to_acquire": "bench.metrics.failure_to_acquire:METRIC",
        "fd_dinov2": "bench.metrics.fd_dinov2:METRIC",
        "fid": "bench.metrics.fid:METRIC",
        "groups": "bench.metrics.groups:METRIC",
        "head_pose_diversity": "bench.metrics.head_pose_diversity:METRIC",
        "id_similarity": "bench.metrics.id_similarity:METRIC",
        "kid": "bench.metrics.kid:METRIC",
        "lpips_diversity": "bench.metrics.lpips_diversity:METRIC",
        "pose_control": "bench.metrics.pose_control:METRIC",
        "pose_diversity": "bench.metrics.pose_diversity:METRIC",
        "precision_recall": "bench.metrics.precision_recall:METRIC",
        "prompt_following": "bench.metrics.prompt_following:METRIC",
        "quality_similarity": "bench.metrics.quality_similarity:METRIC",
        "retrieval": "bench.metrics.retrieval:METRIC",
        "target_similarity": "bench.metrics.target_similarity:METRIC",
        "verification": "bench.metrics.verification:METRIC",
        "within_similarity": "bench.metrics.within_similarity:METRIC",
        "yaw_similarity": "bench.metrics.yaw_similarity:METRIC",
    },
    "trackers": {
        "mlflow": "bench.tracking:MLFLOW",
        "tensorboard": "bench.tracking:TENSORBOARD",
        "wandb": "bench.tracking:WANDB",
    },
}
"""group -> name -> "module:attribute"; other packages add to each group by its entry points `bench.<group>`."""


@dataclass(frozen=True)
class Package:
    """An installed package that registers parts.

    Attributes:
        name: of its distribution, as pip knows it.
        version: of it.
    """

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def removal(self) -> str:
        """Return the command that takes it away."""
        return f"python -m pip uninstall {self.name}"


@dataclass(frozen=True)
class Entry:
    """What is registered by a name.

    Attributes:
        target: "module:attribute".
        package: that brings it; None: ours.
    """

    target: str
    package: Package | None = None

    def __str__(self) -> str:
        return f"{self.target} of {self.package or 'idbench'}"


@lru_cache(maxsize=16)
def entries(group: str) -> dict[str, Entry]:
    """Return all names of a group, those of installed packages included.

    Raises:
        UserError: an installed package registers a name that is taken.
    """
    table = {name: Entry(target) for name, target in BUILT_IN[group].items()}
    for point in registered().get(group, ()):
        package = package_of(point)
        new = Entry(point.value, package)
        if point.name in table:
            raise UserError(
                f"{group[:-1]} {point.name!r} is registered twice: {table[point.name]} and {new}; "
                f"take one package away, for example by: {package.removal}"
            )
        table[point.name] = new
    return table


def package_of(point: EntryPoint) -> Package:
    """Return the installed package that an entry point belongs to."""
    assert point.dist is not None, "importlib.metadata names the distribution of every entry point that it finds"
    return Package(point.dist.name, point.dist.version)


def packages() -> dict[Package, list[tuple[str, str]]]:
    """Return every installed package that adds to the benchmark -> group and name of what it registers."""
    found: dict[Package, list[tuple[str, str]]] = {}
    for group, points in registered().items():
        for point in points:
            found.setdefault(package_of(point), []).append((group, point.name))
    return found


def faults(package: Package) -> list[str]:
    """Return a line for each thing of a package that cannot be used: a part, or a group that there is not."""
    found = []
    for group, name in packages()[package]:
        if group not in (*BUILT_IN, "conf"):
            known = [f"{PREFIX}{one}" for one in (*BUILT_IN, "conf")]
            found.append(str(unknown("group of entry points", f"{PREFIX}{group}", known)))
        elif group != "conf":
            try:
                get(group, name)
            except UserError as error:
                found.append(str(error))
    return found


def get(group: str, name: str) -> Any:
    """Return the object of a name, imported now.

    Raises:
        UserError: no such name (the message has the nearest valid one), or its module cannot be imported.
    """
    table = entries(group)
    if name not in table:
        raise unknown(group[:-1], name, table)
    module, _, attribute = table[name].target.partition(":")
    # The module may be another package's and fail in any way.
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise UserError(_broken(group, name, table[name], error)) from error


def _broken(group: str, name: str, entry: Entry, error: Exception) -> str:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    fix = f"; update the package, or take it away: {entry.package.removal}" if entry.package else ""
    return f"{group[:-1]} {name!r} ({entry}) cannot be imported: {what}{fix}"


@lru_cache(maxsize=1024)
def find(group: str, name: str) -> Any | None:
    """Return the object of a name; None where it is unknown or its package is broken, which is said once."""
    if name not in entries(group):
        return None
    try:
        return get(group, name)
    except UserError as error:
        say(f"warning: {error}")
        return None


def parts(group: str) -> dict[str, Any]:
    """Return every object of a group that can be imported, by name; the others are named once in a warning."""
    return {name: part for name in sorted(entries(group)) if (part := find(group, name)) is not None}
