"""`python -m bench ls`: what there is, without importing any of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import registry, resources
from bench.console import show, table
from bench.errors import unknown
from bench.report.runs import runs
from bench.spec import GROUPS

KINDS = ("methods", "datasets", "conditions", "extractors", "metrics", "runs")


def main(argv: Sequence[str]) -> int:
    """Print a table (or `--json`) of methods, datasets, conditions, extractors, metrics or runs."""
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
        return [{"kind": g[:-1], "name": n, "code": c} for g in groups for n, c in sorted(registry.targets(g).items())]
    if kind == "metrics":
        return [{"name": name, "code": code} for name, code in sorted(registry.targets(kind).items())]
    folder = resources.folder("conf") / next(name for name, group in GROUPS.items() if group == kind)
    code = registry.targets(kind)
    rows = [_config(path, code) for path in sorted(folder.glob("*.yaml"))]
    configured = {row["part"] for row in rows}
    rest = [_without_config(name, target) for name, target in sorted(code.items()) if name not in configured]
    return rows + rest


def _config(path: Path, code: dict[str, str]) -> dict[str, Any]:
    """Return the row of a configured part, from its YAML alone."""
    import yaml

    data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    card = data.get("card") or {}
    name = str(data.get("name", ""))
    return {
        "name": path.stem,
        "part": name,
        "code": code.get(name, "not installed"),
        "licence": card.get("licence", ""),
        "trained on": card.get("training_sets", []),
    }


def _without_config(name: str, code: str) -> dict[str, Any]:
    return {"name": name, "part": name, "code": code, "licence": "", "trained on": []}
