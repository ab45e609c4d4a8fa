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
        "fastcomposer": "baselines.fastcomposer:FastComposer",
        "instantid": "baselines.instantid:InstantID",
        "ip_adapter_faceid_plus": "baselines.ip_adapter_faceid:IPAdapterFaceID",
        "ip_adapter_faceid_plusv2": "baselines.ip_adapter_faceid:IPAdapterFaceID",
        "ip_adapter_faceid_sdxl": "baselines.ip_adapter_faceid:IPAdapterFaceID",
        "photomaker": "baselines.photomaker:PhotoMaker",
        "photomaker_v2": "baselines.photomaker:PhotoMaker",
    },
    "datasets": {},
    "detectors": {},
    "landmarkers": {},
    "parsers": {},
    "extractors": {},
    "metrics": {},
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
