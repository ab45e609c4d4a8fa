"""Bundles of many people, checked, on one page; what cannot be compared stands apart."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.exchange.bundle import Bundle, Name, Refused, read_bundle
from bench.exchange.schema import MANIFEST
from bench.exchange.verify import State, verify
from bench.hashing import sha256_bytes
from bench.metrics.shared.frechet_scores import REPLICATE, replicated
from bench.metrics.shared.scores import notes
from bench.report.differences import differences
from bench.report.frames import CONTROLS, MUST_AGREE, Run, of_number
from bench.report.model import Cell, Column, Table
from bench.report.page.facts import flat
from bench.report.page.render import Facts, Notice, Page, render
from bench.report.page.write import HIGHLIGHTS
from bench.report.paper import COUNTS, MARKED, column_cells, counts
from bench.store import write_atomic

NOTES: dict[State, str] = {
    "recomputed": "",
    "consistent": "error and interval follow from the bundle's replicates; the distance itself is what the bundle says",
    "claimed": "what the bundle says; it cannot be computed again without features",
}
UNTESTED = "not tested: numbers per item, or people, are missing"


@dataclass(frozen=True, eq=False)
class Entry:
    """A bundle that agrees with itself, and how far each of its numbers was checked."""

    bundle: Bundle
    states: dict[Name, State]

    @property
    def method(self) -> str:
        """Its method's name."""
        return self.bundle.record.method

    @property
    def label(self) -> str:
        """What tells it from the others on a page."""
        return f"{self.method} {self.bundle.record.id[:8]}"

    @cached_property
    def run(self) -> Run:
        """The bundle as reports read a run; of its items only the numbers that a leaderboard shows."""
        bundle, record = self.bundle, self.bundle.record.model_dump(mode="json")
        shown = [rows for name, rows in bundle.items_by_name.items() if _is_shown(name)]
        items = pd.concat(shown) if shown else bundle.items[:0]
        return Run(bundle.source, record, record["comparable"], bundle.scores, bundle.samples, items, pd.DataFrame())


def _is_shown(name: Name) -> bool:
    """Whether a number per item, or a jackknife's replicate, belongs to a number of the table."""
    metric, _, statistic = name
    of = replicated(metric) if statistic == REPLICATE else statistic
    return any((metric, of) == highlight[:2] for highlight in HIGHLIGHTS)


@dataclass(frozen=True, eq=False)
class Group:
    """Entries that may be compared: one list, one protocol, one evaluator, the same references and thresholds."""

    entries: list[Entry]
    disputed: bool

    @cached_property
    def runs(self) -> dict[str, Run]:
        """The entries by the ids of their runs."""
        return {entry.bundle.record.id: entry.run for entry in self.entries}

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Paired differences of the numbers that are shown."""
        return differences(self.runs)

    @property
    def headline(self) -> str:
        """The first recogniser that no method depends on; "" where there is none."""
        for recogniser in self._recognisers():
            relations = {_relation(entry, recogniser) for entry in self.entries if entry.method not in CONTROLS}
            if relations <= {"none"}:
                return recogniser
        return ""

    def _recognisers(self) -> list[str]:
        scores = self.entries[0].bundle.scores
        return list(dict.fromkeys(scores.loc[scores["metric"] == "id_similarity", "variant"]))


def write_leaderboard(given: Iterable[Path], to: Path) -> list[tuple[str, str]]:
    """Writes `index.html` and `leaderboard.csv` of the bundles that may be shown; returns those refused, with reasons.

    Raises:
        UserError: there is no bundle.
    """
    entries, refused = collect(sources(given))
    groups = grouped(entries)
    write_atomic(to / "index.html", render(page(groups, refused)))
    write_atomic(to / "leaderboard.csv", rows(groups).to_csv(index=False, lineterminator="\n").encode())
    return refused


def sources(given: Iterable[Path]) -> list[Path]:
    """The bundles that are meant: each path itself, or the zip files and bundle folders in it.

    Raises:
        UserError: there is nothing at a path, or no bundle in it.
    """
    found: list[Path] = []
    for path in given:
        if not path.exists():
            raise UserError(f"no bundle and no folder of bundles at {path}; `python -m bench export RUN` makes one")
        plain = path.is_dir() and not (path / MANIFEST).exists()
        inside = (
            [p for p in sorted(path.iterdir()) if p.suffix == ".zip" or (p / MANIFEST).exists()] if plain else [path]
        )
        if not inside:
            raise UserError(f"no bundle in {path}; `python -m bench export RUN --to {path / 'NAME.zip'}` makes one")
        found += inside
    return list(dict.fromkeys(found))


def collect(found: Iterable[Path]) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Reads and checks bundles: those that may be shown, and for each other one its name and the reason."""
    entries: dict[str, Entry] = {}
    refused: list[tuple[str, str]] = []
    for source in found:
        try:
            bundle = read_bundle(source)
            entry = Entry(bundle, verify(bundle))
        except Refused as error:
            refused.append((source.name, str(error)))
            continue
        known = entries.get(bundle.record.id)
        if known is not None:
            refused.append((source.name, f"it is the same run as {known.bundle.source.name}"))
        else:
            entries[bundle.record.id] = entry
    return list(entries.values()), refused


