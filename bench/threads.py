"""Threads: a pool that nobody has to wait for when the work ends early, and two that share a list of computations."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")

_WAITING = 2
"""Results of `computed` that wait, done or not, while one is used."""


@contextmanager
def pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool that forgets what it has not begun when it is left by an error."""
    executor = ThreadPoolExecutor(threads)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def computed(function: Callable[[Given], Found], given: Iterable[Given]) -> Iterator[Found]:
    """Yield the function of each, in order, from two threads: they change no digit.

    Args:
        function: runs in two threads at once, so that it may change nothing that another call of it uses;
            `np.errstate` of the caller does not reach it.
        given: is read by the caller's thread, at most three ahead of what was yielded.

    >>> list(computed(lambda part: part.stop, [slice(0, 2), slice(2, 3)]))
    [2, 3]
    """
    rest = iter(given)
    first = list(islice(rest, 2))
    if len(first) < 2:
        yield from map(function, first)
        return
    with pool(2) as threads:
        ahead: deque[Future[Found]] = deque()
        for one in chain(first, rest):
            ahead.append(threads.submit(function, one))
            if len(ahead) > _WAITING:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
