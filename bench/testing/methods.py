"""What a method promises: images, and each of them made from its own request alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.protocol import Collection, Output, Reference, Request, declared
from bench.conditions.kinds import ConditionKind
from bench.images import read_image
from bench.spec import recognisers_needed
from bench.testing.images import PEOPLE, face_of, photo, write_photos
from bench.testing.parts import (
    PartUnderTest,
    declares_its_options,
    has_a_version,
    imports_nothing_heavy,
    names_a_missing_file,
)

NEEDS = ("image", "face", "collection")
EMBEDDING = 512
PROMPT = "photo of a person"


def method_contract(method: Any, values: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
    """Return what a method promises: words of the promise -> function that raises AssertionError where it is broken.

    Args:
        method: the class.
        values: of its options: those without a default, and what makes it fast enough for a test.
    """
    tested = PartUnderTest(method, values)
    promises = (
        declares_its_options,
        imports_nothing_heavy,
        names_a_missing_file,
        has_a_version,
        declares_its_needs,
        declares_what_it_follows,
        answers_every_request,
        follows_its_own_request_alone,
        repeats_itself,
        leaves_references_alone,
    )
    return {one.__name__: partial(one, tested) for one in promises}


def needs(tested: PartUnderTest) -> frozenset[str]:
    """Return what the method needs of a reference."""
    return frozenset(declared(tested.part, tested.options, "needs"))


def declares_its_needs(tested: PartUnderTest) -> None:
    """Assert that the needs are words that the benchmark knows."""
    odd = [need for need in needs(tested) if need not in NEEDS and not need.startswith("embedding:")]
    assert odd == [], f"a method may need {', '.join(NEEDS)} and embedding:<recogniser>"


def declares_what_it_follows(tested: PartUnderTest) -> None:
    """Assert that the kinds of conditions that it accepts are kinds that the benchmark knows."""
    odd = set(declared(tested.part, tested.options, "accepts")) - set(ConditionKind)
    assert odd == set(), f"a method may accept {', '.join(ConditionKind)}"
    assert getattr(tested.part, "many_references", False) in (True, False)


def answers_every_request(tested: PartUnderTest) -> None:
    """Assert that each request has its answer: an (H, W, 3) uint8 image, or the words why there is none."""
    with requests(tested) as asked:
        outputs = tested.made.generate(asked)
    assert len(outputs) == len(asked)
    for output in outputs:
        assert isinstance(output, Output)
        if output.unavailable:
            continue
        assert (output.image is None) != (output.error is None), "exactly one of image and error"
        if output.image is not None:
            assert output.image.dtype == np.uint8
            assert output.image.ndim == 3
            assert output.image.shape[2] == 3


def follows_its_own_request_alone(tested: PartUnderTest) -> None:
    """Assert that neither its place in a batch nor its neighbour changes an image."""
    with requests(tested) as (first, second, third, *_):
        expected = tested.made.generate([first, second])
        swapped = tested.made.generate([second, first])
        beside_another = tested.made.generate([first, third])
    same(expected, [swapped[1], swapped[0]])
    same(expected[:1], beside_another[:1])


def repeats_itself(tested: PartUnderTest) -> None:
    """Assert that the method, loaded again, makes the same images: all chance comes from `request.seed`."""
    with requests(tested) as asked:
        same(tested.made.generate(asked), tested.make().generate(asked))


def leaves_references_alone(tested: PartUnderTest) -> None:
    """Assert that the method does not write into what it is given: the next batch has the same references."""
    with requests(tested) as asked:
        references = [reference for request in asked for reference in request.references]
        before = [_arrays(reference) for reference in references]
        tested.made.generate(asked)
        for arrays, reference in zip(before, references, strict=True):
            for old, new in zip(arrays, _arrays(reference), strict=True):
                np.testing.assert_array_equal(old, new)


def _arrays(reference: Reference) -> list[NDArray[Any]]:
    given: list[NDArray[Any]] = [*reference.embeddings.values()]
    given += [] if reference.image is None else [reference.image]
    return [array.copy() for array in given]


def same(expected: Sequence[Output], found: Sequence[Output]) -> None:
    """Assert that outputs have the same images, to the last bit, and the same errors."""
    for one, other in zip(expected, found, strict=True):
        assert (one.error, one.unavailable) == (other.error, other.unavailable)
        if one.image is not None:
            np.testing.assert_array_equal(one.image, other.image)


@contextmanager
def requests(tested: PartUnderTest) -> Iterator[list[Request]]:
    """Yield two samples of each of three people who do not exist, with what the method needs of their references."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photos(Path(folder), [f"{name}/{number}.png" for name in PEOPLE for number in range(2)])
        people = [[_reference(tested, name, number, paths) for number in range(2)] for name in PEOPLE]
        yield [
            Request(photos[0], index, 100 * number + index, PROMPT, references=_seen(tested, photos))
            for index in range(2)
            for number, photos in enumerate(people)
        ]


def _seen(tested: PartUnderTest, photos: Sequence[Reference]) -> tuple[Reference, ...]:
    """Return the references of a request: all of a person's where the method reads several, else the first."""
    return tuple(photos if getattr(tested.part, "many_references", False) else photos[:1])


def _reference(tested: PartUnderTest, name: str, number: int, paths: Mapping[str, Path]) -> Reference:
    wanted = needs(tested)
    image = f"{name}/{number}.png"
    rng = np.random.default_rng([PEOPLE.index(name), number])
    return Reference(
        item="" if number else name,
        subject=name,
        key="" if number else name,
        photo=image,
        path=paths[image] if "image" in wanted else None,
        image=read_image(paths[image]) if "image" in wanted else None,
        face=face_of(photo(image)) if "face" in wanted else None,
        embeddings={one: rng.standard_normal(EMBEDDING, dtype=np.float32) for one in recognisers_needed(wanted)},
        collection=_collection(paths) if "collection" in wanted else None,
    )


def _collection(paths: Mapping[str, Path]) -> Collection:
    return Collection(
        references=[(name, name, paths[f"{name}/0.png"]) for name in PEOPLE],
        targets={name: [paths[f"{name}/1.png"]] for name in PEOPLE},
        read=read_image,
        seed=0,
        samples_per_item=2,
    )
