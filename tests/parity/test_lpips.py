"""LPIPS against the golden pairs (README: 2e-6), and against the package's own forward (1e-6)."""

import numpy as np
import pytest
import torch

from bench.extractors.lpips import Lpips, network
from bench.runtime import Runtime
from tests.parity.official import PROBE, case, formula_state
from tests.shared import needs

pytestmark = needs(PROBE)
TRUNKS = {"alex": "alexnet", "vgg": "vgg16"}


@pytest.fixture(scope="module", params=TRUNKS)
def extractor(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("lpips") / f"{TRUNKS[request.param]}.pth"
    classifier = {"classifier.6.weight": torch.zeros(10, 4), "classifier.6.bias": torch.zeros(10)}
    torch.save(formula_state(TRUNKS[request.param]) | classifier, path)
    return request.param, path, Lpips(Lpips.Options(trunk=path, net=request.param), Runtime())


@pytest.fixture(scope="module")
def golden():
    return case("lpips_pairs")


@pytest.mark.parametrize("fill", [None, 0, 128, 255])
def test_golden_pairs(extractor, golden, fill):
    net, _, lpips = extractor
    table = lpips.distances(filled(golden, fill))
    expected = golden[f"{net}_{'plain' if fill is None else f'fill{fill}'}"]
    np.testing.assert_allclose(table[tuple(golden["pairs"].T)], expected, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(table, table.T)


def test_the_package_gives_the_same(extractor, golden):
    net, path, lpips = extractor
    package = network(net, path)
    images = torch.from_numpy(golden["images"]).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        naive = [float(package(images[:1], images[j : j + 1])) for j in range(1, 4)]
    np.testing.assert_allclose(lpips.distances(golden["images"])[0, 1:4], naive, rtol=0, atol=1e-6)


def filled(golden, grey):
    images = golden["images"].copy()
    if grey is not None:
        outside = np.unpackbits(golden["masks_packed"]).reshape(images.shape[:3]) == 0
        images[outside] = grey
    return images
