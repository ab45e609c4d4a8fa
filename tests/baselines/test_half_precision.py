"""The new methods in bf16, as they run on a GPU: near to fp32, and finite."""

import numpy as np
import pytest

from baselines.protocol import Request
from bench import registry
from bench.runtime import Runtime
from tests.baselines import tiny_edit
from tests.parity import end_to_end
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.parity import new_generation_models as new
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "pulid_flux.npz"), needs(models.VOCABULARY)]

SMALL = {"width": 64, "height": 64, "steps": 2}


def arc2face(root):
    return new.write_arc2face(root, 4) | {"expression": (0.1,) * 55}


def klein(root):
    return {"pipeline": "flux2_klein", "model": tiny_edit.klein(root), "guidance_scale": 1.0}


METHODS = {
    "arc2face": arc2face,
    "consistentid": lambda root: new.write_consistentid(root, 4),
    "flux2_klein": klein,
    "infiniteyou_aes": new.write_infiniteyou,
    "pulid_flux": new.write_pulid,
    "withanyone": new.write_withanyone,
}


OFTEN = ("arc2face", "pulid_flux")
"""One UNet and one transformer; the other methods are run by `make exhaustive`."""


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.exhaustive) for name in METHODS]
)
def test_bf16(name, tmp_path):
    method = registry.get("methods", name)
    given = METHODS[name](tmp_path) | SMALL
    images = []
    for precision in ("fp32", "bf16"):
        made = method(method.Options(**given, precision=precision), Runtime())
        reference = end_to_end.reference(1, getattr(made.options, "recogniser", "none"))
        output = made.generate([Request(reference, 0, 5, "photo of a person")])[0]
        assert output.error is None
        images.append(output.image.astype(int))
    difference = np.abs(images[0] - images[1])
    assert difference.max() > 0
    assert difference.mean() < 16
