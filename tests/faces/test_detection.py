"""Detectors: SCRFD on a toy whose answers are known, RetinaFace on real photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps
from pydantic import ValidationError

from bench.errors import UserError
from bench.faces.detection import RetinaFace, Scrfd, _anchors, _lay
from bench.faces.search import FaceOptions, Scale, detect
from bench.runtime import Runtime
from tests.faces import toys
from tests.shared import SHARED, needs

WEIGHTS = SHARED / "weights" / "retinaface_mobile0.25.pth"
PHOTOS = SHARED / "photos"
RED = (255, 0, 0)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return toys.scrfd(tmp_path_factory.mktemp("toy") / "det.onnx")


def single(detector, image):
    """The answer of a search at a single scale, as the papers' code has it."""
    return detect(detector, image, FaceOptions(scales="single"))


def scrfd(file, **options):
    return Scrfd(Scrfd.Options(weights=file, **options), Runtime())


def canvas(*cells, side=640, colour=RED):
    """A black square with full cells of 32 pixels; (column, row) each."""
    image = np.zeros((side, side, 3), np.uint8)
    for x, y in cells:
        image[32 * y : 32 * y + 32, 32 * x : 32 * x + 32] = colour
    return image


def stripes(height=640, width=640):
    """Red but for every fifth line: full cells only where 640 pixels are read at every second or third."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 255
    image[2::5], image[:, 2::5] = 0, 0
    return image


def test_scrfd_finds_the_known_box(toy):
    found = single(scrfd(toy), canvas((3, 5)))
    assert found.scale.side == 640
    (face,) = found.faces
    np.testing.assert_allclose(face.box, [96 - 48, 160 - 48, 96 + 48, 160 + 48], atol=1e-3)
    corners = [[80, 144], [112, 144], [96, 160], [83.2, 176], [108.8, 176]]
    np.testing.assert_allclose(face.keypoints, corners, atol=1e-3)
    assert face.score > 0.99
    assert face.box.dtype == face.keypoints.dtype == np.float32


def test_scrfd_reads_rgb(toy):
    assert not single(scrfd(toy), canvas((3, 5), colour=(0, 0, 255))).faces
    assert single(scrfd(toy), canvas((3, 5))[:, :, ::-1]).faces == []


def test_scrfd_equals_insightface_routing(toy):
    """insightface's own router takes the file for a detector, and its answer is ours."""
    from insightface.model_zoo import get_model

    image = canvas((3, 5), (10, 2), (17, 12))
    reference = get_model(str(toy), providers=["CPUExecutionProvider"])
    assert type(reference).__name__ == "SCRFD"
    boxes, keypoints = reference.detect(image[:, :, ::-1], input_size=(640, 640))
    faces = single(scrfd(toy), image).faces
    assert len(faces) == len(boxes) == 3
    order = [int(np.argmin(np.abs(boxes[:, :4] - face.box).sum(1))) for face in faces]
    np.testing.assert_array_equal(boxes[order, :4], [face.box for face in faces])
    np.testing.assert_array_equal(keypoints[order], [face.keypoints for face in faces])
    np.testing.assert_array_equal(boxes[order, 4], np.float32([face.score for face in faces]))


def test_of_equal_faces_the_most_central_is_meant_and_the_others_follow_by_place(toy):
    faces = single(scrfd(toy), canvas((17, 12), (3, 5), (10, 2))).faces
    assert [face.box[0] for face in faces] == [496, 48, 272]


def test_scaled_images_answer_in_their_own_pixels(toy):
    big = np.repeat(np.repeat(canvas((3, 5)), 2, axis=0), 2, axis=1)[:900]
    (face,) = single(scrfd(toy), big).faces
    np.testing.assert_allclose(face.box, [96, 224, 288, 416], atol=0.5)


def test_fallback_sizes_are_tried_in_order(toy):
    image = stripes()
    assert single(scrfd(toy, fallback_sizes=()), image).scale is None
    assert single(scrfd(toy, fallback_sizes=()), image).faces == []
    assert single(scrfd(toy, fallback_sizes=(256,)), image).scale.side == 256
    assert single(scrfd(toy, fallback_sizes=(640, 256, 320)), image).scale.side == 256
    assert single(scrfd(toy), canvas((3, 5))).scale.side == 640


