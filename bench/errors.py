"""The errors that a user can cause and fix: printed as one line, exit code 2, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Says what is wrong, where, what is allowed and the command that fixes it."""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> UserError:
    """Return the error for a name that is not among `allowed`, with the nearest valid one.

    >>> print(unknown("method", "copi", ["copy", "shuffle"]))
    unknown method 'copi'; did you mean 'copy'? known: copy, shuffle
    """
    known = sorted(allowed)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return UserError(f"unknown {kind} {name!r}{hint} known: {', '.join(known) or 'none'}")
