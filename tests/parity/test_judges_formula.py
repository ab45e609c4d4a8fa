"""The images that all cases of the golden judges are made from."""

import hashlib

import numpy as np
import pytest

from tests.parity.judges import FOLDER, case, images
from tests.shared import needs

pytestmark = needs(FOLDER)
NAMES = ("crfiqa", "magface", "curricularface", "edgeface", "cvlface_vit", "mica", "facenet")
SEVERAL = ("sixdrepnet", "ediffiqa", "clip_text")


def sha256(array):
    return np.frombuffer(hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest(), np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_one_size(name):
    golden = case(name)
    np.testing.assert_array_equal(sha256(np.stack(images(golden))), golden["images_sha256"])


@pytest.mark.parametrize("name", SEVERAL)
def test_images_of_several_sizes(name):
    golden = case(name)
    np.testing.assert_array_equal([sha256(image) for image in images(golden)], golden["images_sha256"])
