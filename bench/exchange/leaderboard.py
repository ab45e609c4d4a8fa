"""Bundles of many people, checked, on one page; numbers that cannot be compared are in tables of their own."""

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

from bench.csvs import csv_for_people
from bench.errors import UserError
from bench.exchange.bundle import Bundle, Refused, read_bundle
from bench.exchange.schema import MANIFEST
from bench.exchange.verify import State, verify
from bench.hashing import sha256_bytes
from bench.metrics import declared
from bench.metrics.protocol import REPLICATE, Number
from bench.metrics.shared.scores import notes
from bench.report.cells import COUNTS, MARKED, column_cells, counts
from bench.report.differences import differences
from bench.report.frames import MUST_AGREE, SIMILARITY, Run, headline, of_number
from bench.report.model import Cell, Column, Mark, Table
from bench.report.numbers import better, headlines, label, reads_recognisers, tiles
from bench.report.page.facts import flat
from bench.report.page.render import Facts, Notice, Page, render
from bench.store import write_atomic

CLAIMED: dict[State, str] = {
    "recomputed": "",
    "consistent": "error and interval follow from the bundle's replicates; the distance itself is what the bundle says",
    "claimed": "what the bundle says; it cannot be computed again from its rows",
}
UNTESTED = "not tested: numbers per item, or people, are missing"


@dataclass(frozen=True, eq=False)
class Entry:
    """A bundle that agrees with itself, and how far each of its numbers was checked."""

    bundle: Bundle
    states: dict[Number, State]

    @property
    def method(self) -> str:
        """Its method's name."""
        return self.bundle.record.method

    @property
    def id(self) -> str:
        """What was measured of its samples: the same run has the same one, whatever it calls itself."""
        return self.bundle.content_id

    @property
    def label(self) -> str:
        """What sets it apart from the others on a page."""
        return f"{self.method} {self.id[:8]}"

    @cached_property
    def run(self) -> Run:
        """The bundle as reports read a run; of its items only the numbers that a leaderboard shows."""
        bundle, record = self.bundle, self.bundle.record.model_dump(mode="json")
        shown = [rows for number, rows in bundle.items_by_number.items() if _is_shown(number)]
        items = pd.concat(shown) if shown else bundle.items[:0]
        return Run(bundle.source, record, record["comparable"], bundle.scores, bundle.samples, items, pd.DataFrame())


def _is_shown(number: Number) -> bool:
    """Whether a number per item, or a jackknife's replicate, belongs to a number of the table."""
    metric = declared.metric(number.metric)
    if metric is None or number.subset or number.group:
        return False
    if number.statistic == REPLICATE:
        return any(one.replicated and (one.headline or one.tile) for one in metric.statistics)
    statistic = declared.statistic(number)
    return statistic.headline or statistic.tile


@dataclass(frozen=True, eq=False)
class Group:
    """Entries that may be compared: one list, one protocol, one evaluator, the same references and thresholds.

    Attributes:
        entries: in the order of the table.
        disputed: whether bundles of the same list disagree about its references or thresholds.
    """

    entries: list[Entry]
    disputed: bool

    @cached_property
    def runs(self) -> dict[str, Run]:
        """The entries by their ids."""
        return {entry.id: entry.run for entry in self.entries}

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Paired differences of the numbers that are shown."""
        return differences(self.runs)

    @cached_property
    def headline(self) -> str:
        """The first recogniser that no generator depends on; "" where there is none."""
        return headline(list(self.runs.values())) or ""

    @cached_property
    def numbers(self) -> list[Number]:
        """The numbers that the tables show: those that metrics declare as headline or tile, where one has a value.

        Those of the headline recogniser come first, those of other recognisers last.
        """
        scores = self.entries[0].bundle.scores
        shown = dict.fromkeys([*headlines(scores), *tiles(scores)])
        return sorted((one for one in shown if any(_has(entry, one) for entry in self.entries)), key=self._place)

    def _place(self, number: Number) -> int:
        if not reads_recognisers(number) or not number.variant:
            return 1
        return 0 if number.variant == self.headline else 2

    def is_recomputed(self, number: Number) -> bool:
        """Return whether every entry's value follows from its rows: only such a number is ranked."""
        states = [entry.states[number] for entry in self.entries if number in entry.states]
        return all(state == "recomputed" for state in states)


def write_leaderboard(given: Iterable[Path], to: Path) -> list[tuple[str, str]]:
    """Write `index.html` and `leaderboard.csv` of the bundles that may be shown; return those refused, with reasons.

    Raises:
        UserError: there is no bundle.
    """
    entries, refused = collect(sources(given))
    groups = grouped(entries)
    write_atomic(to / "index.html", render(page(groups, refused)))
    write_atomic(to / "leaderboard.csv", csv_for_people(rows(groups)))
    return refused