def grouped(entries: Iterable[Entry]) -> list[Group]:
    """Entries by what must agree; bundles that claim one list but disagree about its references stand apart."""
    by_key: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        comparable = entry.bundle.record.comparable.model_dump(mode="json")
        key = _digest({field: comparable[field] for field in MUST_AGREE})
        by_key.setdefault(key, {}).setdefault(_digest(references(entry.bundle)), []).append(entry)
    return [Group(_ordered(members), len(parts) > 1) for parts in by_key.values() for members in parts.values()]


def _digest(value: Any) -> str:
    return sha256_bytes(json.dumps(value, sort_keys=True).encode())


def references(bundle: Bundle) -> dict[str, Any]:
    """What depends on the dataset alone: whose items they are, which references have no face, the thresholds."""
    first = bundle.samples.drop_duplicates("item")
    cuts = {name: row["value"] for name, row in bundle.by_name.items() if name[2].startswith("threshold@")}
    return {
        "items": dict(zip(first["item"], first["subject"], strict=True)),
        "without a face": first.loc[first["status"] == "reference_failed", "item"].tolist(),
        "thresholds": {" ".join(name): round(value, 5) for name, value in cuts.items() if not math.isnan(value)},
    }


def _ordered(entries: list[Entry]) -> list[Entry]:
    """Controls last; before them by the headline number, or by name where there is none."""
    headline = Group(entries, False).headline

    def place(entry: Entry) -> tuple[bool, float, str]:
        row = _row(entry, ("id_similarity", headline, "mean_failures_as_zero"))
        value = -math.inf if row is None or math.isnan(row["value"]) else float(row["value"])
        return entry.method in CONTROLS, -value if headline else 0.0, entry.method

    return sorted(entries, key=place)


def _row(entry: Entry, name: Name) -> dict[str, Any] | None:
    return entry.bundle.by_name.get(name)


def _relation(entry: Entry, recogniser: str) -> str:
    row = _row(entry, ("id_similarity", recogniser, "mean_detected"))
    return "" if row is None else str(row["relation"])


# The page


def page(groups: Sequence[Group], refused: Sequence[tuple[str, str]]) -> Page:
    """The leaderboard as a page: a table per group, then what was refused."""
    count = sum(len(group.entries) for group in groups)
    tables = [group_table(group) for group in groups]
    if refused:
        columns = [Column("bundle", numeric=False), Column("reason", numeric=False)]
        tables.append(Table("Refused", columns, [[Cell(source), Cell(reason)] for source, reason in refused]))
    return Page(
        kind="Leaderboard",
        title=f"{count} run{'s' * (count != 1)} in {len(groups)} group{'s' * (len(groups) != 1)}",
        summary=[("Bundles", str(count + len(refused))), ("Refused", str(len(refused)))],
        notices=_notices(groups),
        tables=tables,
        facts=[facts for group in groups for facts in _facts(group)],
    )


def _notices(groups: Sequence[Group]) -> list[Notice]:
    checked = (
        "Means, rates and intervals were computed again from each bundle's rows and agree. A table that was made up as "
        "a whole would agree with itself, too: only running a method again can show that."
    )
    found = [Notice("Checked:", checked)]
    if len(groups) > 1:
        found.append(Notice("Separate tables:", "numbers of different tables must not be compared."))
    for entry in (entry for group in groups for entry in group.entries):
        found += [Notice(f"{entry.label} warns:", warning) for warning in entry.bundle.record.warnings]
    if any(group.disputed for group in groups):
        text = "bundles claim the same list, but disagree about its references or thresholds. At least one is wrong."
        found.append(Notice("Disputed:", text, alarm=True))
    return found


