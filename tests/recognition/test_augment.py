"""What augmentation does to a crop, and that it repeats."""

import numpy as np
import pytest

from bench.recognition.augment import augment
from bench.recognition.recipe import Augmentation

CROP = np.random.default_rng(0).integers(1, 256, (112, 112, 3)).astype(np.uint8)
NONE = {"flip": 0.0}


def changed(seed=0, **options):
    return augment(CROP, Augmentation(**(NONE | options)), np.random.default_rng(seed))


def test_nothing_is_changed_unasked():
    np.testing.assert_array_equal(changed(), CROP)


def test_flip():
    np.testing.assert_array_equal(changed(flip=1.0), CROP[:, ::-1])


@pytest.mark.parametrize(("kind", "least", "most"), [("crop", 0.17, 1.0), ("erase", 0.66, 0.99)])
def test_rectangles(kind, least, most):
    shares = []
    for seed in range(200):
        out = changed(seed, **{kind: 1.0})
        kept = (out == CROP).all(2)
        assert (out[~kept] == 0).all()
        shares.append(kept.mean())
    assert least <= min(shares)
    assert max(shares) <= most
    assert np.ptp(shares) > 0.2


def test_low_resolution_loses_detail():
    assert all(np.abs(np.diff(changed(seed, low_resolution=1.0).astype(int), axis=0)).mean() < 80 for seed in range(20))


def test_photometric_changes_all_of_a_crop_alike():
    grey = np.full_like(CROP, 100)
    out = augment(grey, Augmentation(flip=0, photometric=1.0), np.random.default_rng(3))
    assert len(np.unique(out)) == 1
    assert out[0, 0, 0] != 100


def test_every_chance_is_a_chance():
    flipped = [np.array_equal(changed(seed, flip=0.2), CROP[:, ::-1]) for seed in range(500)]
    assert np.mean(flipped) == pytest.approx(0.2, abs=0.05)


def test_it_repeats():
    options = {"flip": 0.5, "crop": 0.5, "low_resolution": 0.5, "photometric": 0.5, "erase": 0.5, "operations": 2}
    np.testing.assert_array_equal(changed(5, **options), changed(5, **options))
    assert any((changed(5, **options) != changed(seed, **options)).any() for seed in range(6, 9))