def test_threshold_and_nms_are_given(toy):
    image = canvas((3, 5), (4, 5))  # boxes 32 apart, 96 wide: overlap (64 + 1) / (2 * 97 - 65), about 0.5
    assert len(single(scrfd(toy, nms=0.4), image).faces) == 1
    assert len(single(scrfd(toy, nms=0.6), image).faces) == 2
    half = canvas((3, 5), colour=(185, 0, 0))  # about 0.1 after the sigmoid
    scores = [face.score for face in single(scrfd(toy, threshold=0.01, fallback_sizes=()), half).faces]
    assert 0.01 < scores[0] < 0.5
    assert single(scrfd(toy, fallback_sizes=()), half).faces == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2), (2, 700)])
def test_scrfd_takes_tiny_and_thin_images(toy, shape):
    assert single(scrfd(toy), np.zeros((*shape, 3), np.uint8)).faces == []


def test_scrfd_tells_wrong_files(tmp_path):
    with pytest.raises(UserError, match="no ONNX file"):
        scrfd(tmp_path / "missing.onnx")
    text = tmp_path / "text.onnx"
    text.write_text("not a network")
    with pytest.raises(UserError, match=r"text\.onnx is not an ONNX network"):
        scrfd(text)
    with pytest.raises(UserError, match="6 outputs"):
        scrfd(toys.scrfd(tmp_path / "boxes.onnx", keypoints=False))
    static = toys.scrfd(tmp_path / "static.onnx", size=320)
    with pytest.raises(UserError, match=r"320 x 320 only: set det_size=\[320,320\]"):
        scrfd(static)
    assert single(
        scrfd(static, det_size=(320, 320), fallback_sizes=(), further_scales=((320, 0.3),)), canvas((1, 1), side=320)
    ).faces


@pytest.mark.parametrize(
    "option",
    [
        {"det_size": (600, 640)},
        {"threshold": 1.5},
        {"fallback_sizes": (0,)},
        {"nmz": 1},
        {"further_scales": ((320, -1),)},
    ],
)
def test_wrong_options_are_refused(toy, option):
    with pytest.raises(ValidationError):
        Scrfd.Options(weights=toy, **option)


def test_providers_and_threads_follow_the_runtime(toy):
    detector = Scrfd(Scrfd.Options(weights=toy), Runtime(threads=2))
    assert detector.session.get_providers() == ["CPUExecutionProvider"]
    assert detector.session.get_session_options().intra_op_num_threads == 2


def photo(path: Path):
    return np.asarray(ImageOps.exif_transpose(Pillow.open(path)).convert("RGB"))


@pytest.fixture(scope="module")
def retinaface():
    return RetinaFace(RetinaFace.Options(weights=WEIGHTS, network="mobile0.25"), Runtime())


@needs(WEIGHTS)
@needs(PHOTOS)
def test_retinaface_finds_a_face_on_every_photo(retinaface):
    paths = sorted(path for path in PHOTOS.glob("*/*") if path.is_file())
    assert len(paths) == 21
    for path in paths:
        image = photo(path)
        found = single(retinaface, image)
        assert found.faces, path.name
        assert [face.area for face in found.faces] == sorted((face.area for face in found.faces), reverse=True)
        left, right, nose, *_ = found.faces[0].keypoints
        assert left[0] < right[0], path.name
        assert nose[1] > min(left[1], right[1]), path.name


@needs(WEIGHTS)
@needs(PHOTOS)
def test_retinaface_equals_facexlib(retinaface):
    """On an image that needs no scaling: facexlib's own detect_faces, which reads BGR."""
    image = photo(PHOTOS / "scarlett" / "scarlett_2.jpg")
    theirs = retinaface._network.detect_faces(image[:, :, ::-1])
    theirs = theirs[np.argsort(-(theirs[:, 2] - theirs[:, 0]) * (theirs[:, 3] - theirs[:, 1]))]
    faces = single(retinaface, image).faces
    assert len(faces) == len(theirs) == 3
    np.testing.assert_allclose([face.box for face in faces], theirs[:, :4], atol=1e-3)
    np.testing.assert_allclose([face.score for face in faces], theirs[:, 4], atol=1e-6)
    np.testing.assert_allclose([face.keypoints.ravel() for face in faces], theirs[:, 5:], atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (33, 40), (240, 317)])
def test_anchors_are_facexlibs(size):
    from facexlib.detection.retinaface import generate_config
    from facexlib.detection.retinaface_utils import PriorBox

    theirs = PriorBox(generate_config("mobile0.25"), image_size=size).forward().numpy()
    np.testing.assert_array_equal(_anchors(*size), theirs)


