"""The verb `check`: compares a run with a golden file, for people and for CI."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench.console import Parser, say, show, table
from bench.errors import UserError, unknown
from bench.report.frames import load_run
from bench.report.golden import (
    SEED,
    Change,
    Golden,
    Row,
    Tolerance,
    Tolerances,
    Verdict,
    changes,
    golden_of,
    judge,
    measured,
    metric_of,
    read_golden,
    write_golden,
)  # fmt: skip
from bench.store import write_atomic

ANNOTATIONS = 10
"""Errors that GitHub shows of one step."""
NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        run: the run's folder.
        golden: the golden file.
        changes: settings that differ; a seed alone does not keep numbers from being judged.
        rows: the verdicts; empty where settings differ and the user did not ask for numbers anyway.
        accepted: whether numbers were asked for in spite of other settings.
    """

    run: Path
    golden: Path
    changes: list[Change]
    rows: list[Row]
    accepted: bool

    @property
    def blocking(self) -> list[Change]:
        """The settings that fail the check."""
        return [] if self.accepted else [change for change in self.changes if change.path != SEED]

    @property
    def wrong(self) -> list[Row]:
        """The numbers that fail the check."""
        return [row for row in self.rows if not row.verdict.is_good]

    @property
    def good(self) -> bool:
        """Whether the check passes."""
        return not self.blocking and not self.wrong


