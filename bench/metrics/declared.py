"""What is declared about a number: its metric and its statistic, from the registry."""

from __future__ import annotations

from functools import lru_cache

from bench import registry
from bench.metrics.protocol import Metric, Number, Statistic


@lru_cache(maxsize=256)
def metric(name: str) -> Metric | None:
    """Return the declaration of a metric; None where the package that brings it is not installed here, or broken."""
    found: Metric | None = registry.find("metrics", name)
    return found


def title(name: str) -> str:
    """Return what a reader calls a metric.

    >>> title("lpips_diversity"), title("of_a_package_that_is_gone")
    ('LPIPS diversity', 'of a package that is gone')
    """
    found = metric(name)
    return found.title if found else name.replace("_", " ")


def statistic(number: Number) -> Statistic:
    """Return the declaration of a number's statistic; one of its name alone where nothing installed here declares it.

    >>> statistic(Number("retrieval", "judge", "rank1")).words
    'rank 1'
    """
    found = metric(number.metric)
    known = {one.name: one for one in found.statistics} if found else {}
    return known.get(number.statistic, Statistic(number.statistic))
