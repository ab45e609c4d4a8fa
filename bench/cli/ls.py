"""`python -m bench ls`: what there is, without importing any of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import registry, resources
from bench.console import show, table
from bench.errors import unknown
from bench.report.runs import runs

KINDS = ("methods", "datasets", "extractors", "metrics", "runs")


def main(argv: Sequence[str]) -> int:
    """Print a table (or `--json`) of methods, datasets, extractors, metrics or runs."""
    parser = argparse.ArgumentParser(prog="python -m bench ls", description=main.__doc__)
    parser.add_argument("kind", nargs="?", default="runs", help=", ".join(KINDS))
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    if arguments.kind not in KINDS:
        raise unknown("kind", arguments.kind, KINDS)
    rows = runs(arguments.out) if arguments.kind == "runs" else registered(arguments.kind)
    show(json.dumps(rows, indent=2, ensure_ascii=False) if arguments.json else table(rows))
    return 0


def registered(kind: str) -> list[dict[str, Any]]:
    """Return the registered parts of a kind: name, configuration and where the code is."""
    if kind == "extractors":
        groups = ("detectors", "landmarkers", "parsers", "extractors")
        return [{"kind": group[:-1], **row} for group in groups for row in _named(group)]
    if kind == "metrics":
        return _named(kind)
    known = registry.entries(kind)
    rows = [_config(path, known) for path in resources.configurations(kind[:-1])]
    configured = {row["part"] for row in rows}
    rest = [_without_config(name, entry) for name, entry in sorted(known.items()) if name not in configured]
    return rows + rest


def _named(group: str) -> list[dict[str, Any]]:
    return [{"name": name, **_origin(entry)} for name, entry in sorted(registry.entries(group).items())]


def _origin(entry: registry.Entry) -> dict[str, str]:
    """Return where a part's code is, and the package that brings it."""
    return {"code": entry.target, "package": str(entry.package or "idbench")}


def _config(path: Path, known: Mapping[str, registry.Entry]) -> dict[str, Any]:
    """Return the row of a configured method or dataset, from its YAML alone."""
    import yaml

    data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    card = data.get("card") or {}
    name = str(data.get("name", ""))
    return {
        "name": path.stem,
        "part": name,
        **(_origin(known[name]) if name in known else {"code": "not installed", "package": ""}),
        "licence": card.get("licence", ""),
        "trained on": card.get("training_sets", []),
    }


def _without_config(name: str, entry: registry.Entry) -> dict[str, Any]:
    return {"name": name, "part": name, **_origin(entry), "licence": "", "trained on": []}
