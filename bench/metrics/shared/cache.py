"""What several metrics need of one evaluation, or of its features, is computed once and forgotten with these."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from bench.metrics.protocol import Evaluation, Features

Of = TypeVar("Of", Evaluation, Features)
P = ParamSpec("P")
T = TypeVar("T")


def cached(function: Callable[Concatenate[Of, P], T]) -> Callable[Concatenate[Of, P], T]:
    """Remembers a pure function's answers for as long as its first argument lives; the others must be hashable.

    The answer is shared between callers: none may change it.
    """
    known: WeakKeyDictionary[Of, dict[object, T]] = WeakKeyDictionary()

    @wraps(function)
    def remembered(given: Of, *args: P.args, **kwargs: P.kwargs) -> T:
        answers, key = known.setdefault(given, {}), (args, tuple(sorted(kwargs.items())))
        if key not in answers:
            answers[key] = function(given, *args, **kwargs)
        return answers[key]

    return remembered
