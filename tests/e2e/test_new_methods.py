"""Each of the methods of 2025-26, on a tiny checkpoint in the official layout, through `run` to a report."""

import json

import numpy as np
import pandas as pd
import pytest

from bench import registry
from bench.faces.parsing import BiSeNet
from bench.testing import method_contract
from tests.baselines import tiny_edit
from tests.e2e.commands import run_folder, tables
from tests.e2e.small import bench, make_people
from tests.parity import generation_formula as formula
from tests.parity import new_generation_models as models
from tests.parity.generation_models import VOCABULARY
from tests.shared import needs

pytestmark = [pytest.mark.slow, needs(formula.FOLDER / "vec2face.npz"), needs(VOCABULARY)]

SMALL = {"width": 64, "height": 64, "steps": 2}


def edit(pipeline, model, guidance_scale):
    return {"pipeline": pipeline, "model": model, "guidance_scale": guidance_scale} | SMALL


METHODS = {
    "vec2face": lambda root: models.write_vec2face(root) | {"upscale": 1},
    "consistentid": lambda root: models.write_consistentid(root, 4) | SMALL,
    "pulid_flux": lambda root: models.write_pulid(root) | SMALL,
    "infiniteyou_aes": lambda root: models.write_infiniteyou(root) | SMALL,
    "infiniteyou_sim": lambda root: models.write_infiniteyou(root) | SMALL | {"control": "keypoints"},
    "withanyone": lambda root: models.write_withanyone(root) | SMALL,
    "flux2_klein": lambda root: edit("flux2_klein", tiny_edit.klein(root), 1.0),
    "flux_kontext": lambda root: edit("flux_kontext", tiny_edit.kontext(root), 3.5),
    "qwen_image_edit_plus": lambda root: edit("qwen_image_edit_plus", tiny_edit.qwen(root), 4.0),
}
ALIKE = ("infiniteyou_sim", "flux_kontext", "qwen_image_edit_plus")
"""Share all of their code with another of the list."""
TO_A_REPORT = ("flux2_klein",)
"""Run to a report in the suite; `make exhaustive` runs all of them."""
READ_SEVERAL = ("vec2face", "infiniteyou_aes", "infiniteyou_sim", "flux2_klein", "qwen_image_edit_plus")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return make_people(tmp_path_factory.mktemp("people"), subjects=2, targets=1)


@pytest.fixture(autouse=True)
def small_references(monkeypatch):
    tiny_edit.show_references_small(monkeypatch)


@pytest.fixture(autouse=True)
def photos_parsed_once(monkeypatch):
    """BiSeNet takes a second for each of the few photos, which the checks show again and again."""
    whole, known = BiSeNet.labels, {}

    def labels(self, crops):
        # All parsers of a test have the same weights.
        key = crops.shape, crops.tobytes()
        if key not in known:
            known[key] = whole(self, crops)
        return known[key].copy()

    monkeypatch.setattr(BiSeNet, "labels", labels)


def run(name, given, people, out, *more):
    """The samples of a run that came to its report."""
    options = [f"method.{key}={value}" for key, value in given.items() if value is not None]
    asked = ("protocol.samples_per_item=2", "protocol.metrics=[id_similarity,failure_to_acquire]", *more)
    assert bench("run", f"method={name}", f"dataset.root={people}", f"out={out}", *asked, *options) == 0
    folder = run_folder(out, name)
    assert (folder / "report" / "index.html").exists()
    samples = tables(folder)["tables/samples"]
    assert list(samples["reason"]) == [""] * 4
    return samples


def often(names):
    """All methods as parameters; those that are not among the names belong to `make exhaustive`."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.exhaustive) for name in METHODS]


@pytest.fixture(scope="module")
def method(request, tmp_path_factory):
    """(name, options of a tiny checkpoint)."""
    return request.param, METHODS[request.param](tmp_path_factory.mktemp("weights") / "root")


@pytest.mark.parametrize("method", often(METHODS.keys() - {*ALIKE}), indirect=True)
def test_contract(method):
    name, given = method
    for check in method_contract(registry.get("methods", name), given).values():
        check()


@pytest.mark.parametrize("method", often(TO_A_REPORT), indirect=True)
def test_run_to_a_report(method, people, tmp_path):
    name, given = method
    given = given | ({} if "model" in given else {"recogniser": "arcface"})
    several = ["dataset.references_per_item=2"] if name in READ_SEVERAL else []
    samples = run(name, given, people, tmp_path / "runs", *several)
    assert samples["sha256"].nunique() == 4


def test_arc2face_with_both_adapters_and_an_expression_of_each_sample(people, tmp_path):
    expressions = np.random.default_rng(0).normal(size=(2, 55)).round(3).tolist()
    items = sorted(folder.name for folder in people.iterdir() if folder.is_dir())
    rows = [(item, 0, json.dumps(numbers)) for item in items for numbers in expressions]
    pd.DataFrame(rows, columns=["item", "seed_index", "expression"]).to_csv(tmp_path / "table.csv", index=False)
    given = models.write_arc2face(tmp_path / "weights", 4) | {"steps": 2}
    asked = ("conditions=table", f"conditions.file={tmp_path / 'table.csv'}")
    samples = run("arc2face", given, people, tmp_path / "runs", *asked)
    # All samples of an item share their noise: the expressions make the difference.
    assert samples["seed"].nunique() == 2
    assert samples["sha256"].nunique() == 4
