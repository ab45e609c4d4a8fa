"""Every field of every spec is declared part of an identity or not, and the declaration holds."""

from pathlib import Path
from typing import Annotated, get_args

import pytest
from pydantic import BaseModel, Field

from bench import registry
from bench import spec as specs
from bench.identity import ADDED, CONTENT, IDENTITY, RECORDED, Spec, digest, identity, mark_of, weights


def all_specs() -> list[type[BaseModel]]:
    """The specs of a run and the Options of everything registered."""
    own = [v for v in vars(specs).values() if isinstance(v, type) and issubclass(v, Spec) and v is not Spec]
    parts = [
        registry.get(group, name).Options
        for group in registry.BUILT_IN
        if group not in ("metrics", "engines", "trackers")
        for name in sorted(registry.entries(group))
    ]
    return own + parts


@pytest.mark.parametrize("model", all_specs(), ids=lambda m: m.__name__)
def test_every_field_is_declared(model):
    for field in model.model_fields:
        assert mark_of(model, field) in (IDENTITY, CONTENT, RECORDED)


@pytest.mark.parametrize("model", all_specs(), ids=lambda m: m.__name__)
def test_recorded_fields_stay_out_and_the_others_enter(model):
    values = {f: None for f in model.model_fields}
    as_before = {f for f, info in model.model_fields.items() if ADDED in info.metadata and info.default is None}
    inside = {f for f in model.model_fields if mark_of(model, f) is not RECORDED} - as_before
    assert set(identity(model.model_construct(**values))) == inside


@pytest.mark.parametrize("model", all_specs(), ids=lambda m: m.__name__)
def test_paths_never_enter_by_name(model):
    for field, info in model.model_fields.items():
        if Path in (info.annotation, *get_args(info.annotation)):
            assert mark_of(model, field) is not IDENTITY, f"{model.__name__}.{field}"


def test_a_field_without_a_mark_is_an_error():
    class Careless(Spec):
        steps: int = 1

    with pytest.raises(TypeError, match=r"Careless\.steps"):
        identity(Careless())


def test_a_field_that_was_added_enters_only_where_it_is_not_its_default():
    class Before(Spec):
        steps: Annotated[int, IDENTITY] = 1

    class Now(Before):
        texts: Annotated[dict[str, str], IDENTITY, ADDED] = Field(default_factory=dict)
        file: Annotated[Path | None, CONTENT, ADDED] = None

    assert digest(identity(Now())) == digest(identity(Before()))
    assert digest(identity(Now(texts={}))) == digest(identity(Before()))
    assert identity(Now(texts={"a": "b"})) == {"steps": 1, "texts": {"a": "b"}}
    assert identity(Now(texts={"a": "b"}), only=("steps",)) == {"steps": 1}


def test_an_added_field_has_a_default():
    for model in all_specs():
        for name, field in model.model_fields.items():
            assert not (ADDED in field.metadata and field.is_required()), f"{model.__name__}.{name}"


def test_content_is_hashed_by_bytes_not_by_name(tmp_path):
    class WithFile(Spec):
        file: Annotated[Path, CONTENT]

    def of(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        return digest(identity(WithFile(file=tmp_path / name)))

    assert of("a", b"weights") == of("b", b"weights") != of("c", b"weightz")
    (tmp_path / "a").write_bytes(b"another")  # the same path, other bytes: the memory of hashes must not answer
    assert digest(identity(WithFile(file=tmp_path / "a"))) != of("b", b"weights")


def test_a_folder_is_hashed_with_its_names(tmp_path):
    from bench.hashing import sha256_path

    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "x").write_bytes(b"1")
    assert sha256_path(tmp_path / "one") == sha256_path(tmp_path / "two")
    (tmp_path / "two" / "sub" / "x").rename(tmp_path / "two" / "sub" / "y")
    assert sha256_path(tmp_path / "one") != sha256_path(tmp_path / "two")


def test_weights_are_named_by_field_and_hashed_by_content(tmp_path):
    class Network(Spec):
        weights: Annotated[Path | None, CONTENT]
        size: Annotated[int, IDENTITY] = 1

    class Whole(Spec):
        one: Annotated[Network, IDENTITY]
        several: Annotated[dict[str, Network], IDENTITY]

    (tmp_path / "a").write_bytes(b"abc")
    spec = Whole(one=Network(weights=None), several={"x": Network(weights=tmp_path / "a")})
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert weights(spec) == {"several.x.weights": known}
