"""dlib's recogniser with its real weights, on real photographs."""

import importlib.util
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bench.errors import UserError
from bench.extractors.dlib_face import DlibFace
from bench.faces.chips import dlib150
from bench.faces.detection import RetinaFace
from bench.faces.search import FaceOptions, detect
from bench.hashing import sha256_path
from bench.runtime import Runtime
from tests.faces.test_detection import photo
from tests.shared import SHARED, needs

dlib = pytest.importorskip("dlib", reason="dlib is not installed: pip install 'idbench[dlib]'")
found = importlib.util.find_spec("face_recognition_models")
MODELS = Path(found.submodule_search_locations[0], "models") if found else Path("face_recognition_models")
WEIGHTS = MODELS / "dlib_face_recognition_resnet_model_v1.dat"
DETECTOR = SHARED / "weights" / "retinaface_mobile0.25.pth"
PHOTOS = SHARED / "photos"

pytestmark = needs(WEIGHTS)


@pytest.fixture(scope="module")
def network():
    return DlibFace(DlibFace.Options(weights=WEIGHTS), Runtime())


@pytest.fixture(scope="module")
def shapes():
    """Person, image and 68 landmarks of every photo, by our detector's box."""
    detector = RetinaFace(RetinaFace.Options(weights=DETECTOR, network="mobile0.25"), Runtime())
    predictor = dlib.shape_predictor(str(MODELS / "shape_predictor_68_face_landmarks.dat"))
    rows = []
    for path in sorted(path for path in PHOTOS.glob("*/*") if path.is_file()):
        image = photo(path)
        box = [round(float(value)) for value in detect(detector, image, FaceOptions()).faces[0].box]
        rows.append((path.parent.name, image, predictor(image, dlib.rectangle(*box))))
    return rows


def test_the_file_is_the_published_one():
    assert sha256_path(WEIGHTS) == "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"


@needs(PHOTOS)
@needs(DETECTOR)
def test_real_people_are_told_apart_by_the_distance(network, shapes):
    points = [np.array([[p.x, p.y] for p in shape.parts()]) for _, _, shape in shapes]
    crops = np.stack([dlib150(image, where) for (_, image, _), where in zip(shapes, points, strict=True)])
    features = network.extract(crops)["feature"]
    pairs = list(combinations(range(len(shapes)), 2))
    same = np.array([shapes[i][0] == shapes[j][0] for i, j in pairs])
    distance = np.array([np.linalg.norm(features[i] - features[j]) for i, j in pairs])
    assert (len(shapes), same.sum()) == (21, 25)
    assert distance[same].max() < 0.6
    assert np.mean(distance[~same] < 0.6) < 0.03
    assert distance[same].mean() == pytest.approx(0.382, abs=0.02)
    assert distance[~same].mean() == pytest.approx(0.869, abs=0.02)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosine = np.array([unit[i] @ unit[j] for i, j in pairs])
    assert np.median(cosine[~same]) > 0.8


@needs(PHOTOS)
@needs(DETECTOR)
def test_the_crop_is_dlibs_own(network, shapes):
    _, image, shape = shapes[0]
    crop = dlib150(image, [[p.x, p.y] for p in shape.parts()])
    whole = np.array(network._network.compute_face_descriptor(image, shape))
    np.testing.assert_allclose(network.extract(crop[None])["feature"][0], whole, atol=1e-6)


def test_rows_do_not_see_each_other(network):
    crops = np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3), np.uint8)
    alone = np.concatenate([network.extract(crop[None])["feature"] for crop in crops])
    np.testing.assert_array_equal(network.extract(crops)["feature"], alone)


def test_bad_input(network, tmp_path):
    with pytest.raises(UserError, match="150 x 150 pixels, not 112 x 112"):
        network.extract(np.zeros((1, 112, 112, 3), np.uint8))
    with pytest.raises(UserError, match="no weights at"):
        DlibFace(DlibFace.Options(weights=tmp_path / "none.dat"), Runtime())
    (tmp_path / "page.dat").write_text("<html>")
    with pytest.raises(UserError, match="is not dlib's recogniser"):
        DlibFace(DlibFace.Options(weights=tmp_path / "page.dat"), Runtime())
    for points in (np.zeros((68, 2)), np.zeros((5, 2)), np.full((68, 2), np.nan)):
        with pytest.raises(ValueError, match="68 finite points"):
            dlib150(np.zeros((9, 9, 3), np.uint8), points)
