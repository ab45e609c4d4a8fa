"""Lay out a forced-choice study: who sees which images, on which side, in which order.

Every rater sees a block of items. Pairs of methods and sides take turns over the raters of an item and over the items
of a rater. Some trials are checks (the photo itself against a stranger's) and repeats (an earlier one, sides swapped).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple

import numpy as np

PHOTO = ""
"""In place of a method's name: the photo that the samples were made from."""


class Kind(StrEnum):
    """Why a trial is shown."""

    MAIN = "main"
    CHECK = "check"
    REPEAT = "repeat"


class Stimulus(NamedTuple):
    """One image: of which item (a place in the study's list), made by which method (`PHOTO`: the photo itself)."""

    item: int
    method: str


class Trial(NamedTuple):
    """One question: which of two images is more like the photo of `item`?"""

    kind: Kind
    item: int
    left: Stimulus
    right: Stimulus


def schedule(
    subjects: Sequence[str], methods: Sequence[str], raters: int, per_rater: int, checks: int, repeats: int, seed: int
) -> list[list[Trial]]:
    """Return each rater's trials in the order in which they are shown.

    Args:
        subjects: the person of each item; checks need two different people.
        methods: two or more names; with more than two, the pairs take turns.
        raters: number of raters.
        per_rater: main trials of each, at most one for each item.
        checks: checks of each rater.
        repeats: repeats of each rater, at most `per_rater`.
        seed: of order, checks and repeats.

    >>> [len(trials) for trials in schedule(["a", "b", "c"], ["x", "y"], 2, 3, 1, 1, seed=0)]
    [5, 5]
    """
    pairs, visits = list(combinations(methods, 2)), [0] * len(subjects)
    made = []
    for rater in range(raters):
        rng = np.random.Generator(np.random.PCG64([seed, rater]))
        block = [(rater * per_rater + place) % len(subjects) for place in range(per_rater)]
        main = [_main(item, visits[item], pairs) for item in block]
        for item in block:
            visits[item] += 1
        order = [main[place] for place in rng.permutation(len(main))]
        made.append(_with_repeats(_with_checks(order, subjects, checks, rng), repeats, rng))
    return made


def _main(item: int, visit: int, pairs: Sequence[tuple[str, str]]) -> Trial:
    """The trial of the `visit`-th rater who sees an item: pairs and sides take turns over raters and over items."""
    turn = visit + item
    a, b = pairs[turn % len(pairs)]
    left, right = (a, b) if turn // len(pairs) % 2 == 0 else (b, a)
    return Trial(Kind.MAIN, item, Stimulus(item, left), Stimulus(item, right))


def _with_checks(trials: list[Trial], subjects: Sequence[str], checks: int, rng: np.random.Generator) -> list[Trial]:
    """Checks at random places; the photo itself is on either side in turn."""
    trials, first = list(trials), int(rng.integers(2))
    for number in range(checks):
        item = int(rng.integers(len(subjects)))
        strangers = [place for place, subject in enumerate(subjects) if subject != subjects[item]]
        sides = [Stimulus(item, PHOTO), Stimulus(int(rng.choice(strangers)), PHOTO)]
        left, right = sides if (number + first) % 2 == 0 else sides[::-1]
        trials.insert(int(rng.integers(1, len(trials) + 1)), Trial(Kind.CHECK, item, left, right))
    return trials


def _with_repeats(trials: list[Trial], repeats: int, rng: np.random.Generator) -> list[Trial]:
    """Some main trials of the first half once more at the end, sides swapped."""
    main = [trial for trial in trials if trial.kind is Kind.MAIN]
    chosen = sorted(rng.permutation(max(repeats, len(main) // 2))[:repeats].tolist())
    again = [Trial(Kind.REPEAT, main[p].item, main[p].right, main[p].left) for p in chosen]
    return [*trials, *again]
