"""What installed packages register with the benchmark: read once a process, because all packages are asked."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

PREFIX = "bench."
"""Of the names of our groups of entry points."""


@lru_cache(maxsize=1)
def registered() -> dict[str, list[EntryPoint]]:
    """Return the entry points of each of our groups, by the group's name without `PREFIX`."""
    every = entry_points()
    groups = sorted(group for group in every.groups if group.startswith(PREFIX))
    return {group.removeprefix(PREFIX): list(every.select(group=group)) for group in groups}
