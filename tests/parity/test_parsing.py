"""BiSeNet against the golden logits (README: 5e-4, 99.5 % of the labels), and against facexlib's own forward."""

import numpy as np
import pytest
import torch

from bench.faces.parsing import BiSeNet
from bench.networks import IMAGENET_MEAN, IMAGENET_STD, pixels, standardise
from bench.runtime import Runtime
from tests.parity.formula import simg, timg
from tests.parity.official import PROBE, case, checks, constant, formula_state
from tests.shared import needs

pytestmark = needs(PROBE)


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    path = tmp_path_factory.mktemp("parsing") / "parsing_bisenet.pth"
    torch.save(formula_state("bisenet"), path)
    return BiSeNet(BiSeNet.Options(weights=path), Runtime())


@pytest.fixture(scope="module")
def golden():
    return case("bisenet")


@pytest.fixture(scope="module")
def crop():
    q = constant()
    return timg(512, 512, 2, q) // 2 + simg(512, 512, 1, q) // 2


@pytest.fixture(scope="module")
def logits(parser, crop):
    with torch.inference_mode():
        return parser.logits(pixels(crop[None], "cpu"))


def test_golden_logits(logits, golden):
    ours = logits[0].numpy()
    np.testing.assert_allclose(ours[:, ::64, ::64], golden["logits_sub"], rtol=0, atol=5e-4)
    expected = golden["logits_checks"]
    np.testing.assert_allclose([checks(plane) for plane in ours], expected, rtol=1e-4, atol=0.2)


def test_golden_labels(parser, golden, crop):
    labels = parser.labels(crop[None])[0]
    sure = golden["margin64"] > 1e-3
    np.testing.assert_array_equal(labels[::8, ::8][sure], golden["labels64"][sure])
    moved = np.abs(np.bincount(labels.ravel(), minlength=19) - golden["label_hist"]).sum()
    assert moved <= 2 * 0.005 * labels.size


def test_facexlib_gives_the_same(parser, crop, logits):
    with torch.inference_mode():
        whole = parser.network(standardise(pixels(crop[None], "cpu"), IMAGENET_MEAN, IMAGENET_STD))[0]
    torch.testing.assert_close(logits, whole, rtol=0, atol=0)
