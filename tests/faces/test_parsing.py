"""Parsers: one order of labels, the right place, and masks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.faces.parsing import Label, ParseNet, mask_background, parsenet
from bench.networks import pixels
from bench.runtime import Runtime
from tests import weights

OFFICIAL_PARSENET = [
    "background",
    "skin",
    "nose",
    "eye_g",
    "l_eye",
    "r_eye",
    "l_brow",
    "r_brow",
    "l_ear",
    "r_ear",
    "mouth",
    "u_lip",
    "l_lip",
    "hair",
    "hat",
    "ear_r",
    "neck_l",
    "neck",
    "cloth",
]
OFFICIAL_BISENET = [
    "background",
    "skin",
    "l_brow",
    "r_brow",
    "l_eye",
    "r_eye",
    "eye_g",
    "l_ear",
    "r_ear",
    "ear_r",
    "nose",
    "mouth",
    "u_lip",
    "l_lip",
    "neck",
    "neck_l",
    "cloth",
    "hair",
    "hat",
]
CROP = np.full((1, 512, 512, 3), 128, dtype=np.uint8)


def parser(state, path, size=64):
    torch.save(state, path)
    return ParseNet(ParseNet.Options(weights=path, size=size), Runtime())


def silenced(state):
    """The state with every residual path shut and the mask's head at 0."""
    for key, value in state.items():
        if ("conv2.norm" in key and key.endswith(("weight", "bias"))) or key.startswith("out_mask_conv"):
            value.zero_()
    return state


def test_labels_are_in_the_order_of_bisenet():
    assert [label.name.lower() for label in Label] == OFFICIAL_BISENET
    assert [int(label) for label in Label] == list(range(19))


@pytest.mark.parametrize("channel", range(19))
def test_each_channel_of_parsenet_becomes_its_label(channel, tmp_path):
    state = silenced(weights.parsenet())
    state["out_mask_conv.conv2d.bias"][channel] = 1
    labels = parser(state, tmp_path / "parsenet.pth").labels(CROP)
    assert labels.shape == (1, 512, 512)
    assert labels.dtype == np.uint8
    assert np.unique(labels).tolist() == [Label[OFFICIAL_PARSENET[channel].upper()]]


@pytest.mark.parametrize(("rows", "columns"), [(slice(0, 200), slice(None)), (slice(None), slice(300, 512))])
def test_labels_lie_where_the_image_has_them(rows, columns, tmp_path):
    """A network that copies its red channel to the logit of "hair", against 0 for all others."""
    state = silenced(weights.parsenet())
    for key, value in state.items():
        if key.endswith("conv2d.weight") and ("shortcut" in key or key.startswith("encoder.0.")):
            value.zero_()[0, 0, 1, 1] = 1
        if key.endswith("conv2d.bias") and ("shortcut" in key or key.startswith("encoder.0.")):
            value.zero_()
    state["out_mask_conv.conv2d.weight"][OFFICIAL_PARSENET.index("hair"), 0, 1, 1] = 1
    crop = np.zeros_like(CROP)
    crop[:, rows, columns, 0] = 255
    labels = parser(state, tmp_path / "parsenet.pth").labels(crop)[0]
    expected = np.where(crop[0, ..., 0] > 127, Label.HAIR, Label.BACKGROUND)
    assert np.mean(labels == expected) > 0.95


CONFIGURATIONS = {
    "official": {"in_size": 512, "out_size": 512},
    "small": weights.SMALL_PARSENET,
    "clipped": {
        "in_size": 128,
        "out_size": 128,
        "min_feat_size": 16,
        "base_ch": 16,
        "res_depth": 1,
        "ch_range": [8, 32],
    },
    "shallow": {"in_size": 64, "out_size": 64, "min_feat_size": 32, "base_ch": 12, "res_depth": 3, "ch_range": [4, 99]},
    "half": {"in_size": 64, "out_size": 32, "min_feat_size": 16, "base_ch": 8, "res_depth": 1, "ch_range": [8, 16]},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_configuration_is_read_off_the_shapes(name):
    from facexlib.parsing.parsenet import ParseNet as Network

    state = weights.parsenet(**CONFIGURATIONS[name])
    official = Network(**CONFIGURATIONS[name]).eval()
    official.load_state_dict(state, strict=False)
    ours = parsenet(state, "test")
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(ours(image)[0], official(image)[0])


def test_at_512_nothing_is_resized(tmp_path):
    network = parser(weights.parsenet(), tmp_path / "parsenet.pth", size=512)
    image = pixels(np.random.default_rng(0).integers(0, 256, CROP.shape, dtype=np.uint8), "cpu")
    with torch.inference_mode():
        assert torch.equal(network.logits(image), network.network(image * 2 - 1)[0])


def test_a_network_of_another_depth_or_kind_is_named(tmp_path):
    state = weights.parsenet()
    del state["body.1.conv2.conv2d.weight"]
    with pytest.raises(UserError, match=r"1 keys missing \(body\.1\.conv2\.conv2d\.weight"):
        parser(state, tmp_path / "a.pth")
    with pytest.raises(UserError, match="expected facexlib's ParseNet"):
        parser(weights.bisenet(), tmp_path / "b.pth")


def random_labels():
    generator = np.random.default_rng(3)
    return generator.integers(0, 256, (40, 30, 3), dtype=np.uint8), generator.integers(0, 19, (40, 30), dtype=np.uint8)


@pytest.mark.parametrize(
    ("background", "fill"),
    [
        (frozenset({Label.BACKGROUND}), (0, 0, 0)),
        (frozenset({Label.BACKGROUND, Label.NECK, Label.NECK_L, Label.CLOTH}), (255, 128, 1)),
        (frozenset(Label), (7, 7, 7)),
        (frozenset(), (9, 9, 9)),
    ],
)
def test_background_is_filled_exactly_and_the_rest_untouched(background, fill):
    crop, labels = random_labels()
    before = crop.copy()
    masked, share = mask_background(crop, labels, background, fill)
    removed = np.array([[Label(value) in background for value in row] for row in labels])
    assert masked.dtype == np.uint8
    np.testing.assert_array_equal(masked[removed], np.broadcast_to(fill, (removed.sum(), 3)))
    np.testing.assert_array_equal(masked[~removed], crop[~removed])
    np.testing.assert_array_equal(crop, before)
    assert share == pytest.approx(1 - removed.mean(), abs=1e-12)


def test_by_default_label_0_becomes_black():
    crop, labels = random_labels()
    masked, share = mask_background(crop, labels)
    np.testing.assert_array_equal(masked, np.where(labels[..., None] == 0, 0, crop))
    assert 0 < share < 1


def test_crops_are_averaged_where_the_parser_reads_fewer_pixels():
    """Stripes of four pixels, of which a filter without averaging sees the two bright ones alone."""
    stripes = torch.tensor([0.0, 1.0, 1.0, 0.0]).repeat(16).expand(1, 3, 64, 64)
    logits = ParseNet.logits(SimpleNamespace(size=16, network=lambda images: [images]), stripes)
    assert torch.allclose(logits[..., 16:48, 16:48], torch.zeros(1), atol=1e-5)
