"""Write the tables of metrics, relations, accuracies and empty slots in README.md and docs: python docs/tables.py."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from bench import registry, relations
from bench.cli.contribute import CONTROLS, METHODS
from bench.metrics.protocol import Metric
from bench.recognition.pairs import TITLES
from bench.recognition.testing import published
from bench.report.published import DATASETS

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "reports" / "reference"
"""Bundles that others gave: DATASET-METHOD.zip fills a slot of the paper's Table 1."""
BETTER = {True: "higher", False: "lower", None: "—"}
RELATIONS: tuple[relations.Relation, ...] = get_args(relations.Relation)
METRICS = [registry.get("metrics", name) for name in sorted(registry.BUILT_IN["metrics"])]


def of_readme() -> str:
    """Return the table of README.md: what each metric declares."""
    lines = ["| metric | version | unit | better | reads |", "|---|---|---|---|---|"]
    for metric in METRICS:
        link = f"[`{metric.name}`](docs/metrics/{metric.name}.md)"
        lines.append(_row(link, str(metric.version), metric.unit, BETTER[metric.higher_is_better], _roles(metric)))
    return "\n".join(lines) + "\n"


def of_page() -> str:
    """Return the table of docs/metrics/README.md: what each metric measures, as its module says in its first line."""
    lines = ["| metric | what it measures | better | needs |", "|---|---|---|---|"]
    for metric in METRICS:
        link = f"[{metric.name}]({metric.name}.md)"
        lines.append(_row(link, measured(metric), BETTER[metric.higher_is_better], _roles(metric)))
    return "\n".join(lines) + "\n"


def measured(metric: Metric) -> str:
    """Return what a metric measures: the first line of its module, without the name before a colon.

    >>> measured(registry.get("metrics", "cmmd"))
    'the kernel distance between CLIP embeddings of the samples and of the references'
    """
    words = (inspect.getdoc(inspect.getmodule(metric.compute)) or "").partition("\n")[0].rstrip(".")
    return words.partition(": ")[2] or words


def of_relations() -> str:
    """Return the table of docs/evaluators/relations.md: what each method knows of each recogniser, as it is derived.

    Every recogniser is in one cell of a method's line. "the others" are those that no other cell of the line has.
    """
    known = relations.table()
    shipped = sorted(name for name in registry.BUILT_IN["methods"] if name in known.methods)
    lines = [_row("method", *RELATIONS), "|---" * (1 + len(RELATIONS)) + "|"]
    for method in shipped:
        related = {name: known.of(method, name) for name in sorted(known.recognisers)}
        lines.append(_row(f"`{method}`", *(_related(related, relation) for relation in RELATIONS)))
    return "\n".join(lines) + "\n"


def _related(related: Mapping[str, relations.Relation], relation: relations.Relation) -> str:
    """Return the recognisers of one relation; those of the method's most frequent relation are "the others".

    >>> _related({"a": "none", "b": "none", "c": "conditioned"}, "none")
    'the others'
    >>> _related({"a": "none", "b": "none", "c": "conditioned"}, "conditioned")
    '`c`'
    """
    counts = Counter(related.values())
    names = [f"`{name}`" for name, found in related.items() if found == relation]
    if len(counts) == 1:
        return "all" if names else ""
    return "the others" if relation == counts.most_common(1)[0][0] else ", ".join(names)


def of_slots() -> str:
    """Return the table of docs/leaderboard.md: the slots of the paper's Table 1, and which bundle fills each."""
    lines = [_row("method", *DATASETS), "|---" * (1 + len(DATASETS)) + "|"]
    for method in (*METHODS, *CONTROLS):
        lines.append(_row(f"`{method}`", *(_slot(f"{dataset}-{method}.zip") for dataset in DATASETS.values())))
    return "\n".join(lines) + "\n"


def _slot(bundle: str) -> str:
    # The site has no file outside docs to link to.
    return f"`{bundle}`" if (REFERENCE / bundle).is_file() else "empty"


def of_accuracies() -> str:
    """Return the table of docs/howto/face-recognition.md: the accuracy that is published of each recogniser."""
    known = published()
    sets = [name for name in TITLES if any(name in one.accuracies for one in known.values())]
    lines = [_row("recogniser", *(f"{TITLES[name]}, %" for name in sets), "source, or why there is none")]
    lines.append("|---" * (2 + len(sets)) + "|")
    for name, one in known.items():
        accuracies = [f"{100 * one.accuracies[key]:.2f}" if key in one.accuracies else "" for key in sets]
        lines.append(_row(f"`{name}`", *accuracies, one.source))
    return "\n".join(lines) + "\n"


def _roles(metric: Metric) -> str:
    return ", ".join(metric.needs)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell or '—' for cell in cells)} |"


PAGES = {
    ROOT / "README.md": of_readme,
    ROOT / "docs" / "metrics" / "README.md": of_page,
    ROOT / "docs" / "evaluators" / "relations.md": of_relations,
    ROOT / "docs" / "leaderboard.md": of_slots,
    ROOT / "docs" / "howto" / "face-recognition.md": of_accuracies,
}


def updated(page: Path) -> str:
    """Return the text of a page with its generated table as it should be."""
    table = PAGES[page]()
    header = re.escape(table.partition("\n")[0])
    return re.sub(rf"^{header}\n(\|.*\n)*", lambda _: table, page.read_text("utf-8"), flags=re.MULTILINE)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(updated(page), encoding="utf-8")
