"""Read people's judgements from CSV: scores of single images, or votes between two images of one source.

    ratings   image, source, score; where known method, dimension, reference, se, n
    votes     source, image_a, image_b, winner (a, b or tie), rater; where known dimension

A file with other columns comes with a map, a YAML file:

    ratings:
      columns: {image: file_name, source: person, method: model}   # ours: theirs
      scores: {identity: ID Consistency, quality: MOS}              # one column per dimension, in place of `score`
      ignore: [date]
    votes:
      columns: {…}
      winners: {left: a, right: b}                                  # theirs: ours
      ignore: […]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.data.lists import csv_records
from bench.errors import UserError

RATING_NEEDS = ("image", "source", "score")
RATING_COLUMNS = (*RATING_NEEDS, "method", "dimension", "reference", "se", "n")
VOTE_NEEDS = ("source", "image_a", "image_b", "winner", "rater")
VOTE_COLUMNS = (*VOTE_NEEDS, "dimension")
ONE_DIMENSION = "score"
"""The dimension of a file that names none."""
WINNERS = {"a": 1.0, "b": 0.0, "tie": 0.5}


class RatingMap(BaseModel):
    """How a foreign file of ratings calls things: our column -> theirs, dimension -> column, columns to leave out."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    columns: dict[Literal[RATING_COLUMNS], str] = Field(default_factory=dict)  # type: ignore[valid-type]
    scores: dict[str, str] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()


class VoteMap(BaseModel):
    """How a foreign file of votes calls things: our column -> theirs, their word for a winner -> ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    columns: dict[Literal[VOTE_COLUMNS], str] = Field(default_factory=dict)  # type: ignore[valid-type]
    winners: dict[str, Literal["a", "b", "tie"]] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()


class Maps(BaseModel):
    """The content of a map file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ratings: RatingMap = RatingMap()
    votes: VoteMap = VoteMap()


class _Row(NamedTuple):
    """A record of a file under our names, and where it is."""

    where: str
    values: Mapping[str, str]


