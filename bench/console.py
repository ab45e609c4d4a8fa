"""What the user sees: messages and progress on stderr, results on stdout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from bench.errors import UserError


def say(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def show(text: str) -> None:
    """Write a result to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def progress(total: int, what: str) -> Any:
    """Return a progress bar (rate, time left) on stderr, silent unless stderr is a terminal; close it after use."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit="img", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as aligned columns under a header; control characters in names are escaped."""
    if not rows:
        return "none"
    texts = [{key: _cell(value) for key, value in row.items()} for row in rows]
    widths = {key: max(len(key), *(len(text[key]) for text in texts)) for key in texts[0]}
    lines = [{key: key for key in widths}, *texts]
    return "\n".join("  ".join(line[key].ljust(width) for key, width in widths.items()).rstrip() for line in lines)


def _cell(value: Any) -> str:
    return escaped(", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))


def escaped(text: str) -> str:
    r"""Return a text with its control characters as escapes, so that it stays on its line.

    >>> escaped("a\nb")
    'a\\nb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is a `UserError`, as all mistakes of a user are."""

    def error(self, message: str) -> NoReturn:
        """Raise the complaint, with the command that shows the verb's arguments."""
        raise UserError(f"{message}; `{self.prog} --help` shows what there is")


def verb_parser(verb: str, function: Callable[[Sequence[str]], int]) -> argparse.ArgumentParser:
    """Return the argument parser of a verb, described by the docstring of its function."""
    description = " ".join((function.__doc__ or "").split())
    return Parser(prog=f"python -m bench {verb}", description=description, allow_abbrev=False)
