"""The verb `export`; nothing heavy is imported before the arguments are understood."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.console import show, verb_parser
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.report.frames import Run

FORMATS = ("bundle", "every-eval", "hub", "readme")
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")


def main(argv: Sequence[str]) -> int:
    """Writes a run's tables, specification and provenance as one zip file that may be given to others.

    People are numbered. Thumbnails are added on request, and only where the dataset is declared redistributable; for
    another dataset only if you say in words why you may show these people. With --format the numbers are written in a
    format of others: Every Eval Ever, the Hub's evaluation results, or a badge and a table for a README.
    """
    parser = verb_parser("export", main)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--to", type=Path, metavar="PLACE", help="file, or folder of other formats; default: the run's name"
    )
    parser.add_argument("--thumbnails", action="store_true", help="add small copies of references and samples")
    parser.add_argument("--include-people", default="", metavar="SENTENCE", help=_INCLUDE)
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="default: bundle")
    parser.add_argument("--model", metavar="ORG/NAME", help="every-eval: the model as the Hub names it")
    parser.add_argument("--organization", metavar="NAME", help="every-eval: who ran this")
    parser.add_argument("--relationship", choices=RELATIONSHIPS, default="other", help="every-eval: to the model")
    parser.add_argument("--hub-dataset", metavar="ORG/NAME", help="hub: repository of the benchmark")
    options = parser.parse_args(argv)

    from bench.exchange.export import bundle
    from bench.report.frames import load_run
    from bench.store import write_atomic

    run = load_run(options.run)
    if options.format == "bundle":
        target = options.to or Path(f"{run.folder.resolve().name}.zip")
        written = {target: bundle(run, thumbnails=options.thumbnails, statement=options.include_people)}
    else:
        target = options.to or Path(run.folder.resolve().name)
        written = {target / path: data for path, data in _files(run, options).items()}
    for path, data in written.items():
        write_atomic(path, data)
        show(str(path))
    return 0


def _files(run: Run, options: argparse.Namespace) -> dict[str, bytes]:
    """Return path -> content of a run in a format of others.

    Raises:
        UserError: something that the format needs was not given.
    """
    from bench.exchange.formats import every_eval, hub, readme
    from bench.exchange.public import public

    if options.thumbnails or options.include_people:
        raise UserError(f"--thumbnails and --include-people have no effect with --format {options.format}")
    shown = public(run, pictures=False)
    if options.format == "readme":
        return readme.files(shown)
    if options.format == "hub":
        return hub.files(shown, _needed(options.hub_dataset, "hub", "--hub-dataset ORG/NAME"))
    model = _needed(options.model, "every-eval", "--model ORG/NAME")
    organization = _needed(options.organization, "every-eval", "--organization NAME")
    return every_eval.files(shown, every_eval.Source(model, organization, options.relationship))


def _needed(value: str | None, name: str, option: str) -> str:
    if not value:
        raise UserError(f"--format {name} needs {option}; a run does not know it")
    return value


_INCLUDE = (
    "with --thumbnails: your right to show the people of a dataset that is not declared redistributable, in words; it "
    'is written into the bundle ("All 40 people have signed that I may publish these pictures")'
)
