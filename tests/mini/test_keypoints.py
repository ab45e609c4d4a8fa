"""The second stage of the detector's recipe: a head on windows says what it says in its place in the detector."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from bench.mini.train import keypoints
from bench.mini.train.canvases import STRIDES, enlarged, grid
from bench.mini.train.data import Cast, draw
from bench.mini.train.detector import Detector
from bench.mini.train.keypoints import COURSE
from bench.mini.train.loop import Plan, fit


@pytest.fixture(scope="module")
def held():
    return draw(Cast("train", 4, 2, 7))


@pytest.fixture(scope="module")
def detector():
    """Untrained, with normalisations that do something, and sure of a face everywhere."""
    torch.manual_seed(0)
    made = Detector().eval()
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.5, 2.0)
    torch.nn.init.constant_(made.score.bias, 3.0)
    return made


@pytest.fixture
def plan(tmp_path):
    return Plan(tmp_path, tmp_path, steps=30)


def test_a_window_holds_what_the_row_sees(detector):
    torch.manual_seed(1)
    values = torch.randn(2, 3, 192, 192)
    boxes, points = np.float32([[4, 4, 60, 70], [60, 50, 150, 160]]), np.float32(np.full((2, 5, 2), 80.0))
    with torch.no_grad():
        cut = keypoints._around(detector, values, boxes, points)
        head = keypoints.Head(detector).eval()
        said = head(*(torch.from_numpy(np.asarray(part)) for part in (cut.maps.astype(np.float32), *cut[2:4])))
        rows = torch.cat(detector(values)[6:], 1).reshape(2, -1, 5, 2)
    assert len(cut.maps) == 2 * keypoints.ROWS
    pixels, strides, _ = grid(192)
    for k, one in enumerate(said.numpy()):
        stride = STRIDES[cut.level[k]]
        cell = np.isclose(pixels, 80 - cut.points[k, 0] * stride).all(1) & (strides == stride)
        row = np.flatnonzero(cell)[cut.anchor[k]]
        assert np.abs(rows[k // keypoints.ROWS, row].numpy() - one).max() < 2e-2  # maps are kept as float16


def test_rows_are_the_best_near_the_middle():
    pixels, strides, _ = grid(192)
    box = np.float32([[60, 60, 130, 130]])
    scores = np.zeros((1, len(pixels)), np.float32)
    inside = int(np.flatnonzero((pixels == [96, 96]).all(1) & (strides == 16))[1])
    outside = int(np.flatnonzero((pixels == [0, 0]).all(1))[0])
    scores[0, [inside, outside]] = 0.8, 0.9
    best, sure = keypoints._best(scores, box, 192)
    assert best[0, 0] == inside
    assert sure.tolist() == [[True, False]]


def test_an_enlarged_render_moves_its_points_by_the_factor_alone(held):
    for seed in range(20):
        canvas = enlarged(held, 256, np.random.default_rng(seed))
        assert canvas.image.shape == (256, 256, 3)
        (box,), (points,) = canvas.boxes, canvas.points
        assert ((points >= box[:2] - 3) & (points <= box[2:] + 3)).all()
    plain = [enlarged(held, 256, np.random.default_rng(seed)) for seed in range(40)]
    exact = [c for c in plain if any(np.allclose(c.points[0], 2 * known, atol=1e-4) for known in held.keypoints)]
    assert len(exact) >= 4


def test_the_stage_learns_and_leaves_scores_and_boxes_alone(detector, held, plan, monkeypatch):
    monkeypatch.setattr(keypoints, "TURNS", 6)
    monkeypatch.setattr(keypoints, "BATCH", 64)
    cut = keypoints.windows(detector, held, plan)
    assert set(np.asarray(cut.level)) <= set(range(len(STRIDES)))
    head = fit("keypoints", lambda: keypoints.Head(detector), keypoints._draw(cut), keypoints._loss(plan), COURSE, plan)
    drawn = [torch.from_numpy(np.asarray(part)) for part in cut]
    with torch.no_grad():
        error = [float(keypoints._loss(plan)(one, drawn)) for one in (keypoints.Head(detector), head)]
    assert error[1] < 0.9 * error[0]

    made = keypoints.installed(deepcopy(detector), head)
    with torch.no_grad():
        values = torch.randn(1, 3, 128, 128)
        old, new = detector(values), made(values)
    assert [torch.equal(a, b) for a, b in zip(old, new, strict=True)] == [True] * 6 + [False] * 3
