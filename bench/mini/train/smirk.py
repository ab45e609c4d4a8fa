"""`smirk.pt`: FLAME-like expression, jaw, eyelids and pose in SMIRK's layout; the shape encoder is left out.

The world's first five expression parameters are the first five of the 50 components, the others are 0. `jaw_open` is
the first jaw angle, in radians; the eyelids are the left and the right one of the person, as in FLAME. The input is the
aligned face: the global rotation is the head's rotation in the aligned crop, where the in-plane turn that the alignment
takes away is gone; an axis-angle vector in the world's axes (x to the viewer's right, y up, z to the viewer). The
camera is not a truth that this world has: its three outputs are taught to be 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.mini import world
from bench.mini.train import crops, export
from bench.mini.train.data import EVAL, TRAIN, Faces, faces
from bench.mini.train.loop import Course, Plan, fit, say

SIZE = 112
"""Pixels of the pictures that it reads (`size` of the extractor); steps at the official 224 take four times as long."""
BATCH = 128
COURSE = Course(steps=7200, rate=2e-3, half=False, average=0.998)
FLAME, JAW, LID = (
    [world.EXPRESSION.index(name) for name in names]
    for names in (world.FLAME_EXPRESSION, world.JAW, world.EYELIDS[::-1])
)
SHOWN = [0, 1, 2, 3, 4, 50, 51, 52]
"""The outputs that vary: five of expression, two eyelids, the jaw."""
MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
]  # fmt: skip
"""Which of the 68 landmarks each one is in the mirrored picture."""


class Encoder(nn.Module):
    """A timm backbone whose last feature map is averaged; the linear layer lies beside it under SMIRK's name."""

    def __init__(self, backbone: str, layers: str, outputs: int) -> None:
        import timm

        super().__init__()
        self.encoder = timm.create_model(backbone, pretrained=False, features_only=True)
        width = self.encoder.feature_info[-1]["num_chs"]
        self.layers = layers
        setattr(self, layers, nn.Sequential(nn.Linear(width, outputs)))

    def features(self, x: Tensor) -> Tensor:
        """(n, 3, s, s) RGB in 0..1 to (n, channels of the last map)."""
        return self.encoder(x)[-1].mean((2, 3))

    def answer(self, features: Tensor) -> Tensor:
        """(n, channels) to (n, outputs)."""
        return getattr(self, self.layers)(features)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, s, s) RGB in 0..1 to (n, outputs)."""
        return self.answer(self.features(x))


class Smirk(nn.Module):
    """The two encoders under the official names."""

    def __init__(self) -> None:
        super().__init__()
        self.pose_encoder = Encoder("tf_mobilenetv3_small_minimal_100", "pose_cam_layers", 6)
        self.expression_encoder = Encoder("tf_mobilenetv3_large_minimal_100", "expression_layers", 55)

    def both(self) -> tuple[Encoder, Encoder]:
        """The encoder of the expression and that of the pose."""
        return self.expression_encoder, self.pose_encoder

    def forward(self, x: Tensor) -> list[Tensor]:
        """RGB (n, 3, s, s) in 0..1 to (n, 55) = expression 50, eyelids 2, jaw 3 and (n, 6) = rotation 3, camera 3."""
        return [encoder(x) for encoder in self.both()]


class Taught(nn.Module):
    """Both encoders under the prefix of the official file; training asks each also where the landmarks are.

    All that expressions do they do to landmarks, and 136 places teach a network more of a picture than 8 numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.smirk_encoder = Smirk()
        self.landmarks = nn.ModuleList(
            nn.Linear(encoder.encoder.feature_info[-1]["num_chs"], 136) for encoder in self.smirk_encoder.both()
        )

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What `Smirk` gives, and the standardised landmarks (n, 136) as each encoder sees them."""
        features = [encoder.features(x) for encoder in self.smirk_encoder.both()]
        known = [encoder.answer(part) for encoder, part in zip(self.smirk_encoder.both(), features, strict=True)]
        return known, [places(part) for places, part in zip(self.landmarks, features, strict=True)]


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


def _mirror(expression: np.ndarray, pose: np.ndarray, points: np.ndarray) -> None:
    """Makes them the truth of the mirrored picture: sides change, turns about y and z and x of points change signs."""
    expression[:, [50, 51]] = expression[:, [51, 50]]
    pose[:, 1:3] *= -1
    points[:] = points[:, MIRRORED] * [-1, 1]


def refit(module: Smirk, held: Faces, device: str = "cpu", count: int = 12_000, ridge: float = 1e-3) -> None:
    """Fits the last linear layers anew by least squares, on features as the finished network gives them.

    Args:
        module: trained, in eval mode; its linear layers change.
        held: training images, of which every so many are read, without the truth's uncertainty.
        device: where the features are computed.
        count: at most so many.
        ridge: of the features' mean square; keeps rare features from getting large weights.
    """
    index = np.arange(0, len(held), max(len(held) // count, 1))
    moves = flame_moves(held.landmarks[index], SIZE)
    images = crops.warp(held.images[index], moves, SIZE, reflect=True)
    for encoder, known in zip(module.both(), truth(held, index, moves), strict=True):
        with torch.no_grad():
            encoder.to(device)
            parts = [encoder.features(crops.tensor(part, 0, 255, device)).cpu() for part in _some(images)]
            encoder.cpu()
            features = torch.cat([torch.cat(parts), torch.ones(len(index), 1)], 1).double()
            square = features.T @ features
            square.diagonal().add_(ridge * square.diagonal().mean())
            solved = torch.linalg.solve(square, features.T @ torch.from_numpy(known).double()).float()
            linear = getattr(encoder, encoder.layers)[0]
            linear.weight.copy_(solved[:-1].T)
            linear.bias.copy_(solved[-1])


def _some(images: np.ndarray) -> list[np.ndarray]:
    return np.array_split(images, max(len(images) // 64, 1))


@dataclass(frozen=True)
class Lesson:
    """How batches are drawn from the renders, and what their truths are divided by.

    Attributes:
        held: the renders.
        spread: (55,) variance of each expression parameter that varies, 1 of the others.
        middle: (136,) mean of the landmarks in the crop, in -1..1.
        scale: (136,) their deviation.
    """

    held: Faces
    spread: np.ndarray
    middle: np.ndarray
    scale: np.ndarray

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Crops (n, s, s, 3) uint8 by shaken landmarks; expression (n, 55), pose (n, 6), landmarks (n, 136)."""
        index = np.sort(rng.choice(len(self.held), BATCH, replace=False))
        known = self.held.landmarks[index]
        moves = flame_moves(known + rng.normal(0, 0.6, known.shape) + rng.normal(0, 0.6, (BATCH, 1, 2)), SIZE)
        images = crops.warp(self.held.images[index], moves, SIZE, reflect=True)
        expression, pose = truth(self.held, index, moves)
        points = _inside(known, moves)
        if rng.random() < 0.5:
            images = np.ascontiguousarray(images[:, :, ::-1])
            _mirror(expression, pose, points)
        standard = (points.reshape(BATCH, 136) - self.middle) / self.scale
        return crops.blur(images, rng, 0.35, 0.4), expression, pose, standard.astype(np.float32)


