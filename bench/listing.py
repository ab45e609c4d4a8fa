"""`python -m bench ls`: what there is, without importing any of it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import registry, resources
from bench.console import show
from bench.errors import UserError, unknown

KINDS = ("methods", "datasets", "extractors", "metrics", "runs")


def main(argv: Sequence[str]) -> int:
    """Prints a table (or `--json`) of methods, datasets, extractors, metrics or runs."""
    parser = argparse.ArgumentParser(prog="python -m bench ls", description=main.__doc__)
    parser.add_argument("kind", nargs="?", default="runs", help=", ".join(KINDS))
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    if arguments.kind not in KINDS:
        raise unknown("kind", arguments.kind, KINDS)
    rows = runs(arguments.out) if arguments.kind == "runs" else parts(arguments.kind)
    show(json.dumps(rows, indent=2, ensure_ascii=False) if arguments.json else table(rows))
    return 0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as aligned columns under a header; control characters in names are escaped."""
    if not rows:
        return "none"
    texts = [{key: _cell(value) for key, value in row.items()} for row in rows]
    widths = {key: max(len(key), *(len(text[key]) for text in texts)) for key in texts[0]}
    lines = [{key: key for key in widths}, *texts]
    return "\n".join("  ".join(line[key].ljust(width) for key, width in widths.items()).rstrip() for line in lines)


def _cell(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def parts(kind: str) -> list[dict[str, Any]]:
    """Registered parts of a kind: name, configuration and where the code is."""
    if kind == "extractors":
        groups = ("detectors", "landmarkers", "parsers", "extractors")
        return [{"kind": g[:-1], "name": n, "code": c} for g in groups for n, c in sorted(registry.targets(g).items())]
    if kind == "metrics":
        return [{"name": name, "code": code} for name, code in sorted(registry.targets(kind).items())]
    folder, code = resources.folder("conf") / kind[:-1], registry.targets(kind)
    rows = [_config(path, code) for path in sorted(folder.glob("*.yaml"))]
    configured = {row["part"] for row in rows}
    rest = [_without_config(name, target) for name, target in sorted(code.items()) if name not in configured]
    return rows + rest


def _config(path: Path, code: dict[str, str]) -> dict[str, Any]:
    """One row of a configured method or dataset, from its YAML alone."""
    import yaml

    data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    card, name = data.get("card") or {}, str(data.get("name", ""))
    return {
        "name": path.stem,
        "part": name,
        "code": code.get(name, "not installed"),
        "licence": card.get("licence", ""),
        "trained on": card.get("training_sets", []),
    }


def _without_config(name: str, code: str) -> dict[str, Any]:
    return {"name": name, "part": name, "code": code, "licence": "", "trained on": []}


def runs(out: Path) -> list[dict[str, Any]]:
    """Every run below `out`, oldest first: method, dataset, state, and which shards a partial one has.

    Raises:
        UserError: `out` is no folder.
    """
    if not out.is_dir():
        raise UserError(
            f"there are no runs: {out} is no folder; make one with `python -m bench run`, or name it: --out DIR"
        )
    found = [row for path in sorted(out.glob("*/*/run.json")) if (row := _run(path)) is not None]
    return sorted(found, key=lambda row: (row.pop("begun"), row["folder"]))


def _run(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {
            "folder": str(path.parent), "method": "?", "dataset": "?", "list": "?",
            "state": "run.json is damaged", "begun": 0.0,
        }  # fmt: skip
    return {
        "folder": str(path.parent),
        "method": record["method"],
        "dataset": record["dataset"],
        "list": f"{record['dataset']}-{record['content'][:8]}",
        "state": state(path.parent, record["shards"]),
        "begun": record["begun"],
    }


def state(folder: Path, shards: int) -> str:
    """ "complete", "failed: …", or which stage has which shards."""
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
    """Consecutive numbers as ranges.

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
