"""A real network scores a spoilt photograph below the clean one, through the adapter and the metric of face quality.

The published quality networks are not here. The length of the embedding of a small network that ArcFace's loss trained
on photographs takes their place, as MagFace's length does. The recognisers of the embedded world cannot: their lengths
do not fall where a rendered face is blurred or its lower half is covered.
"""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from bench.extractors.ediffiqa import EDifFiqa
from bench.faces.align import arcface112
from bench.faces.detection import RetinaFace
from bench.faces.search import FaceOptions, detect
from bench.metrics import face_quality
from bench.runtime import Runtime
from tests.faces.test_detection import photo
from tests.metrics.world import by_hand, scores
from tests.shared import SHARED, needs

RECOGNISER = SHARED / "weights" / "mobilefacenet_arcface.onnx"
DETECTOR = SHARED / "weights" / "retinaface_mobile0.25.pth"
PHOTOS = SHARED / "photos"

pytestmark = [needs(RECOGNISER), needs(DETECTOR), needs(PHOTOS)]


def write_length(path):
    """A file in the form of eDifFIQA's: RGB in [-1, 1] in, the length of the recogniser's embedding out."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(RECOGNISER))
    graph = model.graph
    old, embedding = graph.input[0].name, graph.output[0].name
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32).reshape(2, 1, 3, 1, 1)
    graph.initializer.extend(
        [numpy_helper.from_array(0.5 / std, "factor"), numpy_helper.from_array((0.5 - mean) / std, "shift")]
    )
    graph.input[0].name = "image"
    graph.node.insert(0, helper.make_node("Add", ["scaled", "shift"], [old]))
    graph.node.insert(0, helper.make_node("Mul", ["image", "factor"], ["scaled"]))
    graph.node.append(helper.make_node("ReduceL2", [embedding], ["quality"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("quality", onnx.TensorProto.FLOAT, [1, 1]))
    onnx.save(model, str(path))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("quality") / "length.onnx"
    write_length(path)
    return EDifFiqa(EDifFiqa.Options(weights=path), Runtime())


@pytest.fixture(scope="module")
def faces():
    """The aligned face in the first photo of each of ten people."""
    detector = RetinaFace(RetinaFace.Options(weights=DETECTOR, network="mobile0.25"), Runtime())
    images = [photo(min(folder.iterdir())) for folder in sorted(PHOTOS.iterdir())]
    return np.stack([arcface112(image, detect(detector, image, FaceOptions()).faces[0].keypoints) for image in images])


def blurred(face):
    return np.asarray(Image.fromarray(face).filter(ImageFilter.GaussianBlur(4)))


def tiny(face):
    """The face at 16 pixels, enlarged again."""
    return np.asarray(Image.fromarray(face).resize((16, 16), Image.Resampling.BOX).resize((112, 112)))


def half_covered(face):
    return np.concatenate([face[:, :56], np.full_like(face[:, 56:], 128)], axis=1)


@pytest.mark.parametrize("spoil", [blurred, tiny, half_covered])
def test_a_spoilt_face_scores_below_the_clean_one(network, faces, spoil):
    clean = network.extract(faces)["quality"]
    worse = network.extract(np.stack([spoil(face) for face in faces]))["quality"]
    # Two of the ten photographs are hardly better than a face of 16 pixels themselves.
    assert np.mean(worse < clean) >= 0.8
    samples = [(f"i{k}", 0, "ok", [value]) for k, value in enumerate(worse)]
    references = [(f"i{k}", f"s{k}", "ok", [value]) for k, value in enumerate(clean)]
    found = scores(face_quality.compute(by_hand(samples, references, role="quality")))
    mean = found["quality", "mean_detected"]
    assert mean.value == pytest.approx(worse.mean())
    assert mean.high < found["quality", "real_level"].value == pytest.approx(clean.mean())
