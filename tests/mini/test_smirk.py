"""The recipe of the SMIRK network, at a size and a length that a test can afford."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from bench import resources
from bench.mini.train import crops, smirk
from bench.mini.train.data import Cast, draw
from bench.mini.train.loop import Plan

ENCODER = "smirk_encoder.expression_encoder.encoder."


@pytest.fixture(scope="module")
def held():
    return draw(Cast("train", 8, 4, 5))


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(smirk, "STAGES", tuple(replace(stage, size=32, batch=8) for stage in smirk.STAGES))


@pytest.mark.usefixtures("_small")
def test_the_second_stage_goes_on_from_the_first_and_its_first_layers_stand_still(held, tmp_path):
    trained = smirk.train([held], Plan(tmp_path, tmp_path, steps=2)).state_dict()
    first = torch.load(tmp_path / "smirk.pt", weights_only=True)["mean"]
    for layer in ("conv_stem", "blocks.0.0.conv_dw", "blocks.1.0.conv_pwl"):
        assert torch.equal(first[f"{ENCODER}{layer}.weight"], trained[f"{ENCODER}{layer}.weight"])
    moved = (first[f"{ENCODER}blocks.1.1.conv_dw.weight"] - trained[f"{ENCODER}blocks.1.1.conv_dw.weight"]).abs().max()
    assert 0 < moved < 0.05


@pytest.mark.usefixtures("_small")
def test_refit_answers_the_truth_where_there_are_more_features_than_pictures(held):
    torch.manual_seed(0)
    more = draw(Cast("train", 4, 4, 6))
    module, taught = smirk.Taught(), smirk.lesson([held, more], smirk.STAGES[1])
    smirk.settle(module, taught, Plan(Path(), Path()), steps=2)
    smirk.refit(module, taught, "cpu", ridge=1e-9)
    for source in held, more:
        images, expression, pose, points = smirk.cut(source, np.arange(len(source)), 32)
        with torch.no_grad():
            (guess, turn), places = module(crops.tensor(images, 0, 255, "cpu"))
        np.testing.assert_allclose(guess.numpy(), expression, atol=0.02)
        np.testing.assert_allclose(turn.numpy(), pose, atol=0.02)
        np.testing.assert_allclose(places[0].numpy(), taught.standard(points), atol=0.05)


def test_the_pose_s_encoder_reads_one_picture_in_so_many():
    module, images = smirk.Taught().eval(), torch.rand(8, 3, 32, 32)
    with torch.no_grad():
        (expression, pose), _ = module(images, 4)
        whole = module(images)[0][1]
    assert expression.shape == (8, 55)
    torch.testing.assert_close(pose, whole[::4], atol=1e-5, rtol=0)


def test_the_evaluator_reads_the_pictures_at_the_size_that_was_taught():
    conf = OmegaConf.load(resources.folder("conf") / "evaluator" / "mini.yaml")
    assert conf.extractors.flame.size == smirk.SIZE == smirk.STAGES[-1].size


def test_each_batch_comes_from_one_source_and_every_source_is_drawn_from(held):
    marked = replace(held, expression=np.full_like(held.expression, 2))
    taught = smirk.lesson([held, marked], replace(smirk.STAGES[1], size=32, batch=4))
    smiles = [taught.draw(np.random.default_rng(seed))[1][:, 0] for seed in range(12)]
    assert all(len(set(batch == 2)) == 1 for batch in smiles)
    assert {bool(batch[0] == 2) for batch in smiles} == {False, True}
