"""What a reader must know before the numbers: where they come from, what may be done with them, what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.report.frames import Run
from bench.report.page.render import Facts, Notice
from bench.status import SampleStatus

NOT_STATED = "not stated"
_STRICTNESS = (
    ("not stated", "unknown", "that of the photos"),
    ("no redistribution", "non-commercial", "noncommercial", "research only", "-nc"),
    ("openrail", "rail"),
)
"""Words that distinguish licences, the strictest first; a licence without any of them is permissive."""


def within(record: Any, *keys: str, default: Any = "") -> Any:
    """Return the value at a path of keys of nested mappings, `default` where a step is missing or None.

    >>> within({"a": {"b": 1}}, "a", "b"), within({"a": None}, "a", "b")
    (1, '')
    """
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return default if record is None else record


def redistributable(run: Run) -> bool:
    """Return whether the dataset says that its images may be passed on; false unless it does."""
    return within(run.record, "spec", "dataset", "options", "redistributable", default=False) is True


def private_notice(runs: Mapping[str, Run]) -> list[Notice]:
    """Return the sentence on top of a local page that shows people who must not be passed on."""
    if all(redistributable(run) for run in runs.values()):
        return []
    text = (
        "It shows images of real people, and names, from a dataset that is not declared redistributable. "
        "To share the results, export them (python -m bench export RUN): that page leaves the images out and "
        "numbers the people."
    )
    return [Notice("Do not pass this page on.", text, alarm=True)]


def warning_notices(warnings: Iterable[str]) -> list[Notice]:
    """Return what a run, or a comparison, warns of."""
    return [Notice("Warning:", warning) for warning in warnings]


def state_notices(runs: Mapping[str, Run]) -> list[Notice]:
    """Return what a reader must know of the samples: failures, nothing to measure, too few people."""
    found = [notice for label, run in runs.items() for notice in _failures(label, run)]
    people = min(run.samples["subject"].nunique() for run in runs.values())
    if people < 20:
        size = "one person" if people == 1 else f"{people} people"
        found.append(Notice("Few people:", f"{size}; an interval by subject needs 20 or more to be trusted."))
    return found


def _failures(label: str, run: Run) -> Iterator[Notice]:
    statuses = [SampleStatus(status) for status in run.samples["status"]]
    tried = sum(status.is_trial for status in statuses)
    failed = sum(status.is_failure for status in statuses)
    if not tried:
        yield Notice(f"{label}:", "no sample could be tried; there is nothing to measure.", alarm=True)
    elif failed == tried:
        text = (
            f"none of its {tried} samples has a face, so that no similarity, distance or figure of them can be shown."
        )
        yield Notice(f"{label}:", text, alarm=True)
    elif failed / tried > 0.01:
        share = f"{failed} of {tried} samples ({failed / tried:.0%}) have no face to measure."
        advice = "Numbers over detected samples hide this; read those with failures as 0, too."
        yield Notice(f"{label}:", f"{share} {advice}")


def licences(run: Run) -> list[tuple[str, str]]:
    """Return part and licence of everything that the run used."""
    spec = run.record.get("spec", {})
    parts = [
        ("dataset", within(spec, "dataset", "options", "licence")),
        ("method", within(spec, "method", "card", "licence")),
        *(("evaluator", licence) for licence in within(spec, "evaluator", "licences", default=())),
    ]
    return [(part, str(licence) or NOT_STATED) for part, licence in parts]


def strictest(stated: Sequence[str]) -> str:
    """Return the strictest of some licences, by what their texts say; an unknown one is stricter than any known one.

    >>> strictest(["MIT", "non-commercial research only"])
    'non-commercial research only'
    """
    return min(stated, key=_rank, default=NOT_STATED)


def _rank(licence: str) -> int:
    text = licence.casefold()
    return next((at for at, words in enumerate(_STRICTNESS) if any(word in text for word in words)), len(_STRICTNESS))


def provenance(runs: Mapping[str, Run]) -> list[Facts]:
    """Return licences, identities, versions and settings; what all runs share is said once."""
    stated = list(dict.fromkeys(pair for run in runs.values() for pair in licences(run)))
    strict = ("these results are bound by", strictest([text for _, text in stated]))
    found = [Facts("Licences", [strict, *stated], open=True)]
    sections = {label: _sections(run) for label, run in runs.items()}
    for title in next(iter(sections.values())):
        found += _section(title, {label: rows[title] for label, rows in sections.items()})
    return found


def _section(title: str, of: Mapping[str, list[tuple[str, str]]]) -> list[Facts]:
    """Return one section for the rows that all runs share, and one per run for its own."""
    first, *others = of.values()
    common = [row for row in first if all(row in rows for rows in others)]
    own = [Facts(f"{title}: {label}", [row for row in rows if row not in common]) for label, rows in of.items()]
    return [facts for facts in (Facts(title, common), *own) if facts.rows]


def _sections(run: Run) -> dict[str, list[tuple[str, str]]]:
    record, comparable = run.record, run.comparable
    environment = record.get("environment", {})
    identities = {
        "run": record.get("id"), "list": record.get("content"), "detector": comparable.get("detector"),
        **{f"extractor {name}": text for name, text in within(comparable, "extractors", default={}).items()},
    }  # fmt: skip
    versions = {**environment.get("packages", {}), **{k: v for k, v in environment.items() if k != "packages"}}
    metrics = {name: f"version {number}" for name, number in within(comparable, "metrics", default={}).items()}
    return {
        "Identities (sha256)": flat(identities),
        "Weights (sha256)": flat(record.get("weights", {})),
        "Versions and machine": flat(versions),
        "Versions of the metrics": flat(metrics),
        "Specification": flat(record.get("spec", {})),
        **_stages(record.get("stages", ())),
        "Command": flat({"command": " ".join(map(str, record.get("command", [])))}),
    }


def _stages(stages: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """Return a section per stage that made something, newest last: machine, cost, options and command."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for entry in stages:
        rows = {**entry, "command": " ".join(map(str, entry["command"])), "environment": _code(entry["environment"])}
        number = sum(title.startswith(f"Stage {entry['stage']}") for title in sections)
        sections[f"Stage {entry['stage']}" + (f", command {number + 1}" if number else "")] = flat(rows)
    return sections


def _code(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return of an environment what can differ between the stages of a run on one machine."""
    return {name: environment.get(name) for name in ("commit", "dirty", "packages")}


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested mappings as dotted names and texts; what is empty is left out.

    >>> flat({"a": {"b": 1, "c": None}, "d": [1, 2]})
    [('a.b', '1'), ('d', '1, 2')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{key}.")
        elif value not in (None, "", [], ()):
            rows.append(
                (f"{prefix}{key}", ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))
            )
    return rows
