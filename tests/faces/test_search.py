"""The search at several scales: its rules on answers that are known, then real networks on close-ups."""

import cv2
import numpy as np
import pytest

from bench.extractors.recognition import ArcFaceOnnx
from bench.faces.align import ARCFACE, arcface112
from bench.faces.detection import RetinaFace, Scrfd
from bench.faces.face import Face
from bench.faces.search import MEASURES, FaceOptions, Scale, Scales, choose, detect, plausible
from bench.images import read_image
from bench.mini.world import render, sample_identities, sample_scenes
from bench.runtime import Runtime
from tests.shared import ROOT, SHARED, needs

WEIGHTS = SHARED / "weights" / "retinaface_mobile0.25.pth"
RECOGNISER = SHARED / "weights" / "mobilefacenet_arcface.onnx"
PHOTOS = SHARED / "photos"
SHAPE = (1000, 1000, 3)
IMAGE = np.zeros(SHAPE, np.uint8)
LARGE, MIDDLE, SMALL = Scale(1000, 1000), Scale(500, 500), Scale(250, 250, 0.3)
SEVERAL, SINGLE = FaceOptions(), FaceOptions(scales="single")


def face(x=500, y=500, side=200, score=0.9, shift=0.0, turn=0.0):
    """A face whose centre lies at x, y; its points are moved to the right by a share of its side."""
    points = (ARCFACE - ARCFACE.mean(0)) / 112 * side
    angle = np.radians(turn)
    points = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    box = np.float32([x - side / 2, y - side / 2, x + side / 2, y + side / 2])
    return Face(box, score, (points + np.array([x + shift * side, y])).astype(np.float32))


class Scripted:
    """A detector whose answers at each scale are given; it reads faces of 80 to 300 pixels well."""

    face_pixels = (80.0, 300.0)

    def __init__(self, answers, fallback=()):
        self.answers, self.read = answers, []
        self.fallback = fallback

    def scales(self, shape):
        return Scales(LARGE, (MIDDLE, SMALL), self.fallback)

    def zoom(self, shape, scale):
        return scale.side / (1 + 2 * scale.border) / 1000

    def find(self, image, scale):
        self.read.append(scale)
        return self.answers.get(scale, [])


def test_where_the_scales_agree_the_configured_answer_is_taken_unchanged():
    own = face(score=0.7)
    found = detect(Scripted({LARGE: [own], MIDDLE: [face(shift=0.02)], SMALL: [face(shift=-0.03)]}), IMAGE, SEVERAL)
    assert found.faces == [own]
    assert (found.scale, found.is_configured, found.scales_read, found.scales_agree) == (LARGE, True, 3, 3)
    assert found.disagreement == pytest.approx(0.03, abs=1e-4)


def test_a_face_that_is_too_large_for_the_network_is_read_where_it_is_not():
    wrong, better, best = face(side=900, shift=0.2, score=1.0), face(side=900, shift=0.04), face(side=900)
    found = detect(Scripted({LARGE: [wrong], MIDDLE: [better], SMALL: [best]}), IMAGE, SEVERAL)
    assert found.faces == [best]
    assert (found.scale, found.is_configured, found.scales_agree) == (SMALL, False, 2)
    assert found.disagreement == pytest.approx(0.2, abs=1e-4)


def test_a_part_of_a_face_at_full_confidence_does_not_count_as_a_face():
    part = face(700, 300, side=300, score=1.0)
    found = detect(Scripted({LARGE: [part], MIDDLE: [face(side=800)], SMALL: [face(side=800)]}), IMAGE, SEVERAL)
    assert [f.size for f in found.faces] == [800]


def test_a_face_that_one_scale_alone_sees_is_taken_where_there_is_no_other():
    small = face(100, 100, side=40)
    found = detect(Scripted({LARGE: [small]}), IMAGE, SEVERAL)
    assert (found.faces, found.scales_agree) == ([small], 1)
    assert np.isnan(found.disagreement)
    chest = face(300, 800, side=400)
    known = {LARGE: [chest, small], MIDDLE: [face(100, 100, side=40)]}
    assert detect(Scripted(known), IMAGE, SEVERAL).faces == [small]


