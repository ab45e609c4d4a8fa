"""The recognition networks by name: every one is known, described and can be built."""

from typing import get_args

import pytest

from bench.extractors.backbones import TITLES, Backbone, build


def test_every_layout_can_be_chosen():
    assert set(get_args(Backbone)) == set(TITLES)


@pytest.mark.parametrize("name", TITLES)
def test_each_gives_512_numbers(name):
    import torch

    with torch.device("meta"):
        assert build(name).eval()(torch.zeros(2, 3, 112, 112)).shape == (2, 512)