def read_map(path: Path | None) -> Maps:
    """Return the maps of a YAML file; without a file, those that change nothing.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    import yaml

    if path is None:
        return Maps()
    try:
        return Maps(**(yaml.safe_load(path.read_text(encoding="utf-8")) or {}))
    except (OSError, yaml.YAMLError, TypeError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"cannot read the map {path}: {line}; docs/howto/validate.md shows one") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {place}: {first['msg']}; docs/howto/validate.md shows a map") from error


def read_ratings(path: Path, names: RatingMap) -> pd.DataFrame:
    """Return the ratings of a CSV file.

    Returns:
        Columns image, source, method, reference ("" where the file has none), dimension, score; an image has one score
        in each dimension.

    Raises:
        UserError: a missing or unknown column (the message shows the header), a score that is not a number, or an
            image that is scored twice in one dimension; with the line.
    """
    own = dict(names.columns)
    scores = {dimension: column for dimension, column in names.scores.items()}
    needed = tuple(name for name in RATING_NEEDS if name != "score" or not scores)
    lines = []
    for where, values in _records(path, own, needed, RATING_COLUMNS, (*scores.values(), *names.ignore)):
        first = {name: values.get(name, "") for name in ("image", "source", "method", "reference")}
        given = {d: values[c] for d, c in scores.items()} or {values.get("dimension") or ONE_DIMENSION: values["score"]}
        lines += [{**first, "dimension": d, "score": _number(where, text), "where": where} for d, text in given.items()]
    frame = pd.DataFrame(lines)
    twice = frame[frame.duplicated(["image", "dimension"])]
    if len(twice):
        row = twice.iloc[0]
        raise UserError(
            f"{row['where']}: {row['image']!r} has a score for {row['dimension']!r} already; one is allowed"
        )
    return frame.drop(columns="where")


def read_votes(path: Path, names: VoteMap) -> pd.DataFrame:
    """Return the votes of a CSV file.

    Returns:
        Columns source, image_a, image_b, rater, dimension, value: 1 where a won, 0 where b did, 0.5 for a tie. The two
        images of a pair are in the same order everywhere.

    Raises:
        UserError: a missing or unknown column (the message shows the header), or a winner that is none of a, b, tie.
    """
    lines = []
    for where, values in _records(path, dict(names.columns), VOTE_NEEDS, VOTE_COLUMNS, names.ignore):
        word = names.winners.get(values["winner"], values["winner"])
        if word not in WINNERS:
            allowed = ", ".join([*names.winners, *WINNERS])
            raise UserError(f"{where}: winner {values['winner']!r}; allowed: {allowed}")
        line = {name: values[name] for name in ("source", "image_a", "image_b", "rater")}
        lines.append({**line, "dimension": values.get("dimension") or ONE_DIMENSION, "value": WINNERS[word]})
    return _ordered(pd.DataFrame(lines))


def _ordered(votes: pd.DataFrame) -> pd.DataFrame:
    """The votes with the two names of each pair in alphabetical order."""
    swap = votes["image_a"] > votes["image_b"]
    a, b = votes["image_a"].mask(swap, votes["image_b"]), votes["image_b"].mask(swap, votes["image_a"])
    return votes.assign(image_a=a, image_b=b, value=votes["value"].mask(swap, 1 - votes["value"]))


def _records(
    path: Path, own: Mapping[str, str], needed: tuple[str, ...], known: tuple[str, ...], others: tuple[str, ...]
) -> Iterator[_Row]:
    """The rows under our names; columns of others under their own."""
    records = csv_records(path)
    _, header = next(records, (1, []))
    theirs = {own.get(name, name): name for name in known if own.get(name, name) in header}
    missing = [own.get(name, name) for name in needed if own.get(name, name) not in header]
    missing += [name for name in others if name not in header]
    unknown = [name for name in header if name not in theirs and name not in others]
    if missing or unknown:
        problem = f"no column {', '.join(missing)}" if missing else f"unknown column {', '.join(unknown)}"
        shown = ", ".join(header) or "nothing"
        raise UserError(f"{path}, line 1: {problem}; found: {shown}; map=FILE.yaml names columns of another file")
    empty = True
    for line, fields in records:
        if len(fields) != len(header):
            raise UserError(f"{path}, line {line}: {len(fields)} fields, but the header has {len(header)}")
        empty = False
        pairs: Iterator[tuple[str, str]] = zip(header, fields, strict=True)
        yield _Row(f"{path}, line {line}", {theirs.get(name, name): text for name, text in pairs})
    if empty:
        raise UserError(f"{path} has no rows below its header")


def _number(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value or value in (float("inf"), float("-inf")):
        raise UserError(f"{where}: score {text!r} is not a number")
    return value


def read_values(path: Path) -> pd.DataFrame:
    """Return metrics that were computed elsewhere: a row per image (the index), a column per metric; "" is no value.

    Raises:
        UserError: no column `image`, an image twice, or a value that is not a number.
    """
    records = csv_records(path)
    _, header = next(records, (1, []))
    if "image" not in header or len(header) < 2:
        raise UserError(
            f"{path}, line 1: needed: image and a column for each metric; found: {', '.join(header) or 'nothing'}"
        )
    lines: dict[str, dict[str, Any]] = {}
    for line, fields in records:
        if len(fields) != len(header):
            raise UserError(f"{path}, line {line}: {len(fields)} fields, but the header has {len(header)}")
        values = dict(zip(header, fields, strict=True))
        image = values.pop("image")
        if image in lines:
            raise UserError(f"{path}, line {line}: {image!r} is there already; one row for each image")
        lines[image] = {name: _number(f"{path}, line {line}", text) if text else None for name, text in values.items()}
    columns = [name for name in header if name != "image"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns, dtype=float)