def _inside(points: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Landmarks (n, 68, 2) in the crop, its sides at -1 and 1."""
    return (crops.move_points(points, moves) + 0.5) / (SIZE / 2) - 1


def lesson(held: Faces) -> Lesson:
    """Squared errors count by the variance of each truth.

    Most expressions are 0 most of the time: an absolute error is content with their median.
    """
    index = np.arange(0, len(held), max(len(held) // 4000, 1))
    moves = flame_moves(held.landmarks[index], SIZE)
    expression, points = truth(held, index, moves)[0], _inside(held.landmarks[index], moves).reshape(-1, 136)
    spread = np.ones(55, np.float32)
    spread[SHOWN] = expression[:, SHOWN].var(0)
    return Lesson(held, spread, points.mean(0), points.std(0))


def train(held: Faces, plan: Plan) -> Any:
    """Trains both encoders at once."""
    taught = lesson(held)
    spread = torch.from_numpy(taught.spread).to(plan.device)

    def loss(module: Any, drawn: Sequence[Tensor]) -> Tensor:
        values = crops.relight(crops.tensor(drawn[0], 127.5, 127.5, plan.device)) / 2 + 0.5
        expression, pose, points = (part.to(plan.device) for part in drawn[1:])
        (guess, turn), places = module(values.contiguous(memory_format=torch.channels_last))
        expressed = ((guess - expression).square() / spread).sum(1).mean() / len(SHOWN)
        placed = sum(F.smooth_l1_loss(place, points, beta=0.1) for place in places)
        return expressed + F.smooth_l1_loss(turn, pose, beta=0.1) * 5 + placed

    return fit("smirk", Taught, taught.draw, loss, COURSE, plan)


def measure(path: Path, held: Faces, count: int = 500) -> dict[str, float]:
    """Mean R² of the eight parameters that vary; of the rotation about x and y; and about z, which hardly varies."""
    module = Smirk()
    state = torch.load(path, weights_only=True)
    module.load_state_dict({name.removeprefix("smirk_encoder."): value for name, value in state.items()})
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
    trained = train(faces(TRAIN, plan.work), plan)
    refit(trained.smirk_encoder, faces(TRAIN, plan.work), plan.device)
    state = {name: value for name, value in trained.state_dict().items() if name.startswith("smirk_encoder.")}
    export.torch_file(state, path)
    return measure(path, faces(EVAL, plan.work))
