"""The crops, worked by hand."""

import cv2
import numpy as np
import pytest

from bench.faces import align

KEYPOINTS = np.array([[204.5, 104.8], [248.6, 101.5], [230.1, 132.3], [212.0, 150.2], [250.4, 147.7]])


def face68(centre=(200.0, 180.0), eye=30.0, angle=0.0):
    """Landmarks of which the FFHQ crop reads eyes and mouth: eyes 2 * `eye` apart, the mouth 2 * `eye` below them."""
    points = np.random.default_rng(0).uniform(-2 * eye, 2 * eye, (68, 2))
    points[36:42], points[42:48], points[48], points[54] = [-eye, 0], [eye, 0], [-eye, 2 * eye], [eye, 2 * eye]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T + centre


def spots(shape, points, radius=6.0):
    """A dark image with a soft bright spot at each point."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2)) for px, py in points)
    return np.repeat((np.clip(light, 0, 1) * 250).astype(np.uint8)[:, :, None], 3, axis=2)


def centroid(image, near, reach):
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    light = image[:, :, 0] * ((np.abs(x - near[0]) < reach) & (np.abs(y - near[1]) < reach)).astype(float)
    return np.array([(x * light).sum(), (y * light).sum()]) / light.sum()


def test_umeyama_recovers_a_known_similarity():
    angle, scale, shift = 0.7, 2.5, np.array([30.0, -4.0])
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = align.umeyama(KEYPOINTS, KEYPOINTS @ linear.T + shift)
    np.testing.assert_allclose(matrix, np.column_stack([linear, shift]), atol=1e-9)


def test_umeyama_never_reflects():
    """The guard of Umeyama's paper: the same answer as by singular value decomposition with the sign mended."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        src, dst = rng.normal(size=(5, 2)), rng.normal(size=(5, 2)) * [-1, 1]
        a, b = src - src.mean(0), dst - dst.mean(0)
        u, s, vt = np.linalg.svd(b.T @ a / 5)
        sign = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
        linear = (s * sign).sum() / a.var(0).sum() * u @ np.diag(sign) @ vt
        expected = np.column_stack([linear, dst.mean(0) - linear @ src.mean(0)])
        np.testing.assert_allclose(align.umeyama(src, dst), expected, atol=1e-12)
        assert np.linalg.det(align.umeyama(src, dst)[:, :2]) > 0


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan), np.zeros((4, 2))])
def test_points_without_a_crop(points):
    image = np.zeros((50, 50, 3), np.uint8)
    for cut in (align.arcface112, align.facexlib512):
        with pytest.raises(ValueError, match="points"):
            cut(image, points)


