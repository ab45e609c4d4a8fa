"""When a base's text encoders are in memory."""

import weakref

import pytest
import torch

from baselines import diffusion, text_to_image
from baselines.ip_adapter_faceid import FaceIDOptions, ddim
from bench.runtime import Runtime
from tests.baselines import tiny

PROMPT, NEGATIVE, OTHER = "photo of a person", "blurry", "id"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.base(tmp_path_factory.mktemp("weights") / "sd15")


def make(folder, prompts, **more):
    options = FaceIDOptions(version="faceid", base=folder, checkpoint=folder / "unread")
    return text_to_image.Base(options, Runtime(prompts=prompts), ddim, "ip_adapter_faceid", **more)


def tokens(base, text):
    with diffusion.running("auto"):
        return base.text(text).tokens


def test_encoders_are_gone_before_the_unet_comes(folder, monkeypatch):
    alive, load = [], text_to_image.Base._load_encoders

    def watched(base):
        found = load(base)
        alive.extend(weakref.ref(encoder) for _, encoder in found)
        return found

    def unet(path, dtype):
        assert alive
        assert all(encoder() is None for encoder in alive)
        return text_to_image.load_unet(path, dtype)

    monkeypatch.setattr(text_to_image.Base, "_load_encoders", watched)
    base = make(folder, (PROMPT,), negative=NEGATIVE, unet=unet)
    tokens(base, PROMPT), tokens(base, NEGATIVE)
    assert len(alive) == 1


def test_texts_are_the_same_whenever_they_are_encoded(folder):
    early, late = make(folder, (PROMPT,), negative=NEGATIVE), make(folder, (), negative=NEGATIVE)
    assert not early.encoders
    assert late.encoders
    for text in (PROMPT, NEGATIVE, OTHER):  # The last was not announced: the encoders come again.
        assert torch.equal(tokens(early, text), tokens(late, text))


def test_encoders_stay_for_methods_that_read_other_texts(folder):
    assert make(folder, (PROMPT,)).encoders
