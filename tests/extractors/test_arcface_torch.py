"""ArcFace networks in torch files: official sizes, strict loading, what they are fed."""

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.extractors.arcface_torch import ArcFaceTorch, network_input
from bench.runtime import Runtime
from tests import weights
from tests.parity import generation_formula as formula
from tests.shared import needs


def ir_se50():
    """facexlib's network, without weights."""
    from facexlib.recognition.arcface_arch import Backbone

    with torch.device("meta"):
        return Backbone(50, 0.6, "ir_se")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arcface")
    torch.save(weights.iresnet50(), folder / "iresnet50.pth")
    torch.save(weights.state_of(ir_se50(), "ir_se50"), folder / "ir_se50.pth")
    return folder


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)


def extractor(files, name, **more):
    return ArcFaceTorch(ArcFaceTorch.Options(weights=files / f"{name}.pth", network=name, **more), Runtime())


def test_official_sizes():
    from bench.extractors.iresnet import IResNet

    with torch.device("meta"):
        iresnet100 = IResNet("iresnet100")
    assert sum(p.numel() for p in iresnet100.parameters()) == 65_156_160
    assert len(ir_se50().state_dict()) == 397


@pytest.mark.parametrize("name", ["iresnet50", "ir_se50"])
def test_a_row_is_its_own_crop(files, crops, name):
    network = extractor(files, name)
    whole, one = network.extract(crops), network.extract(crops[1:2])
    assert whole["feature"].shape == (3, 512)
    np.testing.assert_allclose(one["feature"][0], whole["feature"][1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole["norm"], np.linalg.norm(whole["feature"], axis=1), rtol=1e-6)


def test_only_facexlibs_is_normalised(files, crops):
    np.testing.assert_allclose(extractor(files, "ir_se50").extract(crops)["norm"], 1, rtol=1e-5)
    assert np.abs(extractor(files, "iresnet50").extract(crops)["norm"] - 1).min() > 0.1


def test_colour(files, crops):
    plain = extractor(files, "iresnet50")
    other = extractor(files, "iresnet50", colour="bgr")
    np.testing.assert_array_equal(plain.extract(crops)["feature"], other.extract(crops[..., ::-1])["feature"])


@pytest.mark.parametrize("name", ["iresnet100", "ir_se50"])
def test_another_network(files, name):
    with pytest.raises(UserError, match="does not fit the network"):
        ArcFaceTorch(ArcFaceTorch.Options(weights=files / "iresnet50.pth", network=name), Runtime())


@needs(formula.FOLDER / "infiniteyou.npz")
def test_what_infiniteyou_feeds_it():
    from bench.faces.align import arcface112

    gold = formula.case("infiniteyou")
    image = formula.picture("id_image", *gold["face_hw"])
    values = network_input(arcface112(image, gold["face_kps"])[None], "bgr", "cpu")[0]
    formula.check(values[:, ::8, ::8], gold["recogniser_input_sampled"], 2 / 127.5, "recogniser_input")
    np.testing.assert_allclose(formula.stats(values), gold["recogniser_input_stats"], rtol=1e-3, atol=1e-4)
