"""Landmark networks against the packages' own code on the same boxes."""

import numpy as np
import pytest

from bench.errors import UserError
from bench.faces.face import Face
from bench.faces.landmarks import Fan, Insightface68, _in_image, _peaks
from bench.runtime import Runtime
from tests.faces import toys

FACES = [
    Face(np.float32(box), 0.9, np.zeros((5, 2), np.float32))
    for box in ([60, 40, 180, 200], [-20, 100, 90, 260], [150.5, 20.25, 299, 190.75])
]


@pytest.fixture(scope="module")
def image():
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    return cv2.resize(noise, (300, 280), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("landmarks")


def insightface68(file, batch=1):
    return Insightface68(Insightface68.Options(weights=file, batch=batch), Runtime())


@pytest.mark.parametrize(("width", "first"), [(3309, ""), (3309, "SubMul"), (136, "")])
def test_insightface_equals_its_own_class(image, folder, width, first):
    """3-D and 2-D files, and those with a subtraction and a product at their head, which read raw grey levels."""
    from insightface.app.common import Face as Theirs
    from insightface.model_zoo import get_model

    file = toys.regressor(folder / f"{width}{first}.onnx", 192, width, first=first)
    reference = get_model(str(file), providers=["CPUExecutionProvider"])
    assert reference.taskname == ("landmark_3d_68" if width == 3309 else "landmark_2d_68")
    found = insightface68(file).landmarks(image, FACES)
    assert found.shape == (3, 68, 2)
    assert found.dtype == np.float32
    for face, points in zip(FACES, found, strict=True):
        theirs = reference.get(np.ascontiguousarray(image[:, :, ::-1]), Theirs(bbox=face.box))
        np.testing.assert_allclose(points, theirs[:, :2], atol=1e-4)
    assert np.ptp(found) > 10


def test_insightface_reads_rgb(image, folder):
    file = toys.regressor(folder / "rgb.onnx", 192, 3309)
    ours, swapped = (insightface68(file).landmarks(i, FACES) for i in (image, image[:, :, ::-1].copy()))
    assert np.abs(ours - swapped).max() > 1


def test_insightface_batches_agree_to_the_last_bit(image, folder):
    file = toys.regressor(folder / "batch.onnx", 192, 3309)
    fixed = toys.regressor(folder / "fixed.onnx", 192, 3309, batch=1)
    faces = FACES * 3
    alone = insightface68(file).landmarks(image, faces)
    for batch in (3, 16):
        np.testing.assert_array_equal(insightface68(file, batch).landmarks(image, faces), alone)
    np.testing.assert_array_equal(insightface68(fixed, 16).landmarks(image, faces), alone)


def test_insightface_tells_wrong_files(folder):
    with pytest.raises(UserError, match="68 landmarks"):
        insightface68(toys.regressor(folder / "106.onnx", 192, 212))
    with pytest.raises(UserError, match="68 landmarks"):
        insightface68(toys.regressor(folder / "112.onnx", 112, 136))


def test_empty_boxes_and_no_faces(image, folder):
    network = insightface68(toys.regressor(folder / "none.onnx", 192, 136))
    assert network.landmarks(image, []).shape == (0, 68, 2)
    with pytest.raises(ValueError, match="empty"):
        network.landmarks(image, [Face(np.float32([5, 5, 5, 9]), 1.0, np.zeros((5, 2), np.float32))])


@pytest.fixture(scope="module")
def fan_file(folder):
    """A 2DFAN-4 of official layout with random weights, as the package's release stores it: a state dictionary."""
    import torch

    models = pytest.importorskip("face_alignment.models")
    torch.manual_seed(0)
    path = folder / "2DFAN4.pth.tar"
    torch.save(models.FAN(4).state_dict(), path)
    return path


def fan(file, **options):
    return Fan(Fan.Options(weights=file, **options), Runtime())


@pytest.fixture
def interpreted(monkeypatch):
    """The package's functions as Python: their compilation takes longer than all tests here."""
    utils = pytest.importorskip("face_alignment.utils")
    for name in ("_get_preds_fromhm", "transform_np"):
        monkeypatch.setattr(utils, name, getattr(utils, name).py_func)
    return utils


class Detector:
    reference_scale = 195


def packages_own(network, image, faces, flip):
    """face-alignment's own path from boxes to landmarks, without its constructor, which downloads."""
    import torch
    from face_alignment import FaceAlignment, LandmarksType

    api = FaceAlignment.__new__(FaceAlignment)
    api.face_alignment_net, api.face_detector, api.device, api.dtype = network, Detector(), "cpu", torch.float32
    api.flip_input, api.max_batch_size, api.landmarks_type = flip, 1, LandmarksType.TWO_D
    return np.array(api.get_landmarks_from_image(image, [face.box.astype(float) for face in faces]))


@pytest.fixture(scope="module")
def alone(image, fan_file):
    """What FAN finds for one face."""
    return fan(fan_file).landmarks(image, [FACES[1]])


@pytest.mark.usefixtures("interpreted")
def test_fan_equals_the_package(image, fan_file, alone):
    np.testing.assert_array_equal(alone, packages_own(fan(fan_file)._network, image, [FACES[1]], flip=False))
    assert alone.shape == (1, 68, 2)
    assert np.ptp(alone) > 10


@pytest.mark.usefixtures("interpreted")
def test_fan_with_the_mirror_image_equals_the_package(image, fan_file):
    detector = fan(fan_file, flip_input=True)
    theirs = packages_own(detector._network, image, [FACES[2]], flip=True)
    np.testing.assert_array_equal(detector.landmarks(image, [FACES[2]]), theirs)


def test_fan_reads_heat_maps_as_the_package(interpreted):
    """Also maxima at all four edges, and a flat map."""
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 68, 64, 64)).astype(np.float32)
    maps[:, :8, 0], maps[:, 8:16, 63], maps[:, 16:24, :, 0], maps[:, 24:32, :, 63], maps[:, 32] = 9, 9, 9, 9, 0
    places = [(rng.uniform(50, 400, 2), float(rng.uniform(0.3, 5))) for _ in maps]
    theirs = [interpreted.get_preds_fromhm(m[None], *place)[1][0] for m, place in zip(maps, places, strict=True)]
    np.testing.assert_array_equal(_in_image(_peaks(maps), places), theirs)


def test_fan_batches_reach_over_images(image, fan_file, alone):
    """Three faces in two batches of two, the last filled up; each face belongs to its own image."""
    other = image[::-1].copy()
    detector = fan(fan_file, batch=2)
    found = detector.landmarks_many([other, image, other], [FACES[1], FACES[1], FACES[0]])
    assert np.median(np.abs(found[1] - alone[0])) < 0.5  # torch differs in the last digits: an arg-max may move
    assert np.median(np.abs(found[0] - alone[0])) > 2
    assert detector.landmarks(image, []).shape == (0, 68, 2)


def test_fan_tells_wrong_files(folder):
    import torch

    wrong = folder / "wrong.pth"
    torch.save({"conv1.weight": torch.zeros(2)}, wrong)
    with pytest.raises(UserError, match="does not fit"):
        fan(wrong)
    with pytest.raises(UserError, match="no weights"):
        fan(folder / "missing.pth")