def main(argv: Sequence[str]) -> int:
    """Compare the scores of a run with a golden file.

    Settings are compared first (weights, protocol, photos, versions of metrics): where one differs, no number is
    judged. With the same seed a number may differ by its tolerance, with another one it must lie in its golden
    interval.
    """
    arguments = _parser().parse_args(argv)
    now = golden_of(load_run(arguments.run))
    if arguments.update:
        return _update(arguments, now)
    if arguments.spread:
        raise UserError("--spread goes with --update")
    outcome = _check(arguments, now)
    _report(outcome, arguments)
    return 0 if outcome.good else 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m bench check", description=main.__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a scored run")
    parser.add_argument("--golden", type=Path, required=True, metavar="FILE", help="reports/golden/NAME.json")
    parser.add_argument("--update", action="store_true", help="write the golden file and show what changes in it")
    parser.add_argument(
        "--spread",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="with --update: the same run from other machines",
    )
    parser.add_argument(
        "--tolerance",
        type=_given,
        action="append",
        default=[],
        metavar="[NAME=]X",
        help="allow X (or X%% of the golden value), for one metric or number or for all; may be repeated",
    )
    parser.add_argument("--judge-anyway", action="store_true", help="judge numbers in spite of other settings")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--github", action="store_true", help="print annotations of GitHub Actions, too")
    printed.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _given(text: str) -> tuple[str, Tolerance]:
    """Return name and tolerance of `fid=0.5`, `id_similarity[arcface].q05=1e-3`, `2%`.

    >>> _given("fid=2%")
    ('fid', Tolerance(absolute=0.0, relative=0.02))
    """
    name, _, number = text.rpartition("=")
    share = number.endswith("%")
    try:
        value = float(number.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a tolerance: write 0.01, 2%, fid=0.5")
    return name, Tolerance(relative=value / 100) if share else Tolerance(absolute=value)


def _check(arguments: argparse.Namespace, now: Golden) -> Outcome:
    if not arguments.golden.exists():
        raise UserError(f"no golden file at {arguments.golden}; the same command with --update writes it")
    golden = read_golden(arguments.golden)
    found, accepted = changes(golden, now), arguments.judge_anyway
    judged = accepted or all(change.path == SEED for change in found)
    tolerances = _with_given(golden.tolerances, arguments.tolerance, {*golden.scores, *now.scores})
    rows = judge(golden, now, tolerances) if judged else []
    return Outcome(arguments.run, arguments.golden, found, rows, accepted)


def _with_given(tolerances: Tolerances, given: Sequence[tuple[str, Tolerance]], known: set[str]) -> Tolerances:
    """Return the tolerances with those of the command line over them."""
    metrics = sorted(set(map(metric_of, known)))
    names = {*known, *metrics}
    for name, _ in given:
        if name and name not in names:
            raise unknown("number or metric", name, names)
    every = {metric: one for name, one in given if not name for metric in metrics}
    own = {name: one for name, one in given if name}
    return tolerances.model_copy(update={"given": {**({} if every else tolerances.given), **every, **own}})


def _update(arguments: argparse.Namespace, now: Golden) -> int:
    """Write the golden file; tolerances that are in it stay, unless a new spread was measured."""
    path = arguments.golden
    old = read_golden(path) if path.exists() else None
    tolerances = old.tolerances if old else now.tolerances
    if arguments.spread:
        others = [golden_of(load_run(folder)) for folder in arguments.spread]
        tolerances = measured(now, others).model_copy(update={"given": tolerances.given})
    given = _with_given(tolerances, arguments.tolerance, set(now.scores))
    write_golden(path, now.model_copy(update={"tolerances": given}))
    if old is None:
        show(f"{path}: new, {len(now.scores)} numbers")
        return 0
    rows = [row for row in judge(old, now, old.tolerances) if row.golden != row.now or not row.verdict.is_good]
    _show_changes(changes(old, now))
    _show_rows(rows)
    show(f"{path}: {len(rows)} of {len(now.scores)} numbers changed")
    return 0


def _report(outcome: Outcome, arguments: argparse.Namespace) -> None:
    if arguments.junit:
        write_atomic(arguments.junit, junit(outcome))
    if arguments.github:
        show("\n".join(github(outcome)) or "::notice::check passed")
    if arguments.json:
        show(json.dumps(plain(outcome), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _show(outcome)


def _show(outcome: Outcome) -> None:
    _show_changes(outcome.changes)
    if outcome.blocking:
        say("settings differ: no number was judged (--judge-anyway judges them, --update takes them over)")
        return
    _show_rows(outcome.wrong)
    good, of = len(outcome.rows) - len(outcome.wrong), len(outcome.rows)
    skipped = sum(row.verdict is Verdict.NOT_JUDGED for row in outcome.rows)
    show(f"{good - skipped} of {of} numbers hold" + (f", {skipped} were not judged" if skipped else ""))


def _show_changes(found: Sequence[Change]) -> None:
    if found:
        show(
            table(
                [
                    {"changed": c.kind, "setting": c.path, "golden": _short(c.golden), "now": _short(c.now)}
                    for c in found
                ]
            )
        )


def _show_rows(rows: Sequence[Row]) -> None:
    lines = [
        {"metric": r.number, "golden": _figure(r.golden), "now": _figure(r.now), "tolerance": r.tolerance,
         "verdict": r.said}
        for r in rows
    ]  # fmt: skip
    if lines:
        show(table(lines))


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.6g}"


def _short(value: Any) -> str:
    """Return a setting; of a sha256 its first digits, "—" for none."""
    text = "—" if value is None else str(value)
    return text[:12] + "…" if len(text) == 64 and " " not in text else text


def _sentences(outcome: Outcome) -> list[tuple[str, str]]:
    """Return what is wrong, as (title, sentence)."""
    settings = [
        (f"{c.kind} changed", f"{c.path}: golden {_short(c.golden)}, now {_short(c.now)}") for c in outcome.blocking
    ]
    return settings + [(row.number, _sentence(row)) for row in outcome.wrong]


def _sentence(row: Row) -> str:
    return f"golden {_figure(row.golden)}, now {_figure(row.now)}, tolerance {row.tolerance or 'none'}: {row.said}"


def github(outcome: Outcome) -> list[str]:
    """Return workflow commands of GitHub Actions: an error for each thing that is wrong, ten at most."""
    found = _sentences(outcome)
    if len(found) > ANNOTATIONS:
        more = len(found) - ANNOTATIONS + 1
        found = [*found[: ANNOTATIONS - 1], ("check", f"and {more} more; the log names them")]
    file = _property(outcome.golden.as_posix())
    return [f"::error file={file},title={_property(title)}::{_message(text)}" for title, text in found]


def _message(text: str) -> str:
    """Return the text behind `::` of a workflow command.

    >>> _message("50 %\\n")
    '50 %25%0A'
    """
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Return a property's value in a workflow command.

    >>> _property("a:b,c")
    'a%3Ab%2Cc'
    """
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def junit(outcome: Outcome) -> bytes:
    """Return JUnit XML: a test case per setting that differs and per number."""
    size = len(outcome.blocking) + len(outcome.rows)
    failed = len(outcome.blocking) + len(outcome.wrong)
    suite = ElementTree.Element("testsuite", name="idbench check", tests=str(size), failures=str(failed))
    for change in outcome.blocking:
        _case(suite, f"settings.{change.kind}", change.path, "failure", f"golden {change.golden}, now {change.now}")
    for row in outcome.rows:
        metric = metric_of(row.number)
        if row.verdict.is_good:
            _case(suite, metric, row.number, "" if row.verdict is Verdict.OK else "skipped", row.said)
        else:
            _case(suite, metric, row.number, "failure", _sentence(row))
    return ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)


def _case(suite: ElementTree.Element, group: str, name: str, outcome: str, text: str) -> None:
    """Add a test case; `outcome` is "failure", "skipped" or "" for a good one, which has no text."""
    case = ElementTree.SubElement(suite, "testcase", classname=_xml(group), name=_xml(name))
    if outcome:
        ElementTree.SubElement(case, outcome, message=_xml(text))


def _xml(text: str) -> str:
    """Return the text without the characters that XML cannot hold."""
    return NO_XML.sub("\ufffd", text)


def plain(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as plain JSON types."""
    return {
        "run": str(outcome.run),
        "golden": str(outcome.golden),
        "good": outcome.good,
        "changes": [asdict(change) for change in outcome.changes],
        "numbers": [{**asdict(row), "said": row.said} for row in outcome.rows],
    }
