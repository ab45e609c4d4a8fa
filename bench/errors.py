"""The errors that a user can cause and fix: printed as one line, exit code 2, no traceback."""

from __future__ import annotations

import difflib
import errno
import os
import tempfile
import traceback
from collections.abc import Iterable

NEAR = 0.6
"""Similarity from which on a name counts as a misspelling of another."""
SHORTEST_WORD = 4
"""Letters of a word that is compared by itself; shorter ones resemble too much."""
_PLACES = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOSPC,
    errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP,
}  # fmt: skip
"""What the system says of a file or folder that the user can put right."""


class UserError(Exception):
    """Says what is wrong, where, what is allowed and the command that fixes it."""


class WorkFailedError(Exception):
    """The work ended on the machine's fault and can be gone on with: one line, exit code 1, no traceback."""


def one_line(error: BaseException) -> str:
    """Return what an error says as one line of bounded length.

    >>> one_line(ValueError("two\\nlines")), one_line(KeyError())
    ('two lines', 'KeyError')
    """
    return " ".join(str(error).split())[:300] or type(error).__name__


def unknown(kind: str, name: str, allowed: Iterable[str]) -> UserError:
    """Return the error for a name that is not among `allowed`, with the nearest valid one.

    >>> print(unknown("method", "copi", ["copy", "shuffle"]))
    unknown method 'copi'; did you mean 'copy'? known: copy, shuffle
    """
    known = sorted(allowed)
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else ";"
    return UserError(f"unknown {kind} {name!r}{hint} known: {', '.join(known) or 'none'}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a misspelled one most likely means; None where none is near.

    Names are also compared word by word, so that a part of a long name is recognised. Of dotted keys the last part
    counts for more than the group, which is seldom misspelled.

    >>> nearest("sampels", ["name", "samples_per_item", "seed"]), nearest("protocol.sampels", ["protocol.name",
    ...     "protocol.samples_per_item", "evaluator"]), nearest("xyz", ["name"])
    ('samples_per_item', 'protocol.samples_per_item', None)
    """
    scored = [(_similarity(name, other), other) for other in known]
    score, best = max(scored, default=(0.0, None), key=lambda pair: pair[0])
    return best if score >= NEAR else None


def _similarity(name: str, other: str) -> float:
    group, _, last = name.rpartition(".")
    other_group, _, other_last = other.rpartition(".")
    words = max((_ratio(last, word) for word in other_last.split("_") if len(word) >= SHORTEST_WORD), default=0.0)
    of_last = max(_ratio(last, other_last), 0.95 * words)
    return of_last if group == other_group else 0.7 * of_last + 0.3 * _ratio(group, other_group)


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def place_error(error: OSError) -> UserError | None:
    """Return the one line for a file or folder that the system refuses; None for any other error.

    >>> print(place_error(PermissionError(errno.EACCES, "Permission denied", "photos/anna")))
    photos/anna: permission denied
    """
    if error.errno not in _PLACES or error.filename is None:
        return None
    return UserError(f"{os.fsdecode(error.filename)}: {(error.strerror or 'cannot be used').lower()}")


def users_error(error: BaseException) -> UserError | None:
    """Return an error as the one line that its user needs; None where it is not a user's mistake."""
    if isinstance(error, UserError):
        return error
    return place_error(error) if isinstance(error, OSError) else None


def report_unexpected(error: BaseException) -> str:
    """Return the line for an error that is not the user's; write its traceback to a file where nobody expected it."""
    if isinstance(error, WorkFailedError):
        return f"error: {error}"
    handle, log = tempfile.mkstemp(prefix="idbench-error-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(traceback.format_exception(error))
    what = " ".join(f"{type(error).__name__}: {error}".split())[:400]
    return f"error: {what} (unexpected: please report it, with the command and the traceback in {log})"
