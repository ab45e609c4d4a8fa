"""Names of pluggable parts: ours by table, third parties' by entry point; nothing is imported until it is used."""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from bench.errors import UserError, unknown

BUILT_IN: dict[str, dict[str, str]] = {
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
        "deca": "bench.extractors.flame:Deca",
        "dinov2": "bench.extractors.dinov2:Dinov2",
        "emoca": "bench.extractors.flame:Emoca",
        "inception": "bench.extractors.inception:Inception",
        "lpips": "bench.extractors.lpips:Lpips",
        "smirk": "bench.extractors.flame:Smirk",
    },
    "metrics": {
        "cmmd": "bench.metrics.cmmd:METRIC",
        "copy_paste": "bench.metrics.copy_paste:METRIC",
        "copying": "bench.metrics.copying:METRIC",
        "copying_lpips": "bench.metrics.copying_lpips:METRIC",
        "expression_diversity": "bench.metrics.expression_diversity:METRIC",
        "failure_to_acquire": "bench.metrics.failure_to_acquire:METRIC",
        "fd_dinov2": "bench.metrics.fd_dinov2:METRIC",
        "fid": "bench.metrics.fid:METRIC",
        "groups": "bench.metrics.groups:METRIC",
        "id_similarity": "bench.metrics.id_similarity:METRIC",
        "kid": "bench.metrics.kid:METRIC",
        "lpips_diversity": "bench.metrics.lpips_diversity:METRIC",
        "pose_diversity": "bench.metrics.pose_diversity:METRIC",
        "precision_recall": "bench.metrics.precision_recall:METRIC",
        "retrieval": "bench.metrics.retrieval:METRIC",
        "target_similarity": "bench.metrics.target_similarity:METRIC",
        "verification": "bench.metrics.verification:METRIC",
        "within_similarity": "bench.metrics.within_similarity:METRIC",
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
        UserError: no such name; the message has the nearest valid one.
    """
    table = targets(group)
    if name not in table:
        raise unknown(group[:-1], name, table)
    module, attribute = table[name].split(":")
    return getattr(importlib.import_module(module), attribute)
