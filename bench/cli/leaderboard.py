"""The verb `leaderboard`; nothing heavy is imported before the arguments are understood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.console import say, show, verb_parser


def main(argv: Sequence[str]) -> int:
    """Collects bundles (`python -m bench export`) into one page and one CSV.

    Each bundle is checked against the schema, and its numbers are computed again from its own rows; one that is
    damaged, forged or contradicts itself is refused with the reason (exit code 1). Nothing in a bundle is executed or
    shown as it is. Runs stand in one table only where list, protocol, evaluator and metric versions agree.
    """
    parser = verb_parser("leaderboard", main)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE_OR_DIR", help="bundle, or folder of bundles")
    parser.add_argument("--to", type=Path, default=Path("leaderboard"), metavar="DIR", help="default: leaderboard")
    options = parser.parse_args(argv)

    from bench.exchange.leaderboard import write_leaderboard

    refused = write_leaderboard(options.bundles, options.to)
    for source, reason in refused:
        say(f"refused {source}: {reason}")
    show(str(options.to / "index.html"))
    return 1 if refused else 0
