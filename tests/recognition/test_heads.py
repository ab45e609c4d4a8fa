"""Margin heads: what a margin does, and what it must not do."""

import math

import pytest
import torch

from bench.recognition.heads import AdaFaceHead, ArcFaceHead, CosFaceHead


def own(head, degrees):
    """Logit of the own class of an embedding at an angle from its centre, over the scale."""
    head.kernel.data = torch.eye(2)
    angle = math.radians(degrees)
    direction = torch.tensor([[math.cos(angle), math.sin(angle)]])
    return float(head(direction, torch.tensor([20.0]), torch.tensor([0])).detach()[0, 0]) / head.scale


def test_arcface_widens_the_angle():
    assert own(ArcFaceHead(2, 2, margin=0.5), 40) == pytest.approx(math.cos(math.radians(40) + 0.5), abs=1e-6)


def test_arcface_goes_on_falling_beyond_its_range():
    values = [own(ArcFaceHead(2, 2, margin=0.5), degrees) for degrees in range(100, 180, 5)]
    assert values == sorted(values, reverse=True)


def test_cosface_lowers_the_cosine():
    assert own(CosFaceHead(2, 2, margin=0.35), 40) == pytest.approx(math.cos(math.radians(40)) - 0.35, abs=1e-6)


def test_adaface_at_the_mean_length_is_cosface():
    assert own(AdaFaceHead(2, 2, margin=0.4).eval(), 40) == pytest.approx(math.cos(math.radians(40)) - 0.4, abs=1e-6)


def test_statistics_stand_still_outside_of_training():
    head = AdaFaceHead(2, 2).eval()
    head(torch.eye(2), torch.tensor([90.0, 1.0]), torch.tensor([0, 1]))
    assert (head.mean.item(), head.deviation.item()) == (20.0, 100.0)


@pytest.mark.parametrize("kind", [AdaFaceHead, ArcFaceHead, CosFaceHead])
def test_centres_begin_as_unit_vectors_and_stay_float32(kind):
    head = kind(8, 5)
    torch.testing.assert_close(head.kernel.norm(dim=0), torch.ones(5))
    logits = head(torch.eye(8)[:4].half(), torch.ones(4), torch.arange(4))
    assert logits.dtype == torch.float32
