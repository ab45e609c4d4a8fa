"""Runs from a script: what `bench.run` and `bench.evaluate` take, refuse and return."""

import sys

import numpy as np
import pytest

import bench
from bench.errors import UserError
from bench.images import read_image, write_png
from bench.interface import _overrides, _write
from bench.metrics.protocol import Number
from bench.mini.dataset import make
from bench.report.frames import of_number

LIGHT = ["evaluator.landmarker=null", "evaluator.parser=null", "~evaluator.extractors"]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """The references of four rendered people, by name."""
    folder = tmp_path_factory.mktemp("people") / "made"
    make(folder, 4, 0, 96)
    return {path.parent.name: read_image(path) for path in sorted(folder.rglob("*.png"))}


def test_images_given_as_arrays_are_measured(people, tmp_path):
    before = list(sys.argv)
    images = {item: [image, np.ascontiguousarray(image[:, ::-1])] for item, image in people.items()}
    images["s001"] = images["s001"][:1]
    run = bench.evaluate(images, people, name="mirror", config=[*LIGHT, f"out={tmp_path}"])
    assert run.label == "mirror"
    assert run.samples["item"].nunique() == 4
    assert (run.samples["status"] == "ok").sum() == 7
    [lost] = run.samples.loc[run.samples["status"] != "ok", "item"]
    assert lost == "s001"
    firsts = run.samples[run.samples["index"] == 0]
    np.testing.assert_allclose(firsts["id_similarity[judge]"], 1.0, atol=1e-5)
    assert repr(run).startswith("<Run mirror on folder: 4 items, 8 samples, ")
    assert of_number(run.scores, Number("failure_to_acquire", "", "rate"))["value"].item() == 1 / 8
    assert run.record["command"][0] == "python -m bench run"
    assert sys.argv == before


def test_paths_and_lists_are_taken_too_and_named_by_content(people, tmp_path):
    paths = [tmp_path / f"{k}.png" for k in range(2)]
    for path, image in zip(paths, people.values(), strict=False):
        write_png(image, path, {})
    encoded = {"a": (paths[0].read_bytes(), [paths[1].read_bytes()])}
    first = _write(encoded, tmp_path / "out")
    assert _write(encoded, tmp_path / "out") == first
    assert sorted(p.relative_to(first).as_posix() for p in first.rglob("*.png")) == [
        "references/a/0.png", "samples/a/0.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("images", "references", "message"),
    [
        ({"a": []}, {"b": None}, "same items; only one of them has a, b"),
        ({"a": []}, {"a": None}, "no image to evaluate"),
        ([], [], "no image to evaluate"),
        ({"../a": [1]}, {"../a": 1}, "cannot name a folder"),
        ({"a": ["missing.png"]}, {"a": "missing.png"}, "missing.png"),
        ({"a": [np.zeros((4, 4))]}, {"a": np.zeros((4, 4))}, r"must be \(H, W, 3\) uint8 RGB"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(images, references, message):
    with pytest.raises(UserError, match=message):
        bench.evaluate(images, references)


def test_a_configuration_is_a_list_or_a_mapping():
    assert _overrides({"method": "copy", "dataset.limit": None}) == ["method=copy", "dataset.limit=null"]
    with pytest.raises(UserError, match=r"give a list of overrides: \['method=copy'\]"):
        bench.run("method=copy")


def test_an_unknown_key_is_refused_and_an_outer_hydra_stays():
    from hydra.core.global_hydra import GlobalHydra

    outer = GlobalHydra.instance().hydra
    with pytest.raises(UserError, match="stpes"):
        bench.run(["method=arc2face", "+method.stpes=3"])
    assert GlobalHydra.instance().hydra is outer
