"""A run on real photographs that dlib's real recogniser judges, with dlib's own landmarks."""

import numpy as np
import pandas as pd
import pytest

from bench import registry
from bench.identity import Spec, WeightFile
from tests.e2e.commands import ON_PHOTOS, PHOTOS, measured, run_folder
from tests.extractors.test_dlib_face import DETECTOR, MODELS, WEIGHTS
from tests.shared import needs

pytestmark = [needs(PHOTOS), needs(DETECTOR), needs(WEIGHTS), pytest.mark.slow]
dlib = pytest.importorskip("dlib", reason="dlib is not installed: pip install 'idbench[dlib]'")
METHODS = ("copy", "real", "shuffle")


class Shape68:
    """dlib's 68 landmarks."""

    class Options(Spec):
        """Options: the file of the predictor."""

        weights: WeightFile

    def __init__(self, options, runtime):
        self.options, self._predict = options, dlib.shape_predictor(str(options.weights))

    def landmarks(self, image, faces):
        """Return (n, 68, 2) landmarks of n faces in one (H, W, 3) uint8 RGB image."""
        shapes = [self._predict(image, dlib.rectangle(*(round(float(value)) for value in face.box))) for face in faces]
        points = [[(point.x, point.y) for point in shape.parts()] for shape in shapes]
        return np.array(points, np.float32).reshape(-1, 68, 2)


@pytest.fixture
def landmarker(monkeypatch):
    """The landmarker as a part that can be named."""
    monkeypatch.setitem(registry.BUILT_IN["landmarkers"], "shape68", "tests.e2e.test_dlib:Shape68")
    registry.entries.cache_clear()
    yield f"{{name: shape68, weights: '{MODELS}/shape_predictor_68_face_landmarks.dat'}}"
    registry.entries.cache_clear()


def test_the_distance_ranks_the_controls_as_it_must(landmarker, tmp_path):
    """Strangers lie near a distance of 0.87 and one person's photos near 0.38; the similarity is (1 - d) / (1 + d)."""
    added = f"+evaluator.recognisers.dlib={{name: dlib_face, weights: '{WEIGHTS}'}}"
    value = {}
    for method in METHODS:
        measured(*ON_PHOTOS, added, f"evaluator.landmarker={landmarker}", f"method={method}", f"out={tmp_path}")
        scores = pd.read_parquet(run_folder(tmp_path, method) / "scores" / "scores.parquet")
        rows = scores[(scores["variant"] == "dlib") & (scores["metric"] == "id_similarity")]
        value[method] = rows.set_index("statistic")["value"]["mean_detected"]
    assert value["copy"] == pytest.approx(1)
    assert value["real"] == pytest.approx((1 - 0.38) / (1 + 0.38), abs=0.05)
    assert value["shuffle"] == pytest.approx((1 - 0.87) / (1 + 0.87), abs=0.05)