def test_the_template_face_is_left_where_it_is():
    np.testing.assert_allclose(align.arcface_matrix(align.ARCFACE), [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(align.arcface_matrix(align.ARCFACE, 224), [[2, 0, 0], [0, 2, 0]], atol=1e-12)
    np.testing.assert_allclose(align.arcface_matrix(align.ARCFACE, 128), [[1, 0, 8], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(align.facexlib_matrix(align.FACEXLIB), [[1, 0, 0], [0, 1, 0]], atol=1e-6)
    with pytest.raises(ValueError, match="112"):
        align.arcface_matrix(align.ARCFACE, 160)


def test_outside_is_black_for_arcface_and_grey_for_facexlib():
    """Key points at the corner of a white image: what lies beyond is the border, in RGB."""
    white = np.full((40, 40, 3), 255, np.uint8)
    keypoints = align.ARCFACE / 4 + 20
    assert (align.arcface112(white, keypoints)[-1, -1] == 0).all()
    assert align.facexlib512(white, keypoints)[-1, -1].tolist() == [132, 133, 135]


def test_channels_keep_their_order():
    red = np.zeros((300, 400, 3), np.uint8)
    red[:, :, 0] = 200
    landmarks = face68()
    crops = [
        align.arcface112(red, KEYPOINTS),
        align.facexlib512(red, KEYPOINTS),
        align.ffhq512(red, landmarks).image,
        align.smirk224(red, landmarks),
        align.flame224(red, landmarks) * 255,
    ]
    for crop in crops:
        middle = crop[crop.shape[0] // 2, crop.shape[1] // 2]
        np.testing.assert_allclose(middle, [200, 0, 0], atol=1)


def test_ffhq_quad_by_hand():
    """Eyes 60 apart, mouth 60 below: the square is 2 * max(2 * 60, 1.8 * 60) wide, centred 6 below the eyes."""
    quad = align.ffhq_quad(face68())
    np.testing.assert_allclose(quad, [[80, 66], [80, 306], [320, 306], [320, 66]], atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "eye", "angle"), [((500, 600), 30, 0.3), ((230, 300), 30, 0.0), ((2501, 2301), 280, -0.2)]
)
def test_ffhq_matrix_leads_to_what_the_crop_shows(shape, eye, angle):
    """Inside, with padding, and with the shrink by 2: a spot of the image lies in the crop where the matrix says."""
    centre = np.array([shape[1] * 0.45, shape[0] * 0.45])
    landmarks = face68(centre, eye, angle)
    points = [landmarks[36], landmarks[42], landmarks[48]]
    crop = align.ffhq512(spots(shape, points, eye / 10), landmarks)
    for point in align.move(points, crop.matrix):
        assert np.abs(centroid(crop.image, point, 30) - point).max() < 0.05


def test_padded_fraction():
    landmarks = face68()  # its square: x from 80 to 320, y from 66 to 306
    inside = align.ffhq512(np.zeros((400, 400, 3), np.uint8), landmarks)
    assert inside.padded_fraction == 0
    cut = align.ffhq512(np.zeros((246, 200, 3), np.uint8), landmarks)
    assert cut.padded_fraction == pytest.approx(1 - (119.5 / 240) * (179.5 / 240), abs=1e-5)


def test_ffhq_refuses_a_face_beside_the_image():
    with pytest.raises(ValueError, match="outside"):
        align.ffhq512(np.zeros((50, 50, 3), np.uint8), face68())


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5)])
def test_tiny_images(shape):
    image = np.full((*shape, 3), 90, np.uint8)
    landmarks = face68(centre=(shape[1] / 2, shape[0] / 2))
    assert align.ffhq512(image, landmarks).image.shape == (512, 512, 3)
    assert align.arcface112(image, KEYPOINTS).shape == (112, 112, 3)
    assert align.flame224(image, landmarks).shape == (224, 224, 3)
    assert align.smirk224(image, landmarks).shape == (224, 224, 3)


@pytest.mark.parametrize("grey", [0, 1, 127, 200, 255])
def test_flat_images_stay_flat(grey):
    """The supersampled image is cut down to whole levels: rounding below them would darken it."""
    image = np.full((300, 300, 3), grey, np.uint8)
    assert (align.ffhq512(image, face68((150, 140), 20.3, 0.4)).image == grey).all()


def test_ffhq_equals_pillow():
    """The fast sampling against Pillow's own, at a smaller transform to be quick."""
    from PIL import Image

    noise = np.random.default_rng(3).integers(0, 256, (60, 60, 3), np.uint8)
    image = cv2.resize(noise, (400, 400), interpolation=cv2.INTER_CUBIC)
    landmarks = face68(angle=0.5)
    ours = align.ffhq512(image, landmarks, output=256, transform=2048).image
    quad = tuple((align.ffhq_quad(landmarks) + 0.5).ravel())
    big = Image.fromarray(image).transform((2048, 2048), Image.Transform.QUAD, quad, Image.Resampling.BILINEAR)
    difference = np.abs(ours.astype(int) - np.asarray(big.resize((256, 256), Image.Resampling.LANCZOS)))
    assert difference.mean() < 0.02
    assert difference.max() <= 1


def test_flame_crop_by_hand():
    """A box of 100 x 60: side int(80 * 1.1 * 1.25) = 110 around its centre, corners at 0 and 223."""
    landmarks = np.tile([150.0, 130.0], (68, 1))
    landmarks[0], landmarks[1] = [100, 100], [200, 160]
    matrix = align.flame_matrix(landmarks)
    np.testing.assert_allclose(align.move([[95, 75], [205, 185]], matrix), [[0, 0], [223, 223]], atol=1e-9)
    smirk = align.flame_matrix(landmarks, scale=1.4, enlarge=1.0)
    np.testing.assert_allclose(align.move([[94, 74], [206, 186]], smirk), [[0, 0], [223, 223]], atol=1e-9)


def test_flame_crop_of_an_aligned_crop():
    """Landmarks mapped into the FFHQ crop cut the same face from it, upright."""
    landmarks = face68(angle=0.3)
    landmarks[:17] = np.linspace(landmarks[36], landmarks[48], 17)
    image = spots((500, 500), [landmarks[36]])
    aligned = align.ffhq512(image, landmarks)
    inside = align.move(landmarks, aligned.matrix)
    crop = align.flame224(aligned.image, inside)
    place = align.move(inside[36:37], align.flame_matrix(inside))[0]
    assert np.abs(centroid(crop, place, 25) - place).max() < 0.2
