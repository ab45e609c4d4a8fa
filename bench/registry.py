"""Names of pluggable parts: ours by table, third parties' by entry point; nothing is imported until it is used."""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from bench.errors import UserError, unknown

BUILT_IN: dict[str, dict[str, str]] = {
    "conditions": {
        "averaging": "bench.conditions.averaging:Averaging",
        "default": "bench.conditions.default:Default",
        "interpolation": "bench.conditions.interpolation:Interpolation",
        "table": "bench.conditions.table:Table",
    },
    "methods": {
        "arc2face": "baselines.arc2face:Arc2Face",
        "copy": "baselines.controls:Copy",
        "external": "baselines.external:External",
        "fastcomposer": "baselines.fastcomposer:FastComposer",
        "folder": "baselines.folder:Folder",
        "instantid": "baselines.instantid:InstantID",
        "ip_adapter_faceid_plus": "baselines.ip_adapter_faceid:IPAdapterFaceID",
        "ip_adapter_faceid_plusv2": "baselines.ip_adapter_faceid:IPAdapterFaceID",
        "ip_adapter_faceid_sdxl": "baselines.ip_adapter_faceid:IPAdapterFaceID",
        "photomaker": "baselines.photomaker:PhotoMaker",
        "photomaker_v2": "baselines.photomaker:PhotoMaker",
        "real": "baselines.controls:Real",
        "shuffle": "baselines.controls:Shuffle",
    },
    "datasets": {
        "agedb": "bench.data.agedb:AgeDB",
        "folder": "bench.data.folder:Folder",
        "london": "bench.data.london:London",
        "mini": "bench.data.mini:Mini",
        "synth500": "bench.data.synth500:Synth500",
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
        "table2": "bench.recognition.table2:EXPERIMENT",
    },
    "extractors": {
        "adaface": "bench.extractors.adaface:AdaFace",
        "arcface_onnx": "bench.extractors.recognition:ArcFaceOnnx",
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
}
"""group -> name -> "module:attribute"."""


@lru_cache(maxsize=16)
def targets(group: str) -> dict[str, str]:
    """All names of a group with their "module:attribute", those of installed packages included.

    Raises:
        UserError: an installed package registers a name that is taken.
    """
    table = dict(BUILT_IN[group])
    for entry in entry_points(group=f"bench.{group}"):
        if entry.name in table:
            raise UserError(f"{entry.value} registers {group[:-1]} {entry.name!r}, which is {table[entry.name]}")
        table[entry.name] = entry.value
    return table


def get(group: str, name: str) -> Any:
    """The object that a name stands for, imported now.

    Raises:
        UserError: no such name (the message has the nearest valid one), or its module cannot be imported.
    """
    table = targets(group)
    if name not in table:
        raise unknown(group[:-1], name, table)
    module, attribute = table[name].split(":")
    # The module may be another package's and fail in any way.
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{group[:-1]} {name} ({table[name]}) cannot be imported: {what}") from error


def distribution(group: str, name: str) -> tuple[str, str] | None:
    """Return name and version of the installed package that a part comes from; None for a part of ours."""
    for entry in entry_points(group=f"bench.{group}"):
        if entry.name == name and entry.dist is not None:
            return entry.dist.name, entry.dist.version
    return None
