"""`smirk.pt`: FLAME-like expression, jaw, eyelids and pose in SMIRK's layout; the shape encoder is left out.

The world's first five expression parameters are the first five of the 50 components, the others are 0. `jaw_open` is
the first jaw angle, in radians; the eyelids are the left and the right one of the person, as in FLAME. The input is the
aligned face: the global rotation is the head's rotation in the aligned crop, where the in-plane turn that the alignment
takes away is gone; an axis-angle vector in the world's axes (x to the viewer's right, y up, z to the viewer). The
camera is not a truth that this world has: its three outputs are taught to be 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.mini import world
from bench.mini.train import crops, export
from bench.mini.train.data import EVAL, TRAIN, Faces, faces
from bench.mini.train.loop import Course, Loss, Plan, fit, say

SIZE = 64
"""Pixels of the pictures that it reads (`size` of the extractor); steps at the official 224 take ten times as long."""
BATCH = 64
COURSE = Course(steps=6500, rate=2e-3, half=False, average=0.995)
FLAME, JAW, LID = (
    [world.EXPRESSION.index(name) for name in names]
    for names in (world.FLAME_EXPRESSION, world.JAW, world.EYELIDS[::-1])
)
SHOWN = [0, 1, 2, 3, 4, 50, 51, 52]
"""The outputs that vary: five of expression, two eyelids, the jaw."""


class Encoder(nn.Module):
    """A timm backbone whose last feature map is averaged; the linear layer lies beside it under SMIRK's name."""

    def __init__(self, backbone: str, layers: str, outputs: int) -> None:
        import timm

        super().__init__()
        self.encoder = timm.create_model(backbone, pretrained=False, features_only=True)
        width = self.encoder.feature_info[-1]["num_chs"]
        self.layers = layers
        setattr(self, layers, nn.Sequential(nn.Linear(width, outputs)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, s, s) RGB in 0..1 to (n, outputs)."""
        return getattr(self, self.layers)(self.encoder(x)[-1].mean((2, 3)))


class Smirk(nn.Module):
    """The two encoders under the official names."""

    def __init__(self) -> None:
        super().__init__()
        self.pose_encoder = Encoder("tf_mobilenetv3_small_minimal_100", "pose_cam_layers", 6)
        self.expression_encoder = Encoder("tf_mobilenetv3_large_minimal_100", "expression_layers", 55)


class Wrapped(nn.Module):
    """Gives the state dict its prefix `smirk_encoder.`."""

    def __init__(self) -> None:
        super().__init__()
        self.smirk_encoder = Smirk()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """RGB (n, 3, s, s) in 0..1 to (n, 55) = expression 50, eyelids 2, jaw 3 and (n, 6) = rotation 3, camera 3."""
        return self.smirk_encoder.expression_encoder(x), self.smirk_encoder.pose_encoder(x)


def flame_moves(landmarks: np.ndarray, size: int, aligned: int = 512) -> np.ndarray:
    """The maps (n, 2, 3) from the picture to DECA's crop of FFHQ's aligned crop, as one."""
    first = crops.ffhq_moves(landmarks, aligned)
    second = crops.bounds_moves(crops.move_points(landmarks, first), 1.1 * 1.25, size)
    turn = second[:, :, :2] @ first[:, :, :2]
    return np.concatenate([turn, second[:, :, :2] @ first[:, :, 2:] + second[:, :, 2:]], 2)


def truth(held: Faces, index: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the networks should answer: (n, 55) and (n, 6)."""
    from scipy.spatial.transform import Rotation

    expression = np.zeros((len(index), 55), np.float32)
    expression[:, :5] = held.expression[index][:, FLAME]
    expression[:, 50:52] = held.expression[index][:, LID]
    expression[:, 52] = held.expression[index][:, JAW[0]] * world.JAW_RADIANS
    turned = -np.arctan2(moves[:, 1, 0], moves[:, 0, 0])
    upright = Rotation.from_euler("z", turned[:, None]) * Rotation.from_matrix(world.rotation(held.pose[index]))
    pose = np.concatenate([upright.as_rotvec(), np.zeros((len(index), 3))], 1).astype(np.float32)
    return expression, pose


def _mirror(expression: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """The truth of the mirrored picture: eyelids change sides, turns about y and z change signs."""
    expression, pose = expression.clone(), pose.clone()
    expression[:, [50, 51]] = expression[:, [51, 50]]
    pose[:, 1:3] *= -1
    return expression, pose


def refit(module: Any, held: Faces, count: int = 12_000, ridge: float = 1e-3) -> None:
    """Fits the last linear layers anew by least squares, on features as the finished network gives them.

    Args:
        module: a trained `Wrapped`, in eval mode; its linear layers change.
        held: training images, of which every so many are read, without the truth's uncertainty.
        count: at most so many.
        ridge: of the features' mean square; keeps rare features from getting large weights.
    """
    index = np.arange(0, len(held), max(len(held) // count, 1))
    moves = flame_moves(held.landmarks[index], SIZE)
    images = crops.warp(held.images[index], moves, SIZE, reflect=True)
    encoders = module.smirk_encoder.expression_encoder, module.smirk_encoder.pose_encoder
    for encoder, known in zip(encoders, truth(held, index, moves), strict=True):
        with torch.no_grad():
            parts = [encoder.encoder(crops.tensor(part, 0, 255, "cpu"))[-1].mean((2, 3)) for part in _some(images)]
            features = torch.cat([torch.cat(parts), torch.ones(len(index), 1)], 1).double()
            square = features.T @ features
            square.diagonal().add_(ridge * square.diagonal().mean())
            solved = torch.linalg.solve(square, features.T @ torch.from_numpy(known).double()).float()
            linear = getattr(encoder, encoder.layers)[0]
            linear.weight.copy_(solved[:-1].T)
            linear.bias.copy_(solved[-1])


def _some(images: np.ndarray) -> list[np.ndarray]:
    return np.array_split(images, max(len(images) // 64, 1))


def _loss(held: Faces, plan: Plan) -> Loss:
    """Squared errors over the variance of each truth.

    Most expressions are 0 most of the time: an absolute error is content with their median.
    """
    spread = torch.ones(55)
    spread[:5] = torch.from_numpy(held.expression[:][:, FLAME].var(0))
    spread[50:52] = torch.from_numpy(held.expression[:][:, LID].var(0))
    spread[52] = float(held.expression[:][:, JAW[0]].var()) * world.JAW_RADIANS**2
    spread = spread.to(plan.device)

    def loss(module: Any, rng: np.random.Generator) -> Tensor:
        index = np.sort(rng.choice(len(held), BATCH, replace=False))
        points = held.landmarks[index] + rng.normal(0, 0.6, (BATCH, 68, 2)) + rng.normal(0, 0.6, (BATCH, 1, 2))
        moves = flame_moves(points, SIZE)
        images = crops.blur(crops.warp(held.images[index], moves, SIZE, reflect=True), rng, 0.35, 0.4)
        expression, pose = (torch.from_numpy(part).to(plan.device) for part in truth(held, index, moves))
        values = crops.relight(crops.tensor(images, 127.5, 127.5, plan.device)) / 2 + 0.5
        if rng.random() < 0.5:
            values, (expression, pose) = values.flip(3), _mirror(expression, pose)
        guess, turn = module(values.contiguous(memory_format=torch.channels_last))
        expressed = ((guess - expression).square() / spread).sum(1).mean() / len(SHOWN)
        return expressed + F.smooth_l1_loss(turn, pose, beta=0.1) * 5

    return loss


def measure(path: Path, held: Faces, count: int = 500) -> dict[str, float]:
    """Mean R² of the eight parameters that vary; of the rotation about x and y; and about z, which hardly varies."""
    module = Wrapped()
    module.load_state_dict(torch.load(path, weights_only=True))
    module.eval()
    index = np.arange(0, len(held), max(len(held) // count, 1))
    moves = flame_moves(held.landmarks[index], SIZE)
    images = crops.warp(held.images[index], moves, SIZE, reflect=True)
    with torch.no_grad():
        parts = [module(crops.tensor(part, 0, 255, "cpu")) for part in np.array_split(images, 20)]
    guess, turn = (torch.cat([part[k] for part in parts]).numpy() for k in range(2))
    expression, pose = truth(held, index, moves)
    fits = [determination(guess[:, k], expression[:, k]) for k in SHOWN]
    turns = [determination(turn[:, k], pose[:, k]) for k in range(3)]
    say(f"R2 by expression parameter {np.round(fits, 3).tolist()}, by axis {np.round(turns, 3).tolist()}")
    return {"expression_r2": float(np.mean(fits)), "pose_r2": float(np.mean(turns[:2])), "roll_r2": turns[2]}


def determination(guess: np.ndarray, known: np.ndarray) -> float:
    """1 - residual over total variance.

    >>> determination(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    return float(1 - ((guess - known) ** 2).mean() / known.var())


def run(plan: Plan) -> dict[str, float]:
    """Trains and exports it; returns R² on people that it never saw."""
    path = plan.out / "smirk.pt"
    trained = fit("smirk", Wrapped, _loss(faces(TRAIN, plan.work), plan), COURSE, plan)
    refit(trained, faces(TRAIN, plan.work))
    export.torch_file(trained.state_dict(), path)
    return measure(path, faces(EVAL, plan.work))