def sources(given: Iterable[Path]) -> list[Path]:
    """Return the bundles that are meant: each path itself, or the zip files and bundle folders in it.

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
    """Read and check bundles: return those that may be shown, and for each other one its name and the reason."""
    entries: dict[str, Entry] = {}
    refused: list[tuple[str, str]] = []
    for source in found:
        try:
            entry = _checked(source)
        except Refused as error:
            refused.append((source.name, str(error)))
            continue
        if (known := entries.get(entry.id)) is not None:
            refused.append((source.name, f"it is the same run as {known.bundle.source.name}"))
        else:
            entries[entry.id] = entry
    return list(entries.values()), refused


def _checked(source: Path) -> Entry:
    """Read and check one bundle.

    Raises:
        Refused: it is damaged, forged or contradicts itself.
    """
    try:
        bundle = read_bundle(source)
        return Entry(bundle, verify(bundle))
    except Refused:
        raise
    # A foreign file may break a reader in ways that nobody has listed; it must cost itself alone.
    except Exception as error:
        raise Refused(f"it cannot be read: {type(error).__name__}: {str(error)[:200]}") from error


def grouped(entries: Iterable[Entry]) -> list[Group]:
    """Return entries by what must agree, and by conditions.

    Bundles that claim one list but disagree about its references are apart.
    """
    by_key: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        comparable = entry.bundle.record.comparable.model_dump(mode="json")
        agreed = {field: comparable[field] for field in (*MUST_AGREE, "conditions")}
        # Version 1 does not list what a dispute would be about.
        key = _digest({**agreed, "version": entry.bundle.manifest.version})
        by_key.setdefault(key, {}).setdefault(_digest(references(entry.bundle)), []).append(entry)
    return [Group(_ordered(members), len(parts) > 1) for parts in by_key.values() for members in parts.values()]


def _digest(value: Any) -> str:
    return sha256_bytes(json.dumps(value, sort_keys=True).encode())


def references(bundle: Bundle) -> dict[str, Any]:
    """Return what depends on the dataset alone: whose items they are, which references can be used, the thresholds."""
    first = bundle.samples.drop_duplicates("item")
    cuts = {str(n): row["value"] for n, row in bundle.by_number.items() if n.statistic == "threshold"}
    table = None if bundle.references is None else bundle.references.drop(columns=_targets(bundle.references))
    return {
        "items": dict(zip(first["item"], first["subject"], strict=True)),
        "without a face": first.loc[first["status"] == "reference_failed", "item"].tolist(),
        "thresholds": {name: round(value, 5) for name, value in cuts.items() if not math.isnan(value)},
        "table": "" if table is None else sha256_bytes(table.to_csv(index=False).encode()),
    }


def _targets(frame: pd.DataFrame) -> list[str]:
    """The columns of targets: a method that was shown the targets has none."""
    return [str(column) for column in frame if str(column).startswith("targets[")]


def _ordered(entries: list[Entry]) -> list[Entry]:
    """Controls last; before them by the headline number, or by name where there is none."""
    chief = Group(entries, False).headline
    number = Number(SIMILARITY, chief, "mean_failures_as_zero")

    def place(entry: Entry) -> tuple[bool, float, str]:
        row = entry.bundle.by_number.get(number)
        value = -math.inf if row is None or math.isnan(row["value"]) else float(row["value"])
        return entry.run.is_control, -value if chief else 0.0, entry.method

    return sorted(entries, key=place)


# The page


def page(groups: Sequence[Group], refused: Sequence[tuple[str, str]]) -> Page:
    """Return the leaderboard as a page: two tables per group, then what was refused."""
    count = sum(len(group.entries) for group in groups)
    tables = [table for group in groups for table in group_tables(group)]
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
        "The ranked numbers were computed again from each bundle's rows and agree. A table that was made up as "
        "a whole would agree with itself, too: only running a method again can show that. Claimed numbers need "
        "features that no bundle holds; they are in a table of their own and are not ranked."
    )
    found = [Notice("Checked:", checked)]
    if len(groups) > 1:
        found.append(Notice("Separate tables:", "numbers of different groups must not be compared."))
    warned: dict[str, list[str]] = {}
    for entry in (entry for group in groups for entry in group.entries):
        for warning in entry.bundle.record.warnings:
            warned.setdefault(warning, []).append(entry.label)
    found += [Notice(f"Warning of {', '.join(labels)}:", warning) for warning, labels in warned.items()]
    if any(group.disputed for group in groups):
        text = "bundles claim the same list, but disagree about its references or thresholds. At least one is wrong."
        found.append(Notice("Disputed:", text, alarm=True))
    return found


def group_tables(group: Group) -> list[Table]:
    """Return the table of numbers that were computed again, marked as `compare` marks them, and that of the others."""
    ranked = [number for number in group.numbers if group.is_recomputed(number)]
    claimed = [number for number in group.numbers if not group.is_recomputed(number)]
    remark = "Nothing here is ranked: these numbers cannot be computed again from the bundles."
    first = [_table(group, ranked, _title(group), _remarks(group))] if ranked else []
    return [*first, *([_table(group, claimed, f"Claimed: {_title(group)}", [remark])] if claimed else [])]


def _table(group: Group, numbers: Sequence[Number], title: str, remarks: list[str]) -> Table:
    columns = [*COUNTS, *(_column(group, number) for number in numbers)]
    cells = [_cells(group, number) for number in numbers]
    body = [
        [*counts(entry.label, entry.run), *(column[place] for column in cells)]
        for place, entry in enumerate(group.entries)
    ]
    return Table(title, columns, body, remarks)


def _title(group: Group) -> str:
    record = group.entries[0].bundle.record
    place = f"{record.dataset} ({record.content[:8]}), {record.items} items"
    made = record.comparable.conditions
    conditions = f", conditions {made.name} ({made.content[:8]})" if made else ""
    return f"{place}, {record.comparable.protocol.name}{conditions}, measured by {record.comparable.evaluator}"


def _remarks(group: Group) -> list[str]:
    if group.headline:
        order = f"In the order of ID similarity under {group.headline}, failures as 0, which no method here depends on."
    else:
        order = (
            "In the order of names: no recogniser is independent of all these methods, so there is no headline number."
        )
    return [f"{order} Controls come last and are not ranked.", MARKED]


def _column(group: Group, number: Number) -> Column:
    note = _untested(group, number) if group.is_recomputed(number) else ""
    scores = group.entries[0].bundle.scores
    if reads_recognisers(number) and number.variant:
        return Column(label(number), _judged(group, number.variant), note, better(scores, number))
    return Column(label(number) + (f" ({number.variant})" if number.variant else ""), "", note, better(scores, number))


def _judged(group: Group, recogniser: str) -> str:
    """Return a recogniser with what a reader must know of it."""
    note = "headline" if recogniser == group.headline else _dependence(group, recogniser)
    return f"{recogniser} ({note})" if note else recogniser


def _untested(group: Group, number: Number) -> str:
    """Say where two generators have a number, but what the test of their difference needs is not in their bundles."""
    have = [entry for entry in group.entries if not entry.run.is_control and _has(entry, number)]
    tested_rows = of_number(group.differences, number).dropna(subset=["p_value"])
    tested = {frozenset(pair) for pair in zip(tested_rows["a"], tested_rows["b"], strict=True)}
    pairs = combinations((entry.id for entry in have), 2)
    return "" if all(frozenset(pair) in tested for pair in pairs) else UNTESTED


def _has(entry: Entry, number: Number) -> bool:
    row = entry.bundle.by_number.get(number)
    return row is not None and not math.isnan(row["value"])


def _dependence(group: Group, variant: str) -> str:
    """Which methods have seen a recogniser: its numbers flatter them."""
    relations = [(entry.method, _relation(entry, variant)) for entry in group.entries]
    seen = [method for method, relation in relations if relation in ("conditioned", "trained_against")]
    return f"circular for {', '.join(dict.fromkeys(seen))}" if seen else ""


def _relation(entry: Entry, recogniser: str) -> str:
    row = entry.bundle.by_number.get(Number(SIMILARITY, recogniser, "mean_detected"))
    return "" if row is None else str(row["relation"])


def _cells(group: Group, number: Number) -> list[Cell]:
    """The cells of a column in the order of the entries; those of a claimed number say so and have no mark."""
    cells = column_cells(group, number)
    ranked = group.is_recomputed(number)
    found = []
    for entry in group.entries:
        cell = cells[entry.id]
        note = (
            notes(CLAIMED[entry.states.get(number, "recomputed")], cell.note) if cell.value is not None else cell.note
        )
        found.append(replace(cell, note=note, mark=cell.mark if ranked else Mark.NONE))
    return found


def _facts(group: Group) -> list[Facts]:
    """What a group was measured with, and where each of its runs comes from."""
    first = group.entries[0].bundle.record.comparable.model_dump(mode="json")
    found = [Facts(f"Measured with: {_title(group)}", flat({field: first[field] for field in MUST_AGREE}))]
    for entry in group.entries:
        record, manifest = entry.bundle.record, entry.bundle.manifest
        facts = {
            "bundle": entry.bundle.source.name, "sha256 of its manifest": entry.bundle.sha256,
            "sha256 of what was measured": entry.id, "run": record.id, "made with": manifest.made_with,
            "statement on images": manifest.people.statement, "method": record.spec.method.model_dump(mode="json"),
            "weights": record.weights, "environment": record.environment,
        }  # fmt: skip
        found.append(Facts(entry.label, flat(facts)))
    return found


def rows(groups: Sequence[Group]) -> pd.DataFrame:
    """Return every number of every run: group, method, run, bundle, the score, and how far it was checked."""
    frames = [
        entry.bundle.scores.assign(
            group_of_runs=at,
            list=entry.bundle.record.content,
            method=entry.method,
            run=entry.id,
            bundle=entry.bundle.sha256,
            checked=[entry.states[number] for number in entry.bundle.by_number],
        )
        for at, group in enumerate(groups, 1)
        for entry in group.entries
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["group_of_runs", "method", "run"])