@needs(WEIGHTS)
@needs(PHOTOS)
def test_retinaface_scales_large_images_down(retinaface):
    image = photo(PHOTOS / "newton" / "newton_1.jpg")
    large = np.asarray(Pillow.fromarray(image).resize((4000, 6000)))
    found = single(retinaface, large)
    assert found.scale.side == 1024
    expected = single(retinaface, np.asarray(Pillow.fromarray(image).resize((683, 1024)))).faces[0]
    np.testing.assert_allclose(found.faces[0].keypoints / (6000 / 1024), expected.keypoints, atol=3)
    assert found.faces[0].box[3] > 1024


@needs(WEIGHTS)
@needs(PHOTOS)
def test_retinaface_falls_back_for_a_face_that_fills_the_image(retinaface):
    image = photo(PHOTOS / "aflw408" / "image00408.jpg")
    x1, y1, x2, y2 = single(retinaface, image).faces[0].box
    margin = (y2 - y1) / 10
    tight = Pillow.fromarray(image).crop((x1 + margin, y1 + margin, x2 - margin, y2 - margin))
    tight = np.asarray(tight.resize((1024 * tight.width // tight.height, 1024)))
    sizes = {(): 0, (512, 256): 512, (256,): 256, (2048, 1024, 256): 256}
    for fallback, expected in sizes.items():
        options = RetinaFace.Options(weights=WEIGHTS, network="mobile0.25", fallback_sizes=fallback)
        found = single(RetinaFace(options, Runtime()), tight)
        assert (found.scale.side if found.scale else 0) == expected
    (face,) = found.faces
    assert face.area > 0.5 * tight.shape[0] * tight.shape[1]


@needs(WEIGHTS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (700, 2), (33, 64)])
def test_retinaface_takes_tiny_and_thin_images(retinaface, shape):
    assert single(retinaface, np.full((*shape, 3), 127, np.uint8)).faces == []


@needs(WEIGHTS)
@needs(PHOTOS)
def test_retinaface_reads_grey_photos(retinaface):
    grey = photo(PHOTOS / "lowe" / "Rob_Lowe_0001.jpg").mean(2).astype(np.uint8)
    assert len(single(retinaface, np.repeat(grey[:, :, None], 3, axis=2)).faces) == 1


@needs(WEIGHTS)
def test_retinaface_tells_a_wrong_network():
    with pytest.raises(UserError, match="as RetinaFace resnet50 does not fit"):
        RetinaFace(RetinaFace.Options(weights=WEIGHTS, network="resnet50"), Runtime())


def test_retinaface_resnet50_loads_the_official_layout(tmp_path):
    """Random weights of official size under the official keys, with the prefix of the official file."""
    import torch
    from facexlib.detection.retinaface import RetinaFace as Network

    torch.manual_seed(0)
    network = Network("resnet50", device="cpu")
    for name, scale in network.named_parameters():
        if name.endswith("bn3.weight"):
            torch.nn.init.constant_(scale, 0.1)  # else the untrained network overflows
    path = tmp_path / "detection_Resnet50_Final.pth"
    torch.save({f"module.{key}": tensor for key, tensor in network.state_dict().items()}, path)
    detector = RetinaFace(RetinaFace.Options(weights=path, threshold=0.0, nms=0.3), Runtime())
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    with torch.inference_mode():
        theirs = network.detect_faces(image[:, :, ::-1], conf_threshold=0.0, nms_threshold=0.3)
    ours = single(detector, image).faces
    assert len(ours) == len(theirs) > 10
    np.testing.assert_allclose(sorted(f.score for f in ours), sorted(theirs[:, 4]), atol=1e-6)


def test_a_shrunk_image_is_averaged_and_each_axis_has_its_own_scale():
    stripes = np.repeat(np.array([0, 255, 255, 0] * 2 + [0, 255], np.uint8)[None, :, None], 8, 0).repeat(3, 2)
    laid = _lay(stripes, Scale(2, 2), 0.25)
    assert laid.image.shape == (2, 2, 3)
    np.testing.assert_array_equal(laid.pixels, [5, 4])
    np.testing.assert_array_equal(laid.image[0, :, 0], [102, 153])
    boxes, _, keypoints = laid.in_original((np.array([[0, 0, 1, 2]]), np.ones(1), np.ones((1, 5, 2))))
    np.testing.assert_array_equal(boxes, [[0, 0, 5, 8]])
    np.testing.assert_array_equal(keypoints[0, 0], [5, 4])