def group_table(group: Group) -> Table:
    """A row per run: counts, then the main numbers under every network, marked as `compare` marks them."""
    names = [((m, variant, s), words) for m, s, words in HIGHLIGHTS for variant in _variants(group, m, s)]
    columns = [*COUNTS, *(_column(group, name, words) for name, words in names)]
    cells = [_cells(group, name) for name, _ in names]
    body = [
        [*counts(entry.label, entry.run), *(column[place] for column in cells)]
        for place, entry in enumerate(group.entries)
    ]
    return Table(_title(group), columns, body, _remarks(group))


def _title(group: Group) -> str:
    record = group.entries[0].bundle.record
    place = f"{record.dataset} ({record.content[:8]}), {record.items} items"
    return f"{place}, {record.comparable.protocol.name}, measured by {record.comparable.evaluator}"


def _remarks(group: Group) -> list[str]:
    if group.headline:
        order = f"In the order of ID similarity under {group.headline}, failures as 0, which no method here depends on."
    else:
        order = (
            "In the order of names: no recogniser is independent of all these methods, so there is no headline number."
        )
    return [f"{order} Controls (copy, shuffle, real) come last and are not ranked.", MARKED]


def _variants(group: Group, metric: str, statistic: str) -> list[str]:
    scores = group.entries[0].bundle.scores
    return list(scores.loc[(scores["metric"] == metric) & (scores["statistic"] == statistic), "variant"])


def _column(group: Group, name: Name, words: str) -> Column:
    metric, variant, _ = name
    row = next((r for entry in group.entries if (r := _row(entry, name)) is not None), None)
    direction = None if row is None else row["higher_is_better"]
    note = "headline" if metric == "id_similarity" and variant == group.headline else _dependence(group, variant)
    better: Any = "" if direction is None else "higher" if direction else "lower"
    return Column(variant or words, words if variant else "", notes(note, _untested(group, name)), better)


def _untested(group: Group, name: Name) -> str:
    """Says where two generators have a number, but what the test of their difference needs is not in their bundles."""
    have = [e for e in group.entries if e.method not in CONTROLS and (row := _row(e, name)) and pd.notna(row["value"])]
    rows = of_number(group.differences, name).dropna(subset=["p_value"])
    tested = {frozenset(pair) for pair in zip(rows["a"], rows["b"], strict=True)}
    pairs = combinations((entry.bundle.record.id for entry in have), 2)
    return "" if all(frozenset(pair) in tested for pair in pairs) else UNTESTED


def _dependence(group: Group, variant: str) -> str:
    """Which methods have seen a recogniser: its numbers flatter them."""
    seen = [entry.method for entry in group.entries if _relation(entry, variant) in ("conditioned", "trained_against")]
    return f"circular for {', '.join(dict.fromkeys(seen))}" if seen else ""


def _cells(group: Group, name: Name) -> list[Cell]:
    """The cells of a column in the order of the entries, each with how far its number was checked."""
    cells = column_cells(group, name)
    return [_told(cells[entry.bundle.record.id], entry.states.get(name)) for entry in group.entries]


def _told(cell: Cell, state: State | None) -> Cell:
    return cell if state is None or cell.value is None else replace(cell, note=notes(NOTES[state], cell.note))


def _facts(group: Group) -> list[Facts]:
    """What a group was measured with, and where each of its runs comes from."""
    first = group.entries[0].bundle.record.comparable.model_dump(mode="json")
    found = [Facts(f"Measured with: {_title(group)}", flat({field: first[field] for field in MUST_AGREE}))]
    for entry in group.entries:
        record, manifest = entry.bundle.record, entry.bundle.manifest
        rows = {
            "bundle": entry.bundle.source.name, "sha256 of its manifest": entry.bundle.sha256, "run": record.id,
            "made with": manifest.made_with, "statement on pictures": manifest.people.statement,
            "method": record.spec.method.model_dump(mode="json"),
            "weights": record.weights, "environment": record.environment,
        }  # fmt: skip
        found.append(Facts(entry.label, flat(rows)))
    return found


def rows(groups: Sequence[Group]) -> pd.DataFrame:
    """Every number of every run: group, method, run, bundle, the score, and how far it was checked."""
    frames = [
        entry.bundle.scores.assign(
            group=at,
            list=entry.bundle.record.content,
            method=entry.method,
            run=entry.bundle.record.id,
            bundle=entry.bundle.sha256,
            checked=[entry.states[name] for name in entry.bundle.by_name],
        )
        for at, group in enumerate(groups, 1)
        for entry in group.entries
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["group", "method", "run"])
