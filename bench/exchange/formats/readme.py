"""A badge and a table for a README."""

from __future__ import annotations

from bench.exchange.formats.rows import begun
from bench.metrics.protocol import Number
from bench.report import overview
from bench.report.frames import SIMILARITY, Run, headline, of_number
from bench.report.tables import escape_markdown, markdown
from bench.version import __version__

BADGE = "idbench.svg"
TABLE = "idbench.md"
_SIDE = 6.6
"""Pixels of a character of the badge, about."""


def files(run: Run) -> dict[str, bytes]:
    """Return path -> content: an SVG badge, and Markdown that shows it above the headline numbers.

    The badge shows ID similarity under the judge that is independent of the method, and says so where there is none.
    """
    text = _said(run)
    table = overview.of_run(run).table
    made = f"{run.label} on {run.record['dataset']}, {begun(run).date().isoformat()}, idbench {__version__}"
    lines = [f"![idbench: {escape_markdown(text)}]({BADGE})", "", escape_markdown(made), "", markdown(table)]
    return {BADGE: _badge("idbench", text).encode(), TABLE: "\n".join(lines).encode()}


def _said(run: Run) -> str:
    judge = headline([run])
    rows = of_number(run.scores, Number(SIMILARITY, judge or "", "mean_detected")).dropna(subset=["value"])
    if judge is None:
        return "no independent judge"
    return "ID similarity n/a" if rows.empty else f"ID similarity {rows['value'].iloc[0]:.3f} ({judge})"


def _badge(name: str, text: str) -> str:
    """Return a badge of two parts as SVG; it names nothing outside itself."""
    from markupsafe import escape

    left, right = (round(_SIDE * len(one) + 14) for one in (name, text))
    title = escape(f"{name}: {text}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{title}">'
        f"<title>{title}</title>"
        f'<rect width="{left + right}" height="20" rx="3" fill="#0b5fa5"/><rect width="{left}" height="20" rx="3" '
        'fill="#333a42"/><g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" '
        f'font-size="11"><text x="{left / 2}" y="14">{escape(name)}</text><text x="{left + right / 2}" y="14">'
        f"{escape(text)}</text></g></svg>\n"
    )
