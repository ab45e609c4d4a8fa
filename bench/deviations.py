"""Where a protocol differs from the file of its name, so that its name alone would mislead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from bench import resources
from bench.spec import Protocol


def deviations(protocol: Protocol) -> list[str]:
    """Return a warning where the settings of a protocol are not those of `conf/protocol/<name>.yaml`.

    Which metrics are asked for does not count: it changes no number. Neither does a protocol that has no file here.
    """
    standard = standard_protocol(protocol.name)
    if standard is None:
        return []
    changed = [
        f"{key}={_shown(value)} (not {_shown(before)})"
        for key, value, before in _differences(protocol.model_dump(mode="json"), standard.model_dump(mode="json"))
        if key != "metrics"
    ]
    if not changed:
        return []
    return [f"not the settings of protocol {protocol.name}, so that its numbers are others: {', '.join(changed)}"]


@lru_cache(maxsize=16)
def standard_protocol(name: str) -> Protocol | None:
    """Return the protocol as its file has it; None where there is no file of that name."""
    import yaml

    path = resources.folder("conf") / "protocol" / f"{name}.yaml"
    return Protocol.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _differences(
    now: Mapping[str, Any], standard: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key, value in now.items():
        before = standard.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _differences(value, before, f"{prefix}{key}.")
        elif value != before:
            yield f"{prefix}{key}", value, before


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
