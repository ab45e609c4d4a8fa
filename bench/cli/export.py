"""The verb `export`; nothing heavy is imported before the arguments are understood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.console import show, verb_parser


def main(argv: Sequence[str]) -> int:
    """Writes a run's tables, specification and provenance as one zip file that may be given to others.

    People are numbered. Thumbnails are added on request, and only where the dataset is declared redistributable; for
    another dataset only if you say in words why you may show these people.
    """
    parser = verb_parser("export", main)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--to", type=Path, metavar="FILE.zip", help="default: the run's name in this folder")
    parser.add_argument("--thumbnails", action="store_true", help="add small copies of references and samples")
    parser.add_argument("--include-people", default="", metavar="SENTENCE", help=_INCLUDE)
    options = parser.parse_args(argv)

    from bench.exchange.export import bundle
    from bench.report.frames import load_run
    from bench.store import write_atomic

    run = load_run(options.run)
    target = options.to or Path(f"{run.folder.resolve().name}.zip")
    write_atomic(target, bundle(run, thumbnails=options.thumbnails, statement=options.include_people))
    show(str(target))
    return 0


_INCLUDE = (
    "with --thumbnails: your right to show the people of a dataset that is not declared redistributable, in words; it "
    'is written into the bundle ("All 40 people have signed that I may publish these pictures")'
)
