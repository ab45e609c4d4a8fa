"""Alignment and recogniser input against the official implementations; tolerances from the golden README, section 3."""

import hashlib
import json
from functools import cache

import numpy as np
import pytest

from bench.extractors.recognition import blob
from bench.faces import align
from tests.parity.formula import simg, timg
from tests.shared import GOLDEN, needs

METRICS = GOLDEN / "metrics"
FFHQ = ("astro_plain", "astro_border", "synth_center", "synth_shrink", "synth_corner")
FLAME = ("astro_plain", "synth_center", "synth_corner")

pytestmark = needs(METRICS)


@pytest.fixture(scope="module")
def q():
    return json.loads((GOLDEN / "set.json").read_text())["q"]


def load(case):
    return np.load(METRICS / f"{case}.npz")


def image_of(golden, prefix="", astronaut=None):
    """The image of a case: a rectangle of scikit-image's photo, or a formula."""
    args = golden[f"{prefix}image_args"].tolist()
    if golden[f"{prefix}is_astronaut"] if astronaut is None else astronaut:
        data = pytest.importorskip("skimage.data")
        y0, y1, x0, x1 = args
        return np.ascontiguousarray(data.astronaut()[y0:y1, x0:x1])
    return formula_image(*args)


@cache
def formula_image(*args):
    return simg(*args)


def digest(array):
    return np.frombuffer(hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest(), np.uint8)


def checks(array):
    flat = array.astype(np.float64).ravel()
    wave = np.cos(0.37 * np.arange(flat.size))
    return np.array([flat.sum(), np.abs(flat).sum(), (flat**2).sum(), (flat * wave).sum(), flat.min(), flat.max()])


def blocks(image, size):
    height, width = image.shape[0] // size, image.shape[1] // size
    return image.reshape(height, size, width, size, 3).astype(np.int64).sum((1, 3))


def mean_difference(ours, golden):
    return np.abs(np.asarray(ours, np.float64) - golden).mean()


@pytest.mark.parametrize("index", range(3))
def test_norm_crop(index):
    golden, at = load("norm_crop"), f"set{index}_"
    image, keypoints = image_of(golden, at), golden[f"{at}kps"]
    assert (digest(image) == golden[f"{at}image_sha256"]).all()
    crops = {size: align.arcface112(image, keypoints, size) for size in (112, 128, 224, 256)}
    for size, crop in crops.items():
        np.testing.assert_allclose(align.arcface_matrix(keypoints, size), golden[f"{at}M{size}"], atol=1e-4)
        assert abs(checks(crop)[0] - golden[f"{at}checks{size}"][0]) <= 0.05 * crop.size
    assert mean_difference(crops[112], golden[f"{at}crop112"]) <= 0.05
    assert mean_difference(blocks(crops[224], 2) / 4, golden[f"{at}crop224_block2_sum"] / 4) <= 0.05
    assert mean_difference(crops[128][64], golden[f"{at}crop128_row64"]) <= 0.05


@pytest.mark.parametrize("index", range(3))
def test_facexlib_align(index):
    golden, at = load("facexlib_align"), f"set{index}_"
    image, keypoints = image_of(golden, at), golden[f"{at}kps"]
    np.testing.assert_allclose(align.facexlib_matrix(keypoints), golden[f"{at}M_lmeds"], atol=1e-3)
    np.testing.assert_allclose(align.umeyama(keypoints, align.FACEXLIB), golden[f"{at}M_least_squares"], atol=1e-4)
    bgr = align.facexlib512(image, keypoints)[:, :, ::-1]
    assert mean_difference(blocks(bgr, 8) / 64, golden[f"{at}out_bgr_block8_sum"] / 64) <= 0.05
    assert mean_difference(bgr[256], golden[f"{at}out_bgr_row256"]) <= 0.05