def test_where_no_scale_agrees_the_size_decides():
    answers = {LARGE: [face(side=900)], MIDDLE: [face(side=900, shift=0.2)], SMALL: [face(side=900, shift=0.4)]}
    found = detect(Scripted(answers), IMAGE, SEVERAL)
    assert (found.scale, found.scales_agree, len(found.faces)) == (SMALL, 1, 1)


def test_two_people_stay_two():
    ann, bob = face(250, 500), face(750, 500, side=150)
    answers = {LARGE: [bob, ann], MIDDLE: [face(252, 500), face(748, 500, side=150)]}
    assert detect(Scripted(answers), IMAGE, SEVERAL).faces == [ann, bob]


def test_a_single_scale_reads_one_and_falls_back_where_it_is_empty():
    detector = Scripted({LARGE: [face()]}, (SMALL,))
    found = detect(detector, IMAGE, SINGLE)
    assert detector.read == [LARGE]
    assert (found.is_configured, found.scales_read, found.scales_agree) == (True, 1, 1)
    detector = Scripted({SMALL: [face(side=900)]}, (MIDDLE, SMALL))
    found = detect(detector, IMAGE, SINGLE)
    assert detector.read == [LARGE, MIDDLE, SMALL]
    assert (found.scale, found.is_configured) == (SMALL, False)


@pytest.mark.parametrize("options", [SEVERAL, SINGLE])
def test_nothing_is_found(options):
    found = detect(Scripted({}, (SMALL,)), IMAGE, options)
    assert (found.faces, found.scale, found.scales_agree) == ([], None, 0)


def test_points_lie_in_the_box():
    assert plausible(face())
    # A profile's far eye lies outside of the box.
    assert plausible(face(shift=0.4))
    assert not plausible(face(shift=0.6))
    assert not plausible(face(side=0))
    astray = face(side=800, shift=0.6)
    assert detect(Scripted({LARGE: [astray, face(side=100)]}), IMAGE, SINGLE).faces[0].size == 100


@pytest.mark.parametrize(
    ("choice", "expected"), [("largest", "large"), ("most_central", "central"), ("best_score", "sure")]
)
def test_the_rule_says_who_is_meant(choice, expected):
    faces = {"large": face(200, 200, 300, 0.6), "central": face(500, 500, 150, 0.7), "sure": face(800, 800, 150, 0.99)}
    assert choose(list(faces.values()), SHAPE, choice) is faces[expected]


def test_sizes_within_ten_percent_are_decided_by_score_and_place():
    """Two boxes that differ by 1 to 6 % in area swap between scales; who is meant must not."""
    middle, edge = face(480, 500, 200, 0.99), face(800, 500, 203, 0.98)
    assert choose([edge, middle], SHAPE, "largest") is middle
    assert choose([middle, edge], SHAPE, "largest") is middle
    doubtful = face(500, 500, 200, 0.6)
    assert choose([edge, doubtful], SHAPE, "largest") is edge
    assert choose([face(800, 500, 220, 0.6), middle], SHAPE, "largest").size == 220


@pytest.mark.parametrize("choice", list(MEASURES))
def test_the_order_of_the_list_does_not_decide(choice):
    twins = [face(250, 500), face(750, 500), face(500, 250), face(500, 750)]
    assert {id(choose(order, SHAPE, choice)) for order in (twins, twins[::-1], twins[2:] + twins[:2])} == {id(twins[0])}


@pytest.mark.parametrize("turn", [0, 30, 90, 180, -90])
def test_roll_is_the_angle_of_the_eyes(turn):
    assert abs((face(turn=turn).roll - turn + 180) % 360 - 180) < 1


# The embedded world's SCRFD.


@pytest.fixture(scope="module")
def scrfd():
    weights = ROOT / "bench" / "mini" / "weights" / "detector.onnx"
    scales = {"further_scales": ((128, 0.0), (160, 0.3)), "face_pixels": (40, 217)}
    return Scrfd(Scrfd.Options(weights=weights, det_size=(256, 256), **scales), Runtime())


