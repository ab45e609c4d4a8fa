"""Recognisers: what they are fed, what they answer, and what real photographs score."""

import numpy as np
import pytest

from bench.errors import UserError
from bench.extractors.recognition import ArcFaceOnnx, blob
from bench.faces.align import arcface112
from bench.faces.detection import RetinaFace
from bench.identity import identity
from bench.runtime import Runtime
from tests.faces import toys
from tests.faces.test_detection import photo
from tests.shared import SHARED, needs

DETECTOR = SHARED / "weights" / "retinaface_mobile0.25.pth"
MOBILEFACENET = SHARED / "weights" / "mobilefacenet_arcface.onnx"
PHOTOS = SHARED / "photos"
IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return toys.regressor(tmp_path_factory.mktemp("toy") / "rec.onnx", 112, 8)


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (20, 112, 112, 3), np.uint8)


def arcface(file, **options):
    return ArcFaceOnnx(ArcFaceOnnx.Options(weights=file, **options), Runtime())


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_equals_insightface(toy, crops):
    """insightface's ArcFaceONNX.get_feat, which is given BGR, on one crop and on many."""
    from insightface.model_zoo import get_model

    reference = get_model(str(toy), providers=["CPUExecutionProvider"])
    assert type(reference).__name__ == "ArcFaceONNX"
    theirs = reference.get_feat([crop[:, :, ::-1].copy() for crop in crops])
    found = arcface(toy, dim=8).extract(crops)
    np.testing.assert_array_equal(found["feature"], theirs)
    np.testing.assert_allclose(found["norm"], np.linalg.norm(theirs, axis=1), rtol=1e-6)
    assert found["feature"].dtype == found["norm"].dtype == np.float32
    assert found["norm"].shape == (20,)


def test_batches_agree_to_the_last_bit(toy, crops):
    one, three, sixteen = (arcface(toy, dim=8, batch=batch).extract(crops)["feature"] for batch in (1, 3, 16))
    np.testing.assert_array_equal(one, three)
    np.testing.assert_array_equal(one, sixteen)


def test_a_fixed_batch_is_kept(tmp_path, toy, crops):
    for size in (1, 7):
        file = toys.regressor(tmp_path / f"{size}.onnx", 112, 8, batch=size)
        found = arcface(file, dim=8, batch=16).extract(crops)["feature"]
        np.testing.assert_array_equal(found, arcface(toy, dim=8).extract(crops)["feature"])


def test_imagenet_constants():
    """(x / 255 - mean) / std with the constants as torchvision writes them."""
    image = np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8)
    expected = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ours = blob([image], (112, 112), "rgb", IMAGENET["mean"], IMAGENET["std"])
    np.testing.assert_allclose(ours[0], expected.transpose(2, 0, 1), atol=1e-6)


def test_colour_order_of_the_blob():
    image = np.zeros((112, 112, 3), np.uint8)
    image[:, :, 0] = 255
    for colour, red in (("rgb", 0), ("bgr", 2)):
        values = blob([image], (112, 112), colour, (127.5,) * 3, (127.5,) * 3)[0].mean((1, 2))
        np.testing.assert_allclose(values, [1 if channel == red else -1 for channel in range(3)])


def test_mean_and_std_go_with_the_networks_channels():
    """For "bgr" the first number is blue's."""
    image = np.full((112, 112, 3), (10, 20, 30), np.uint8)
    values = blob([image], (112, 112), "bgr", (30, 20, 10), (1, 1, 1))
    assert (values == 0).all()


def test_colour_order_changes_the_embedding(toy, crops):
    rgb, bgr = (arcface(toy, dim=8, colour=colour).extract(crops)["feature"] for colour in ("rgb", "bgr"))
    assert np.abs(rgb - bgr).max() > 1e-3
    np.testing.assert_array_equal(arcface(toy, dim=8, colour="bgr").extract(crops[..., ::-1])["feature"], rgb)


def test_answers_that_are_not_numbers_are_marked(toy, crops, monkeypatch):
    network = arcface(toy, dim=8)
    answers = network.extract(crops)["feature"].copy()
    answers[2, 5], answers[4, 0] = np.nan, np.inf
    monkeypatch.setattr("bench.extractors.recognition.run", lambda *_: answers)
    found = network.extract(crops)
    assert np.isnan(found["feature"][[2, 4]]).all()
    assert np.isnan(found["norm"][[2, 4]]).all()
    assert np.isfinite(np.delete(found["feature"], [2, 4], axis=0)).all()


def test_wrong_files_are_told_when_loading(toy, tmp_path):
    with pytest.raises(UserError, match=r"answers with shape \(8,\), not dim=512"):
        arcface(toy)
    with pytest.raises(UserError, match=r"not \(3, 128, 128\)"):
        arcface(toy, dim=8, size=(128, 128))
    with pytest.raises(UserError, match="not a recogniser: it has 1 inputs, 9 outputs"):
        arcface(toys.scrfd(tmp_path / "det.onnx"))
    with pytest.raises(UserError, match="no ONNX file"):
        arcface(tmp_path / "missing.onnx")


def test_what_is_recorded_is_not_identity(toy):
    one = ArcFaceOnnx.Options(weights=toy, dim=8, batch=1, trained_on="x")
    assert identity(one) == identity(one.model_copy(update={"batch": 4, "trained_on": "y"}))
    assert identity(one) != identity(one.model_copy(update={"colour": "bgr"}))


@pytest.fixture(scope="module")
def people():
    """Folder -> embeddings of its photos, by way of detection and alignment."""
    detector = RetinaFace(RetinaFace.Options(weights=DETECTOR, network="mobile0.25"), Runtime())
    recogniser = arcface(MOBILEFACENET, dim=128, **IMAGENET)
    found = {}
    for path in sorted(path for path in PHOTOS.glob("*/*") if path.is_file()):
        image = photo(path)
        crop = arcface112(image, detector.detect(image).faces[0].keypoints)
        found.setdefault(path.parent.name, []).append(recogniser.extract(crop[None])["feature"][0])
    return found


@needs(DETECTOR)
@needs(MOBILEFACENET)
@needs(PHOTOS)
def test_real_people_are_told_apart(people):
    photos = [(name, embedding) for name, embeddings in people.items() for embedding in embeddings]
    assert len(photos) == 21
    pairs = [(a[0] == b[0], cosine(a[1], b[1])) for i, a in enumerate(photos) for b in photos[:i]]
    same = [score for alike, score in pairs if alike]
    different = [score for alike, score in pairs if not alike]
    assert np.mean(same) == pytest.approx(0.65, abs=0.03)
    assert min(same) > 0.34
    assert np.mean(different) == pytest.approx(0, abs=0.02)
    assert max(different) < 0.3


@needs(MOBILEFACENET)
@needs(DETECTOR)
@needs(PHOTOS)
def test_a_swap_of_channels_costs_similarity(people):
    """The network reads RGB: photos read as BGR are less like the person's others."""
    image = photo(PHOTOS / "yangmi" / "yangmi_4.jpg")
    detector = RetinaFace(RetinaFace.Options(weights=DETECTOR, network="mobile0.25"), Runtime())
    crop = arcface112(image, detector.detect(image).faces[0].keypoints)
    right, wrong = (
        arcface(MOBILEFACENET, dim=128, colour=colour, **IMAGENET).extract(crop[None])["feature"][0]
        for colour in ("rgb", "bgr")
    )
    others = [other for other in people["yangmi"] if cosine(other, right) < 0.999]
    assert cosine(right, wrong) < 0.97
    assert np.mean([cosine(o, right) for o in others]) > np.mean([cosine(o, wrong) for o in others])
