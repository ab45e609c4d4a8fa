"""Crops by a box and of the whole image: worked out by hand, and as torchvision makes them."""

import numpy as np
import pytest
from PIL import Image as Pillow

from bench.faces.boxes import facenet160, middle, pose224, resize, shorter_side, stretched, whole

IMAGE = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)


def by_pillow(rows, columns, size):
    part = np.ascontiguousarray(IMAGE[rows, columns])
    return np.asarray(Pillow.fromarray(part).resize(size, Pillow.Resampling.BILINEAR))


def test_facenet_cuts_down_to_whole_pixels():
    expected = by_pillow(slice(20, 70), slice(10, 49), (160, 160))
    np.testing.assert_array_equal(facenet160(IMAGE, (10.9, 20.9, 49.9, 70.9)), expected)


def test_facenets_margin_is_in_pixels_of_the_crop():
    """32 of 160: a box of 40 grows by 32 * 40 / 128 / 2 = 5 at each edge."""
    expected = by_pillow(slice(25, 85), slice(15, 65), (160, 160))
    np.testing.assert_array_equal(facenet160(IMAGE, (20, 31, 60, 79), margin=32), expected)


def test_facenet_is_held_to_the_image():
    expected = by_pillow(slice(0, 120), slice(0, 90), (160, 160))
    np.testing.assert_array_equal(facenet160(IMAGE, (-5.5, -0.5, 95, 121)), expected)


def test_pose_grows_each_edge_by_a_fifth_of_the_other_side():
    """A box of 30 x 51: 10 pixels to either side, 6 up and down; then the shorter side of 50 x 63 becomes 224."""
    part = np.ascontiguousarray(IMAGE[24:87, 20:70])
    high = np.asarray(Pillow.fromarray(part).resize((224, 282), Pillow.Resampling.BILINEAR))
    np.testing.assert_array_equal(pose224(IMAGE, (30.7, 30.2, 60.1, 81.9)), high[29:253])


def test_pose_at_the_edge_of_the_image():
    part = np.ascontiguousarray(IMAGE[0:60, 0:48])
    high = np.asarray(Pillow.fromarray(part).resize((224, 280), Pillow.Resampling.BILINEAR))
    np.testing.assert_array_equal(pose224(IMAGE, (-10, -10, 36, 51)), high[28:252])


@pytest.mark.parametrize("size", [(120, 90), (90, 120), (77, 77), (300, 131)])
@pytest.mark.parametrize("filter_", ["bilinear", "bicubic"])
def test_whole_is_torchvisions(size, filter_):
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    official = Compose([Resize(64, InterpolationMode(filter_)), CenterCrop(64)])
    np.testing.assert_array_equal(whole(image, 64, filter_), np.asarray(official(Pillow.fromarray(image))))


def test_stretched_keeps_nothing_of_the_aspect():
    assert stretched(IMAGE, 40).shape == (40, 40, 3)
    np.testing.assert_array_equal(stretched(IMAGE, 40), by_pillow(slice(None), slice(None), (40, 40)))


def test_sizes():
    assert shorter_side(IMAGE, 45, "bilinear").shape == (60, 45, 3)
    assert resize(IMAGE, (7, 9), "bicubic").shape == (7, 9, 3)
    assert middle(IMAGE, 90).shape == (90, 90, 3)
    np.testing.assert_array_equal(middle(IMAGE, 90), IMAGE[15:105])


@pytest.mark.parametrize("cut", [facenet160, pose224])
@pytest.mark.parametrize("box", [(200, 10, 300, 60), (10, 10, 10.5, 10.9), (np.nan, 0, 5, 5), (0, 0, 5)])
def test_a_box_without_a_pixel_is_refused(cut, box):
    with pytest.raises(ValueError, match="box"):
        cut(IMAGE, box)
