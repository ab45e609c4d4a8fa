"""The verb `paper`: one page with every table and figure of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from bench.cli.settings import split_words
from bench.console import Parser, say, show
from bench.errors import UserError, report_unexpected, users_error

USAGE = """write one page with every table and figure of the paper: ours, the published numbers, and what is missing

  python -m bench paper                     the page, from what was run
  python -m bench paper --run               run what is missing, then write the page
  python -m bench paper --run profile=paper dataset=agedb

KEY=VALUE are overrides as `run` takes them; `out=` is the folder of the runs."""


def main(argv: Sequence[str]) -> int:
    """Write the page; 1 where an experiment failed (the others still ran)."""
    import argparse

    form = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m bench paper", description=USAGE, formatter_class=form)
    parser.add_argument("--run", action="store_true", help="run what is missing")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="overrides")
    options = parser.parse_args(argv)
    others, overrides = split_words(options.words)
    if others:
        raise UserError(f"{others[0]!r} is not an override: write KEY=VALUE")
    if any(word.startswith("experiment=") for word in overrides):
        raise UserError("`paper` runs every experiment; run one with `python -m bench run experiment=NAME`")
    return _paper(overrides, is_run=options.run)


def _paper(overrides: Sequence[str], *, is_run: bool) -> int:
    from bench.cli.configured import composed
    from bench.paper.page import missing, write_page
    from bench.spec import resolve

    spec = resolve(composed("config", overrides))
    todo = missing(spec.out, spec.dataset.label) if is_run else []
    failed = [name for name in todo if not _run(name, overrides)]
    show(f"page: {write_page(spec.out, overrides)}")
    if failed:
        say(f"error: not made: {', '.join(failed)}; the same command goes on with them")
    return 1 if failed else 0


def _run(name: str, overrides: Sequence[str]) -> bool:
    """Run one experiment; return whether it ended well. Its error is said, and the others go on."""
    from bench.cli.configured import composed
    from bench.experiment import ALL_STAGES, run

    say(f"experiment {name}")
    try:
        run(composed("config", [*overrides, f"experiment={name}"]), ALL_STAGES)
    # One experiment that fails must not keep the others from running.
    except Exception as error:  # noqa: BLE001
        mistake = users_error(error)
        say(f"error: {name}: {mistake}" if mistake else report_unexpected(error))
        return False
    return True
