"""Write the tables of metrics in README.md and docs/metrics/README.md: python docs/tables.py."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from bench import registry
from bench.metrics.protocol import Metric

ROOT = Path(__file__).resolve().parents[1]
BETTER = {True: "higher", False: "lower", None: "—"}
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


def _roles(metric: Metric) -> str:
    return ", ".join(metric.needs)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell or '—' for cell in cells)} |"


PAGES = {ROOT / "README.md": of_readme, ROOT / "docs" / "metrics" / "README.md": of_page}


def updated(page: Path) -> str:
    """Return the text of a page with its table of metrics as it should be."""
    table = PAGES[page]()
    header = re.escape(table.partition("\n")[0])
    return re.sub(rf"^{header}\n(\|.*\n)*", lambda _: table, page.read_text("utf-8"), flags=re.MULTILINE)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(updated(page), encoding="utf-8")
