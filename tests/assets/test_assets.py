"""What a run asks of the table: what is missing, what is wrong, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import assets
from bench.errors import UserError
from tests.assets.conftest import sha256

DATA = b"\x08\x06data"


@pytest.fixture
def two(world):
    world.serve("a.onnx", DATA, sha256(DATA), len(DATA))
    archive = {"url": "https://x/b.zip"}
    world.add(archive=archive, use="research", licence="NC", files=[{"file": "b/", "used_by": ["two"]}])
    return world


def place(world, name, data):
    path = world.root / "f" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def paths(found):
    return [asset.path for asset in found]


def test_missing_follows_what_a_name_needs(two):
    assert paths(assets.missing(["one"], two.root)) == ["f/a.onnx"]
    assert paths(assets.missing(["two"], two.root)) == ["f/a.onnx", "f/b/"]
    place(two, "a.onnx", DATA)
    assert paths(assets.missing(["two"], two.root)) == ["f/b/"]


def test_an_empty_folder_is_missing(two):
    (two.root / "f/b").mkdir(parents=True)
    assert paths(assets.missing(["two"], two.root)) == ["f/a.onnx", "f/b/"]
    place(two, "b/1.jpg", b"1")
    assert paths(assets.missing(["two"], two.root)) == ["f/a.onnx"]


def test_names_without_files_miss_nothing(two):
    assert assets.missing(["copy", "a_plugin"], two.root) == []


def test_the_weights_folder_is_told_by_argument_then_environment(two, monkeypatch):
    assert assets.weights_folder() == Path("weights")
    monkeypatch.setenv("IDBENCH_WEIGHTS", "/elsewhere")
    assert (assets.weights_folder(), assets.weights_folder("here")) == (Path("/elsewhere"), Path("here"))


def details(world, deep=False):
    return [fault.detail for fault in assets.verify(assets.table().wanted(["one"]), world.root, deep)]


def test_verify_sees_what_is_missing_of_another_size_or_of_other_bytes(two):
    assert details(two) == ["missing"]
    place(two, "a.onnx", b"short")
    assert details(two) == [f"has 5 bytes, not {len(DATA)}"]
    place(two, "a.onnx", DATA[::-1])
    assert details(two) == []
    assert details(two, deep=True) == [f"has sha256 {sha256(DATA[::-1])}, not {sha256(DATA)}"]
    place(two, "a.onnx", DATA)
    assert details(two, deep=True) == []


def test_verify_holds_to_the_first_fetch_where_no_hash_is_published(world):
    world.serve("a.onnx", DATA)
    assert world.fetch("method=one").returncode == 0
    place(world, "a.onnx", DATA + b"!")
    assert details(world) == []
    assert details(world, deep=True) == [f"has sha256 {sha256(DATA + b'!')}, not {sha256(DATA)}"]


def test_require_returns_what_is_there_and_explains_what_is_not(two):
    place(two, "a.onnx", DATA)
    assert assets.require(two.root / "f/a.onnx") == two.root / "f/a.onnx"
    with pytest.raises(UserError) as caught:
        assets.require(two.root / "f/b", "two")
    assert str(caught.value) == (
        f"no file at {two.root}/f/b (licence: NC; gate: free); "
        f"`python -m bench fetch method=two --dir {two.root}` gets it"
    )


@pytest.mark.parametrize("tail", ["f/b", "f/b/1.jpg", "a.onnx"])
def test_a_path_is_recognised_by_its_ending_only_if_it_is_whole(two, tail):
    known = tail == "f/b"
    said = str(assets.missing_file(Path("/any/where") / tail))
    assert ("fetch method=two --dir /any/where" in said) == known
    assert ("does not know that path" in said) == (not known)


def test_a_gated_file_names_its_terms_and_the_flag(two):
    two.add(url="https://x/g", gate="click-through", page="https://terms", files=[{"file": "g", "used_by": ["net"]}])
    said = str(assets.missing_file(Path("weights/f/g")))
    assert "gate: click-through" in said
    assert (
        "`python -m bench fetch extractor=net --accept-licence` gets it, once you agree to the terms at https://terms"
        in said
    )


def test_a_file_that_no_program_can_get_names_the_page_and_the_place(two):
    two.add(gate="manual", page="https://drive/x", files=[{"file": "m", "used_by": ["net"]}])
    said = str(assets.missing_file(Path("weights/f/m")))
    assert said.endswith("get it by hand from https://drive/x and put it at weights/f/m")


def test_a_converted_checkpoint_names_both_steps(two):
    two.add(url="https://x/c", files=[{"file": "c.ckpt", "used_by": ["net"]}])
    wanted = two.root / "f/c.safetensors"
    said = str(assets.missing_file(wanted))
    assert said.startswith(f"no file at {two.root}/f/c.ckpt (licence: MIT")
    assert said.endswith(f"and then `python -m bench convert {two.root}/f/c.ckpt` makes c.safetensors")
    place(two, "c.ckpt", b"raw")
    assert str(assets.missing_file(wanted)) == f"`python -m bench convert {two.root}/f/c.ckpt` makes c.safetensors"


def test_a_folder_with_a_space_is_quoted_in_the_command(two):
    assert "--dir '/my weights'" in str(assets.missing_file(Path("/my weights/f/a.onnx")))


def test_the_strictest_licence_comes_first_and_each_once(two):
    two.add(url="https://x/c", use="rail", licence="RAIL", files=[{"file": "c", "used_by": ["two"]}])
    assert assets.licences(["two"]) == [("research", "NC"), ("rail", "RAIL"), ("open", "MIT")]
    assert assets.licences(["copy"]) == []
