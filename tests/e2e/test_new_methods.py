"""Each of the methods of 2025-26, on a tiny checkpoint in the official layout, through `run` to a report."""

import pytest

from tests.baselines import tiny_edit
from tests.e2e.commands import bench, run_folder, tables
from tests.parity import generation_formula as formula
from tests.parity import new_generation_models as models
from tests.parity.generation_models import VOCABULARY
from tests.shared import needs

pytestmark = [pytest.mark.slow, needs(formula.FOLDER / "vec2face.npz"), needs(VOCABULARY)]

PLAN = ("dataset.subjects=2", "protocol.samples_per_item=2", "protocol.metrics=[id_similarity,failure_to_acquire]")

SMALL = {"width": 64, "height": 64, "steps": 2}

METHODS = {
    "vec2face": lambda root: models.write_vec2face(root) | {"upscale": 1},
    "consistentid": lambda root: models.write_consistentid(root, 4) | {"width": 64, "height": 64, "steps": 2},
    "pulid_flux": lambda root: models.write_pulid(root) | SMALL,
    "infiniteyou_aes": lambda root: models.write_infiniteyou(root) | SMALL,
    "withanyone": lambda root: models.write_withanyone(root) | SMALL,
    "flux2_klein": lambda root: {"model": tiny_edit.klein(root)} | SMALL,
}


@pytest.mark.parametrize("name", METHODS)
def test_run_to_a_report(name, tmp_path):
    given = METHODS[name](tmp_path / "weights")
    given |= {} if "model" in given else {"recogniser": "arcface"}
    options = [f"method.{key}={value}" for key, value in given.items() if value is not None]
    bench("run", f"method={name}", *PLAN, *options, f"out={tmp_path / 'runs'}")
    folder = run_folder(tmp_path / "runs", name)
    samples = tables(folder)["tables/samples"]
    assert list(samples["reason"]) == [""] * 4
    assert samples["sha256"].nunique() == 4
    assert (folder / "report").exists()
