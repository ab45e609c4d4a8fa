"""What is remembered per evaluation."""

import gc
from dataclasses import replace

import numpy as np

from bench.metrics.shared.cache import cached
from bench.metrics.shared.similarity import similarities
from bench.testing.world import evaluation


def test_once_per_evaluation_and_arguments():
    calls = []

    @cached
    def told(given, word, *, loud=False):
        """Says a word."""
        calls.append((word, loud))
        return word.upper() if loud else word

    first, second = evaluation(items=2), evaluation(items=2)
    assert [told(first, "a"), told(first, "a"), told(first, "b"), told(first, "a", loud=True)] == ["a", "a", "b", "A"]
    assert told(second, "a") == "a"
    assert told(replace(first), "a") == "a"  # another object, even if it is equal
    assert calls == [("a", False), ("b", False), ("a", True), ("a", False), ("a", False)]
    assert told.__doc__ == "Says a word."


def test_forgotten_with_the_evaluation():
    held = []

    @cached
    def answer(given):
        held.append(np.zeros(3))
        return held.pop()

    given = evaluation(items=2)
    known = answer.__closure__
    answer(given)
    (cache,) = [cell.cell_contents for cell in known if hasattr(cell.cell_contents, "data")]
    assert len(cache) == 1
    del given
    gc.collect()
    assert len(cache) == 0


def test_shared_answers_cannot_be_written_to():
    values, _ = similarities(evaluation(items=2), "arcface")
    assert not values.flags.writeable