@pytest.fixture(scope="module")
def head():
    """A rendered head of 512 pixels, with the truth about its points and its box."""
    made = render(sample_scenes(sample_identities(5, 1, "eval"), 5, frontal=0.8), 512)
    return made.images[0], made.keypoints[0], made.boxes[0]


def cut_to(image, box, share, side):
    """The square around a box, `share` times its longer side, at `side` pixels; and the matrix that cuts it."""
    (x0, y0, x1, y1), longer = box, max(box[2] - box[0], box[3] - box[1]) * share
    scale = side / longer
    matrix = np.array([[scale, 0, side / 2 - (x0 + x1) / 2 * scale], [0, scale, side / 2 - (y0 + y1) / 2 * scale]])
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC), matrix


def error(found, points, matrix):
    """How far the points are from the truth, in distances of the eyes."""
    truth = points @ matrix[:, :2].T + matrix[:, 2]
    return np.linalg.norm(found - truth, axis=1).mean() / np.linalg.norm(truth[1] - truth[0])


@pytest.mark.parametrize("side", [96, 256, 700])
def test_scrfd_reads_a_close_up_whatever_its_side(scrfd, head, side):
    image, points, box = head
    close, matrix = cut_to(image, box, 0.8, side)
    assert detect(scrfd, close, SINGLE).faces == []
    found = detect(scrfd, close, SEVERAL)
    assert not found.is_configured
    assert found.scales_agree >= 2
    assert error(found.faces[0].keypoints, points, matrix) < 0.1


def test_scrfd_keeps_the_configured_answer_of_an_ordinary_portrait(scrfd, head):
    image = head[0]
    one, several = detect(scrfd, image, SINGLE), detect(scrfd, image, SEVERAL)
    assert several.is_configured
    assert several.scales_agree == 3
    for name in ("box", "keypoints", "score"):
        np.testing.assert_array_equal(getattr(one.faces[0], name), getattr(several.faces[0], name))


# Real photographs.


@pytest.fixture(scope="module")
def retinaface():
    return RetinaFace(RetinaFace.Options(weights=WEIGHTS, network="mobile0.25"), Runtime())


@pytest.fixture(scope="module")
def embed():
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    network = ArcFaceOnnx(ArcFaceOnnx.Options(weights=RECOGNISER, mean=mean, std=std, dim=128), Runtime())

    def unit(image, found):
        feature = network.extract(arcface112(image, found.faces[0].keypoints)[None])["feature"][0]
        return feature / np.linalg.norm(feature)

    return unit


@needs(WEIGHTS)
@needs(RECOGNISER)
@needs(PHOTOS)
@pytest.mark.parametrize("share", [1.0, 1.2])
def test_similarity_of_a_close_up_does_not_depend_on_its_side(retinaface, embed, share):
    """At a single scale, ten photos at 1024 pixels have 0.13 for the box itself and 0.6 for 1.2 times the box."""
    similarity = {512: [], 1024: []}
    for person in ("aflw202", "baye", "lowe", "scarlett"):
        image = read_image(sorted((PHOTOS / person).iterdir())[0])
        found = detect(retinaface, image, SEVERAL)
        for side, values in similarity.items():
            close, _ = cut_to(image, found.faces[0].box, share, side)
            values.append(embed(close, detect(retinaface, close, SEVERAL)) @ embed(image, found))
    small, large = np.mean(similarity[512]), np.mean(similarity[1024])
    assert small > 0.9
    assert abs(small - large) < 0.02


@needs(WEIGHTS)
@needs(PHOTOS)
def test_a_photo_on_its_side_has_a_roll_or_no_second_scale(retinaface):
    for person in ("lowe", "newton"):
        image = read_image(sorted((PHOTOS / person).iterdir())[0])
        assert abs(detect(retinaface, image, SEVERAL).faces[0].roll) < 15
        turned = detect(retinaface, np.ascontiguousarray(np.rot90(image)), SEVERAL)
        assert abs(turned.faces[0].roll) > 45
