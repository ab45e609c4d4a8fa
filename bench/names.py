"""One rule for every name that becomes a part of a path: labels, networks of an evaluator, parts of other packages."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

LONGEST = 100
"""Bytes of a name in UTF-8; file systems allow 255 of a folder's name, which also holds an id or an ending."""
_NAME = re.compile(r"[^\W_][\w.\- ]*")


def fit_for_a_path(name: str) -> str:
    """Return a name that can be a folder's or a file's on every system.

    No separator, no "..", no control character can be in it.

    Raises:
        ValueError: it cannot.

    >>> fit_for_a_path("arc2face, mine")
    Traceback (most recent call last):
    ValueError: it names a folder: up to 100 bytes of letters, digits, spaces, '.', '_', '-', a letter or digit first
    """
    if not _NAME.fullmatch(name) or name.endswith((".", " ")) or len(name.encode("utf-8", "replace")) > LONGEST:
        raise ValueError(
            f"it names a folder: up to {LONGEST} bytes of letters, digits, spaces, '.', '_', '-', "
            "a letter or digit first"
        )
    return name


PathName = Annotated[str, AfterValidator(fit_for_a_path)]
"""The type of such a name in a spec."""
