"""Each view is cut from one image with one detection and one landmark pass; what cannot be cut says why."""

import importlib.util

import numpy as np
import pytest

from bench.errors import UserError
from bench.faces import align, boxes
from bench.faces.face import Face
from bench.faces.views import FFHQ512, MASK_OPTIONS, VIEWS, ViewOptions, absent, cut, mask, view_read_by
from bench.status import SampleStatus

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


def installed():
    """The views that can be cut with the packages at hand: dlib is optional."""
    return [view for view in VIEWS.values() if view.name != "dlib150" or importlib.util.find_spec("dlib")]


def face(with_landmarks: bool = True, keypoints: np.ndarray = POINTS) -> Face:
    return Face(np.array([80, 90, 170, 200], np.float32), 0.9, keypoints, landmarks() if with_landmarks else None)


def test_every_view_has_its_declared_size_and_type():
    for view, crop in cut(IMAGE, face(), installed(), ViewOptions()).items():
        assert crop.status == "ok", view.name
        assert crop.pixels.shape == (view.side, view.side, 3)
        assert crop.pixels.dtype == view.dtype
        blank = absent(view, SampleStatus.NO_FACE)
        assert blank.pixels.shape == crop.pixels.shape
        assert blank.pixels.dtype == view.dtype


def test_the_options_that_decide_a_view_exist_and_fit_what_it_is():
    for view in VIEWS.values():
        assert set(view.options) <= set(ViewOptions.model_fields), view.name
        assert (set(MASK_OPTIONS) <= set(view.options)) == view.masked, view.name
        assert ("flame_landmarks" in view.options) == (view.from_landmarks is not None), view.name


@pytest.mark.parametrize("view", VIEWS.values(), ids=lambda view: view.name)
@pytest.mark.parametrize("alignment", ["ffhq68", "facexlib5"])
def test_a_view_needs_landmarks_exactly_where_it_cannot_be_cut_without(view, alignment):
    options = ViewOptions(alignment=alignment)
    crop = cut(IMAGE, face(with_landmarks=False), [view], options)[view]
    assert crop.status == ("no_landmarks" if view.needs_landmarks(options) else "ok")


def test_an_unknown_view_is_refused_with_the_nearest_name():
    assert view_read_by("lpips", "ffhq512") is FFHQ512
    with pytest.raises(UserError, match=r"^unknown view of extractor lpips 'ffhq51'; did you mean 'ffhq512'\? "):
        view_read_by("lpips", "ffhq51")


def test_aligned_views_without_landmarks_say_so():
    crops = cut(IMAGE, face(with_landmarks=False), list(VIEWS.values()), ViewOptions())
    assert {view.name for view, crop in crops.items() if crop.status == "ok"} == {
        "arcface112", "facenet160", "pose224", "whole320", "whole224",
    }  # fmt: skip
    assert {crop.status for view, crop in crops.items() if view.uses_landmarks} == {"no_landmarks"}


def test_only_the_whole_image_is_cut_of_one_without_a_face():
    crops = cut(IMAGE, SampleStatus.NO_FACE, list(VIEWS.values()), ViewOptions())
    assert {view.name for view, crop in crops.items() if crop.status == "ok"} == {"whole320", "whole224"}
    assert {crop.status for view, crop in crops.items() if not view.whole} == {"no_face"}


def test_the_views_of_the_judges_are_the_crops_of_their_modules():
    crops = {view.name: crop.pixels for view, crop in cut(IMAGE, face(), installed(), ViewOptions()).items()}
    np.testing.assert_array_equal(crops["facenet160"], boxes.facenet160(IMAGE, face().box))
    np.testing.assert_array_equal(crops["pose224"], boxes.pose224(IMAGE, face().box))
    np.testing.assert_array_equal(crops["whole320"], boxes.stretched(IMAGE, 320))
    np.testing.assert_array_equal(crops["whole224"], boxes.whole(IMAGE, 224, "bicubic"))


def test_the_arcface_crop_knows_where_its_own_key_points_are():
    view = VIEWS["arcface112"]
    crop = cut(IMAGE, face(), [view], ViewOptions())[view]
    middle = crop.keypoints.mean(0)
    np.testing.assert_allclose(crop.keypoints, align.move(POINTS, align.arcface_matrix(POINTS)))
    np.testing.assert_allclose(middle, align.ARCFACE.mean(0), atol=1e-4)
    assert np.abs(crop.keypoints - align.ARCFACE).max() > 1


def test_a_box_outside_the_image_is_a_status():
    away = Face(np.array([-50, -50, -20, -10], np.float32), 0.9, POINTS)
    for name in ("facenet160", "pose224"):
        assert cut(IMAGE, away, [VIEWS[name]], ViewOptions())[VIEWS[name]].status == "no_crop"


def test_the_five_point_crop_needs_none():
    crop = cut(IMAGE, face(with_landmarks=False), [FFHQ512], ViewOptions(alignment="facexlib5"))[FFHQ512]
    assert (crop.pixels == align.facexlib512(IMAGE, POINTS)).all()


def test_points_that_define_no_crop_are_a_status():
    nowhere, view = np.full((5, 2), 7, np.float32), VIEWS["arcface112"]
    assert cut(IMAGE, face(keypoints=nowhere), [view], ViewOptions())[view].status == "no_crop"


@pytest.mark.parametrize("channel", range(3))
def test_colours_stay_in_their_channels(channel):
    image = np.zeros_like(IMAGE)
    image[..., channel] = 200
    for view, crop in cut(image, face(), installed(), ViewOptions()).items():
        others = [c for c in range(3) if c != channel]
        assert crop.pixels[..., channel].max() > 0, view.name
        assert crop.pixels[..., others].max() == 0, view.name


def test_the_mask_removes_what_the_labels_say_and_an_empty_one_is_a_status():
    aligned = cut(IMAGE, face(), [FFHQ512], ViewOptions())[FFHQ512]
    half = np.zeros((1, 512, 512), np.uint8)
    half[:, :256] = 1
    [masked] = mask([aligned], lambda crops: half, ViewOptions(fill=(9, 8, 7)))
    assert masked.foreground == 0.5
    assert (masked.pixels[:256] == aligned.pixels[:256]).all()
    assert (masked.pixels[256:] == (9, 8, 7)).all()
    [empty] = mask([aligned], lambda crops: half * 0, ViewOptions())
    assert empty.status == "empty_mask"
    failed = absent(VIEWS["ffhq512_masked"], SampleStatus.NO_FACE)
    assert mask([failed], lambda crops: half, ViewOptions())[0] is failed


def test_the_crop_of_flame_is_cut_where_the_landmarks_lie_in_the_aligned_crop():
    flame, options = VIEWS["flame224"], ViewOptions()
    crops = cut(IMAGE, face(), [FFHQ512, flame], options)
    moved = align.move(
        face().landmarks, align.ffhq512(IMAGE, face().landmarks, transform=options.transform_size).matrix
    )
    np.testing.assert_array_equal(crops[flame].pixels, align.flame224(crops[FFHQ512].pixels, moved))
