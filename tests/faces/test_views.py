"""Each view is cut from one image with one detection and one landmark pass; what cannot be cut says why."""

import numpy as np
import pytest

from bench.faces import align
from bench.faces.face import Face
from bench.faces.views import VIEWS, absent, cut, mask
from bench.spec import Views

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (300, 260, 3), dtype=np.uint8)
POINTS = np.array([[100, 120], [150, 122], [124, 150], [105, 175], [146, 176]], np.float32)
AROUND = np.linspace(0, 2 * np.pi, 68, endpoint=False)


def landmarks() -> np.ndarray:
    """Sixty-eight points round a face, eyes and mouth where the key points are."""
    points = np.stack([125 + 45 * np.cos(AROUND), 145 + 55 * np.sin(AROUND)], 1).astype(np.float32)
    points[36:42], points[42:48] = POINTS[0], POINTS[1]
    points[48], points[54] = POINTS[3], POINTS[4]
    return points


def face(with_landmarks: bool = True, keypoints: np.ndarray = POINTS) -> Face:
    return Face(np.array([80, 90, 170, 200], np.float32), 0.9, keypoints, landmarks() if with_landmarks else None)


def test_every_view_has_its_declared_size_and_type():
    for name, view in cut(IMAGE, face(), list(VIEWS), Views()).items():
        side, kind = VIEWS[name]
        assert view.status == "ok", name
        assert view.crop.shape == (side, side, 3)
        assert view.crop.dtype == kind
        blank = absent(name, "no_face")
        assert blank.crop.shape == view.crop.shape
        assert blank.crop.dtype == kind


def test_aligned_views_without_landmarks_say_so():
    views = cut(IMAGE, face(with_landmarks=False), list(VIEWS), Views())
    assert {name for name, view in views.items() if view.status == "ok"} == {"arcface112"}
    assert {view.status for name, view in views.items() if name != "arcface112"} == {"no_landmarks"}


def test_the_five_point_crop_needs_none():
    views = cut(IMAGE, face(with_landmarks=False), ["ffhq512", "flame224"], Views(alignment="facexlib5"))
    assert views["ffhq512"].status == "ok"
    assert (views["ffhq512"].crop == align.facexlib512(IMAGE, POINTS)).all()
    assert views["flame224"].status == "no_landmarks"


def test_points_that_define_no_crop_are_a_status():
    nowhere = np.full((5, 2), 7, np.float32)
    assert cut(IMAGE, face(keypoints=nowhere), ["arcface112"], Views())["arcface112"].status == "no_crop"


@pytest.mark.parametrize("channel", range(3))
def test_colours_stay_in_their_channels(channel):
    image = np.zeros_like(IMAGE)
    image[..., channel] = 200
    for name, view in cut(image, face(), list(VIEWS), Views()).items():
        others = [c for c in range(3) if c != channel]
        assert view.crop[..., channel].max() > 0, name
        assert view.crop[..., others].max() == 0, name


def test_the_mask_removes_what_the_labels_say_and_an_empty_one_is_a_status():
    portrait = cut(IMAGE, face(), ["ffhq512"], Views())["ffhq512"]
    half = np.zeros((1, 512, 512), np.uint8)
    half[:, :256] = 1
    [masked] = mask([portrait], lambda crops: half, Views(fill=(9, 8, 7)))
    assert masked.foreground == 0.5
    assert (masked.crop[:256] == portrait.crop[:256]).all()
    assert (masked.crop[256:] == (9, 8, 7)).all()
    [empty] = mask([portrait], lambda crops: half * 0, Views())
    assert empty.status == "empty_mask"
    failed = absent("ffhq512_masked", "no_face")
    assert mask([failed], lambda crops: half, Views())[0] is failed
