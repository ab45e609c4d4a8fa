"""The verbs `export` and `leaderboard`; nothing heavy is imported before the arguments are understood."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.console import say, show


def export(argv: Sequence[str]) -> int:
    """Writes a run's tables, specification and provenance as one zip file that may be given to others.

    People are numbered. Thumbnails are added on request, and only where the dataset is declared redistributable; for
    another dataset only if you say in words why you may show these people.
    """
    parser = _parser("export", export)
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


def leaderboard(argv: Sequence[str]) -> int:
    """Collects bundles (`python -m bench export`) into one page and one CSV.

    Each bundle is checked against the schema, and its numbers are computed again from its own rows; one that is
    damaged, forged or contradicts itself is refused with the reason (exit code 1). Nothing in a bundle is executed or
    shown as it is. Runs stand in one table only where list, protocol, evaluator and metric versions agree.
    """
    parser = _parser("leaderboard", leaderboard)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE_OR_DIR", help="bundle, or folder of bundles")
    parser.add_argument("--to", type=Path, default=Path("leaderboard"), metavar="DIR", help="default: leaderboard")
    options = parser.parse_args(argv)

    from bench.exchange.leaderboard import write_leaderboard

    refused = write_leaderboard(options.bundles, options.to)
    for source, reason in refused:
        say(f"refused {source}: {reason}")
    show(str(options.to / "index.html"))
    return 1 if refused else 0


def _parser(verb: str, function: Callable[[Sequence[str]], int]) -> argparse.ArgumentParser:
    description = " ".join((function.__doc__ or "").split())
    return argparse.ArgumentParser(prog=f"python -m bench {verb}", description=description, allow_abbrev=False)