@pytest.mark.parametrize("case", FFHQ)
def test_ffhq_source(case):
    """What the crop is sampled from: after shrinking, cropping and padding."""
    golden = load(f"ffhq_{case}")
    image = image_of(golden)
    assert (digest(image) == golden["image_sha256"]).all()
    source = align._pad(align._cut(image, align.ffhq_quad(golden["landmarks"]), 512))
    assert source.image.shape[1::-1] == tuple(golden["transform_source_size_wh"])
    np.testing.assert_allclose((source.quad + 0.5).ravel(), golden["transform_quad_plus_half"], atol=1e-9)
    row = source.image[len(source.image) // 2]
    assert np.abs(row.astype(int) - golden["transform_source_row_mid"]).max() <= 1
    assert abs(checks(source.image)[0] - golden["transform_source_checks"][0]) <= 1e-4 * source.image.size


@pytest.mark.parametrize("case", FFHQ)
def test_ffhq(case):
    """Tighter than the tolerance (mean 0.05, at most 2): what the fast sampling reaches."""
    golden = load(f"ffhq_{case}")
    crop = align.ffhq512(image_of(golden), golden["landmarks"]).image
    for ours, theirs in ((crop[256], golden["row256"]), (crop[:, 256], golden["col256"])):
        assert mean_difference(ours, theirs) <= 0.02
        assert np.abs(ours.astype(int) - theirs).max() <= 1
    difference = blocks(crop, 4) - golden["block4_sum"].astype(np.int64)
    assert np.abs(difference).mean() / 16 <= 0.02
    assert np.abs(difference).max() <= 8
    assert abs(checks(crop)[0] - golden["output_checks"][0]) <= 0.02 * crop.size


@pytest.mark.parametrize("case", FLAME)
def test_deca_crop(case):
    golden, at = load("deca_crop"), f"crop_{case}_"
    image, landmarks = image_of(golden, at), golden[f"{at}landmarks"]
    np.testing.assert_allclose(align.flame_matrix(landmarks), golden[f"{at}tform"][:2], rtol=1e-6, atol=1e-4)
    crop = align.flame224(image, landmarks).transpose(2, 0, 1)
    grey_level = 1 / 255
    assert mean_difference(crop[:, 112], golden[f"{at}row112"]) <= 0.05 * grey_level
    means = crop.reshape(3, 56, 4, 56, 4).mean((2, 4))
    assert mean_difference(means, golden[f"{at}block4_mean"]) <= 0.05 * grey_level
    np.testing.assert_allclose(checks(crop)[:3], golden[f"{at}checks"][:3], rtol=1e-4)


def test_smirk_crop():
    golden = load("smirk")
    image, landmarks = image_of(golden, "crop_", astronaut=True), golden["crop_landmarks"]
    matrix = align.flame_matrix(landmarks, scale=1.4, enlarge=1.0)
    np.testing.assert_allclose(matrix, golden["crop_tform"][:2], atol=1e-4)
    crop = align.smirk224(image, landmarks)
    assert mean_difference(crop[112], golden["crop_row112"]) <= 0.05
    assert mean_difference(blocks(crop, 4) / 16, golden["crop_block4_sum"] / 16) <= 0.05


def insightface_blob(images):
    """insightface's constants; it is given BGR, which our RGB has to be made from."""
    return blob([image[:, :, ::-1] for image in images], (112, 112), "rgb", (127.5,) * 3, (127.5,) * 3)


def test_arcface_blob_to_the_last_bit(q):
    golden = load("arcface_blob")
    assert (timg(112, 112, 1, q) == golden["image"]).all()
    ours = insightface_blob([golden["image"]])[0]
    assert (digest(ours) == golden["blob_sha256"]).all()
    np.testing.assert_array_equal(ours[:, [0, 1, 55, 111]], golden["blob_rows"])
    np.testing.assert_array_equal(ours[:, :8, :8], golden["blob_corner"])


def test_arcface_blob_of_other_sizes(q):
    """Crops of other sizes are resized; the last ones only to the rounding of the resize."""
    golden = load("arcface_blob")
    shapes = golden["batch_shapes"]
    batch = insightface_blob([timg(h, w, k, q) for k, (h, w, _) in enumerate(shapes.tolist(), start=1)])
    np.testing.assert_array_equal(batch[0, :, 55], golden["batch_row55"][0])
    np.testing.assert_allclose(batch[:, :, 55], golden["batch_row55"], atol=1.01 / 127.5)
    assert np.abs(batch[:, :, 55] - golden["batch_row55"]).mean() <= 0.05 / 127.5
