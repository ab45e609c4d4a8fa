"""What a plan refuses before anything is generated: extractors whose views cannot be cut."""

from types import SimpleNamespace

import pytest

from bench.errors import UserError
from bench.faces.views import VIEWS, ViewOptions
from bench.stages.plan import _validate_view


def check(view, *, landmarker=None, parser=None, **options):
    evaluator = SimpleNamespace(landmarker=landmarker, parser=parser)
    spec = SimpleNamespace(evaluator=evaluator, protocol=SimpleNamespace(views=ViewOptions(**options)))
    _validate_view(spec, "one", VIEWS[view])


def test_a_masked_view_needs_a_parser():
    with pytest.raises(UserError, match=r"^extractor one reads ffhq512_masked: evaluator.parser must name"):
        check("ffhq512_masked", landmarker="some")
    check("ffhq512_masked", landmarker="some", parser="some")


def test_the_aligned_crop_needs_a_landmark_network_or_five_points():
    with pytest.raises(UserError, match=r"landmark network \(or protocol.views.alignment=facexlib5\)$"):
        check("ffhq512")
    check("ffhq512", alignment="facexlib5")
    check("arcface112")


def test_a_view_that_is_cut_by_landmarks_needs_a_landmark_network_in_any_case():
    with pytest.raises(UserError, match=r"reads smirk224: evaluator.landmarker must name a landmark network$"):
        check("smirk224", alignment="facexlib5")
