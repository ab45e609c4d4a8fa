"""The controls as the design defines them."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from baselines.controls import Copy, NoOptions, Real, Shuffle, shuffle_plan
from baselines.protocol import Collection, Gallery, Reference, Request
from bench.runtime import Runtime
from bench.stages.plan import needs_of


def collection(subjects: list[str], samples: int = 5, seed: int = 0, targets: dict | None = None) -> Collection:
    references = [(f"i{k}", subject, Path(f"{k}.png")) for k, subject in enumerate(subjects)]

    def read(path: Path) -> np.ndarray:
        return np.full((4, 4, 3), int(path.stem), np.uint8)

    return Collection(references, targets or {}, read, seed, samples)


@pytest.mark.parametrize("subjects", [list("abcdefgh"), list("aabbbcdefghij"), ["a", "b", "a", "c", "a", *"defghijk"]])
def test_shuffle_shows_every_reference_equally_often_and_never_the_own_subject(subjects):
    plan = shuffle_plan(collection(subjects))
    assert set(plan) == {f"i{k}" for k in range(len(subjects))}
    for item, shown in plan.items():
        assert len(shown) == 5
        assert len(set(shown)) == 5
        own = subjects[int(item[1:])]
        assert all(subjects[int(path.stem)] != own for path in shown)
    assert set(Counter(path for shown in plan.values() for path in shown).values()) == {5}


def test_shuffle_depends_on_the_seed_alone():
    people = [f"p{k}" for k in range(30)]
    assert shuffle_plan(collection(people)) == shuffle_plan(collection(people))
    assert shuffle_plan(collection(people)) != shuffle_plan(collection(people, seed=1))


def test_shuffle_without_enough_other_subjects_is_unavailable():
    reference = Reference("i0", "a", collection=collection(["a", "b", "c"]))
    outputs = Shuffle(NoOptions(), Runtime()).generate([Request(reference, k, 0, "") for k in range(5)])
    assert [o.unavailable for o in outputs] == [False, False, True, True, True]
    assert outputs[2].error


def test_real_shows_the_targets_in_order_and_then_nothing():
    reference = Reference("i0", "a", collection=collection(["a"], targets={"a": [Path("7.png"), Path("9.png")]}))
    outputs = Real(NoOptions(), Runtime()).generate([Request(reference, k, 0, "") for k in range(3)])
    assert [None if o.image is None else int(o.image[0, 0, 0]) for o in outputs] == [7, 9, None]
    assert outputs[2].unavailable


def test_copy_gives_the_reference_itself():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    [output] = Copy(NoOptions(), Runtime()).generate([Request(Reference("i", "s", image=image), 0, 0, "")])
    assert (output.image == image).all()


def test_the_former_names_still_work():
    photos = collection(["a", "b"])
    assert Gallery is Collection
    assert Reference("i0", "a", collection=photos).gallery is photos
    asked = SimpleNamespace(method=SimpleNamespace(name="real", options=SimpleNamespace(needs={"gallery", "image"})))
    assert needs_of(asked) == Real.needs | {"image"}
