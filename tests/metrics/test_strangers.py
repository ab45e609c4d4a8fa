"""One person under two names: strangers far above the rest are named, and shared photos are one subject."""

import numpy as np

from bench.metrics import verification
from bench.metrics.shared.strangers import doubts
from bench.testing.world import evaluation as world
from tests.metrics.world import OFFICIAL

NAMED = "references of different people that are far more similar than others, 1: item 00003 and item 00007 (1.00)"


def evaluation(items, per_subject=1):
    return world(items, per_subject=per_subject, dims={name: OFFICIAL[name] for name in ("arcface", "adaface")})


def noted(found):
    return [s.note for s in verification.compute(found).scores if s.number.statistic == "threshold"]


def test_the_same_person_under_two_names_is_named():
    strangers = evaluation(items=30)
    assert doubts(strangers, "arcface") == ""
    copied = evaluation(items=30)
    for name in ("arcface", "adaface"):
        copied.features[name].references[7] = copied.features[name].references[3]
    assert doubts(copied, "arcface") == NAMED
    assert all(NAMED in note for note in noted(copied))


def test_one_subject_is_no_pair_of_strangers():
    found = evaluation(items=60, per_subject=2)
    found.features["arcface"].references[1] = found.features["arcface"].references[0]
    assert doubts(found, "arcface") == ""


def test_few_pairs_say_nothing():
    found = evaluation(items=9)
    found.features["arcface"].references[1] = found.features["arcface"].references[0]
    assert doubts(found, "arcface") == ""


def test_subjects_that_share_a_photo_are_named():
    found = evaluation(items=30)
    found.references["listed_subject"] = found.references["subject"].where(np.arange(30) != 4, "Zoe")
    assert doubts(found, "arcface") == "subjects that share a photo count as one person: Zoe is subject 00004"
