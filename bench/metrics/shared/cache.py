"""What several metrics of one evaluation need is computed once and forgotten with the evaluation."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from bench.metrics.protocol import Evaluation

P = ParamSpec("P")
T = TypeVar("T")


def cached(function: Callable[Concatenate[Evaluation, P], T]) -> Callable[Concatenate[Evaluation, P], T]:
    """Remembers a pure function's answers for as long as the evaluation lives; further arguments must be hashable.

    The answer is shared between callers: none may change it.
    """
    known: WeakKeyDictionary[Evaluation, dict[object, T]] = WeakKeyDictionary()

    @wraps(function)
    def remembered(evaluation: Evaluation, *args: P.args, **kwargs: P.kwargs) -> T:
        answers, key = known.setdefault(evaluation, {}), (args, tuple(sorted(kwargs.items())))
        if key not in answers:
            answers[key] = function(evaluation, *args, **kwargs)
        return answers[key]

    return remembered
