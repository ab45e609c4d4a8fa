"""The verb `validate`: do the metrics agree with people?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.cli.settings import Names, Settings, parser, read_settings
from bench.console import say, show
from bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from bench.studies.validation import Validation

USAGE = """measure how far metrics agree with people's ratings or votes of the same images

  python -m bench validate ratings=FILE.csv images=DIR
  python -m bench validate ratings=FILE.csv images=DIR map=FILE.yaml metrics=id_similarity profile=paper
  python -m bench validate votes=FILE.csv values=FILE.csv lower=lpips

Settings that this verb does not know go to the runs that measure the images: profile=paper, evaluator.…"""
HEADER = ("metric", "dimension", "statistic", "failures", "value", "n", "failed", "note")
SHOWN = ("srcc", "krcc", "plcc", "pairwise_accuracy", "srcc_within_source", "vote_accuracy")


class ValidateSettings(Settings):
    """What `validate` can be told."""

    ratings: Path | None = Field(
        None, description="CSV: image, source, score, and method, dimension, reference if known"
    )
    votes: Path | None = Field(
        None, description="CSV: source, image_a, image_b, winner (a|b|tie), rater, and dimension if known"
    )
    map: Path | None = Field(None, description="YAML that names the columns of another file")
    images: Path | None = Field(None, description="folder of the rated images: they are measured")
    values: Path | None = Field(
        None, description="CSV: image, and a column for each metric that was computed elsewhere"
    )
    metrics: Names = Field((), description="metrics to compare, separated by commas; all if none")
    lower: Names = Field((), description="columns of values= that are better when lower")
    width: float = Field(0.0, ge=0, description="pairs of images whose scores differ by no more are left out")
    seed: int = Field(0, description="of every resampling")
    out: Path = Field(Path("validation"), description="folder to write to")


def main(argv: Sequence[str]) -> int:
    """Write and print how far metrics agree with people."""
    words = parser("validate", USAGE, ValidateSettings).parse_args(argv).words
    fields = ValidateSettings.model_fields
    overrides = [word for word in words if "=" in word and word.partition("=")[0] not in fields]
    settings = read_settings(ValidateSettings, [word for word in words if word not in overrides], "validate")

    from bench.studies.ratings import read_map, read_ratings, read_votes
    from bench.studies.validation import validate

    maps = read_map(settings.map)
    ratings = read_ratings(settings.ratings, maps.ratings) if settings.ratings else None
    votes = read_votes(settings.votes, maps.votes) if settings.votes else None
    if ratings is None and votes is None:
        raise UserError("give ratings=FILE.csv or votes=FILE.csv (or both)")
    values = _values(settings, ratings, overrides)
    _write(validate(values, ratings, votes, seed=settings.seed, width=settings.width), settings.out)
    return 0


def _values(settings: ValidateSettings, ratings: pd.DataFrame | None, overrides: Sequence[str]) -> pd.DataFrame:
    """Metrics by image, higher is better, from a file or from runs on the images."""
    from bench.studies.ratings import read_values
    from bench.studies.validation import oriented

    if (settings.values is None) == (settings.images is None):
        raise UserError("give images=DIR (to be measured) or values=FILE.csv (measured elsewhere), one of them")
    if settings.values is None:
        return _measured(settings, ratings, overrides)
    if overrides:
        raise UserError(f"{overrides[0]!r} is for runs on images=DIR; with values= nothing is run")
    values = read_values(settings.values)
    return oriented(_chosen(values, settings.metrics, list(values.columns)), settings.lower)


def _measured(settings: ValidateSettings, ratings: pd.DataFrame | None, overrides: Sequence[str]) -> pd.DataFrame:
    from bench import registry
    from bench.__main__ import main as bench
    from bench.studies.validation import directions, measure, oriented

    if ratings is None or settings.images is None:
        raise UserError("images=DIR needs ratings=FILE.csv, which says the source of each image")
    if settings.lower:
        raise UserError("lower= is for values=FILE.csv; the metrics of images=DIR declare their direction")
    values = measure(ratings, settings.images, settings.out, bench, overrides)
    better = {name: metric.higher_is_better for name, metric in registry.parts("metrics").items()}
    lower, none = directions(list(values.columns), better)
    if none:
        say(f"left out, since neither direction is better: {', '.join(none)}")
    values = oriented(values, lower).drop(columns=none)
    return _chosen(values, settings.metrics, [column.partition("[")[0] for column in values.columns])


def _chosen(values: pd.DataFrame, metrics: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """The columns of the metrics that were asked for; `names` holds the metric of each column."""
    from bench.errors import unknown

    for metric in metrics:
        if metric not in names:
            raise unknown("metric", metric, names)
    keep = [column for column, name in zip(values, names, strict=True) if not metrics or name in metrics]
    return values[keep]


def _write(result: Validation, out: Path) -> None:
    from bench.console import table
    from bench.csvs import csv_for_people
    from bench.report.tables import markdown, simple
    from bench.store import write_atomic

    for name, frame in (("agreement", result.agreement), ("differences", result.differences)):
        write_atomic(out / f"{name}.csv", csv_for_people(frame))
    lines = result.agreement[result.agreement["statistic"].isin(SHOWN)].to_dict("records")
    rows = [_row({str(key): value for key, value in line.items()}) for line in lines]
    text = markdown(simple(HEADER, [list(row.values()) for row in rows]))
    write_atomic(out / "agreement.md", f"# Agreement with people\n\n{text}".encode())
    show(table(rows))
    say(f"written: {out / 'agreement.csv'}, {out / 'differences.csv'}, {out / 'agreement.md'}")


def _row(line: Mapping[str, Any]) -> dict[str, str]:
    from bench.report.model import measured
    from bench.report.tables import written

    value = written(measured(line))
    texts = [line[name] for name in HEADER[:4]] + [value, line["n"], line["n_failed"], line["note"]]
    return dict(zip(HEADER, map(str, texts), strict=True))
