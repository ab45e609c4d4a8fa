"""`python -m bench ls`: what there is, without importing any of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import registry, relations, resources
from bench.console import Parser, show, table
from bench.errors import UserError, unknown
from bench.report.runs import runs
from bench.spec import GROUPS

LISTED = ("engines", "experiments", "trackers")
"""Kinds of which there is a name and a package to show."""
KINDS = ("methods", "datasets", "conditions", "extractors", "recognisers", "metrics", *LISTED, "runs")


def main(argv: Sequence[str]) -> int:
    """Print a table (or `--json`) of methods, datasets and other parts, or of runs."""
    parser = Parser(prog="python -m bench ls", description=main.__doc__)
    parser.add_argument("kind", nargs="?", default="runs", help=", ".join(KINDS))
    parser.add_argument("--for", dest="method", help="of recognisers: what this method knows of each")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    if arguments.kind not in KINDS:
        raise unknown("kind", arguments.kind, KINDS)
    rows = runs(arguments.out) if arguments.kind == "runs" else _rows(arguments.kind, arguments.method)
    show(json.dumps(rows, indent=2, ensure_ascii=False) if arguments.json else table(rows))
    return 0


def _rows(kind: str, method: str | None) -> list[dict[str, Any]]:
    if method is not None and kind != "recognisers":
        raise UserError(f"--for goes with recognisers: python -m bench ls recognisers --for {method}")
    return recognisers(method) if kind == "recognisers" else registered(kind)


def recognisers(method: str | None) -> list[dict[str, Any]]:
    """Return the recognisers whose training is known, and a method's relation to each where one is named.

    A relation that the card of the method's configuration declares comes before the derived one.

    Raises:
        UserError: there is no such method.
    """
    facts = relations.table()
    rows = [{"name": name, "trained on": trained_on} for name, trained_on in facts.recognisers.items()]
    if method is None:
        return rows
    configured = {row["name"]: row for row in registered("methods")}
    if method not in configured:
        raise unknown("method", method, configured)
    part, by_hand = configured[method]["part"], _card_of(method).get("relations") or {}
    return [
        row | {"relation": by_hand.get(row["name"], by_hand.get("*")) or facts.of(part, row["name"])} for row in rows
    ]


def _card_of(method: str) -> dict[str, Any]:
    """Return what a method's YAML declares in its card; nothing where it has no YAML, or a card per set of weights."""
    cards = [_yaml(path).get("card") for path in resources.configurations("method") if path.stem == method]
    return next(filter(None, cards), {})


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def registered(kind: str) -> list[dict[str, Any]]:
    """Return the registered parts of a kind: name, configuration and where the code is."""
    if kind == "extractors":
        groups = ("detectors", "landmarkers", "parsers", "extractors")
        return [
            {"kind": group[:-1], "name": name, **_origin(entry)}
            for group in groups
            for name, entry in sorted(registry.entries(group).items())
        ]
    if kind in LISTED:
        return [{"name": name, **_origin(entry)} for name, entry in sorted(registry.entries(kind).items())]
    if kind == "metrics":
        return [_metric(name, entry) for name, entry in sorted(registry.entries(kind).items())]
    group = next(name for name, table in GROUPS.items() if table == kind)
    known = registry.entries(kind)
    rows = [_config(path, known) for path in resources.configurations(group)]
    configured = {row["part"] for row in rows}
    rest = [_without_config(name, entry) for name, entry in sorted(known.items()) if name not in configured]
    return rows + rest


def _origin(entry: registry.Entry) -> dict[str, str]:
    """Return where a part's code is, and the package that brings it."""
    return {"code": entry.target, "package": str(entry.package or "idbench")}


def _metric(name: str, entry: registry.Entry) -> dict[str, Any]:
    """Return the row of a metric, as it declares itself; of one whose package is broken, why it is."""
    try:
        metric = registry.get("metrics", name)
    except UserError as error:
        blank = {"version": "", "unit": "", "better": "", "reads": ()}
        return {"name": name, "title": str(error), **blank, **_origin(entry)}
    better = {True: "higher", False: "lower", None: ""}[metric.higher_is_better]
    return {
        "name": name, "title": metric.title, "version": metric.version, "unit": metric.unit, "better": better,
        "reads": metric.needs, **_origin(entry),
    }  # fmt: skip


def _config(path: Path, known: Mapping[str, registry.Entry]) -> dict[str, Any]:
    """Return the row of a configured part, from its YAML alone."""
    data = _yaml(path)
    card = data.get("card") or {}
    name = str(data.get("name", ""))
    return {
        "name": path.stem,
        "part": name,
        **(_origin(known[name]) if name in known else {"code": "not installed", "package": ""}),
        "licence": data.get("licence", "") or card.get("licence", ""),
        "trained on": card.get("training_sets", []),
    }


def _without_config(name: str, entry: registry.Entry) -> dict[str, Any]:
    note = "no configuration: write conf/…/NAME.yaml and name its folder by --config-dir"
    return {"name": name, "part": name, **_origin(entry), "licence": note, "trained on": []}
