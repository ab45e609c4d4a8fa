"""The runs that lie below a folder, and how far each has come."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench import registry
from bench.errors import UserError


def runs(out: Path) -> list[dict[str, Any]]:
    """Return every run below `out`, oldest first: method, dataset, state, and which shards a partial one has.

    Raises:
        UserError: `out` is not a folder.
    """
    if not out.is_dir():
        raise UserError(
            f"there are no runs: {out} is not a folder; make one with `python -m bench run`, or name it: --out DIR"
        )
    found = [row for path in sorted(out.glob("*/*/run.json")) if (row := _run(path)) is not None]
    return sorted(found, key=lambda row: (row.pop("begun"), row["folder"]))


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "method": str, "dataset": str, "content": str, "shards": int, "begun": (int, float),
}  # fmt: skip


def _run(path: Path) -> dict[str, Any] | None:
    # It imports pandas, which lists of parts do without.
    from bench.store import read_record

    try:
        record = read_record(path, _FIELDS)
    except UserError:
        return {
            "folder": str(path.parent), "method": "?", "label": "?", "dataset": "?", "list": "?", "options": "",
            "state": "run.json is damaged", "numbers": "", "begun": 0.0,
        }  # fmt: skip
    return {
        "folder": str(path.parent),
        "method": record["method"],
        "label": record.get("label") or record["method"],
        "dataset": record["dataset"],
        "list": f"{record['dataset']}-{record['content'][:8]}",
        "options": options(record),
        "state": state(path.parent, record["shards"]),
        "numbers": "; ".join(f"{name} {value:.3f}" for name, value in record.get("headline", {}).items()),
        "begun": record["begun"],
    }


def options(record: Mapping[str, Any]) -> str:
    """Return the options of a run's method that are not the class's defaults, without places of files.

    >>> options({"method": "of_a_package_that_is_gone", "spec": {"method": {"options": {"steps": 3, "root": "/a"}}}})
    'steps=3'
    """
    given: dict[str, Any] = record.get("spec", {}).get("method", {}).get("options", {})
    defaults = _defaults(record["method"])
    told = {name: value for name, value in given.items() if isinstance(value, (bool, int, float, str))}
    return " ".join(
        f"{name}={value}" for name, value in told.items() if "/" not in str(value) and value != defaults.get(name, ...)
    )


@lru_cache(maxsize=256)
def _defaults(method: str) -> dict[str, Any]:
    """Return the defaults of a method's options; empty where the method is not installed here."""
    if method not in registry.entries("methods"):
        return {}
    return {name: field.default for name, field in registry.get("methods", method).Options.model_fields.items()}


def state(folder: Path, shards: int) -> str:
    """Return "complete", "failed: …", or which stage has which shards."""
    if (folder / "error.json").exists():
        return "failed: see error.json"
    if (folder / "scores" / "scores.json").exists():
        return "complete"
    made = _shards(folder / "tables" / "samples")
    if len(made) < shards:
        return f"partial: samples of shards {_ranges(made)} of {shards}"
    return "partial: samples made, not scored"


def _shards(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(int(n[:-8]) for n in names if n.endswith(".parquet") and n[:-8].isdigit())


def _ranges(numbers: Sequence[int]) -> str:
    """Return consecutive numbers as ranges.

    >>> _ranges([0, 1, 2, 5])
    '0-2, 5'
    """
    groups: list[list[int]] = []
    for n in numbers:
        if groups and n == groups[-1][-1] + 1:
            groups[-1].append(n)
        else:
            groups.append([n])
    return ", ".join(f"{g[0]}-{g[-1]}" if len(g) > 1 else str(g[0]) for g in groups) or "none"
