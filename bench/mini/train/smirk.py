"""`smirk.pt`: FLAME-like expression, jaw, eyelids and pose in SMIRK's layout; the shape encoder is left out.

The world's first five expression parameters are the first five of the 50 components, the others are 0. `jaw_open` is
the first jaw angle, in radians; the eyelids are the left and the right one of the person, as in FLAME. The input is the
aligned face: the global rotation is the head's rotation in the aligned crop, where the in-plane turn that the alignment
takes away is gone; an axis-angle vector in the world's axes (x to the viewer's right, y up, z to the viewer). The
camera is not a truth that this world has: its three outputs are taught to be 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from bench.mini import world
from bench.mini.train import crops, export, judge
from bench.mini.train.data import EVAL, TRAIN, Cast, Faces, faces
from bench.mini.train.loop import Course, Plan, batches, fit, say

SIZE = 160
"""Pixels of the pictures that it reads in the end."""


@dataclass(frozen=True)
class Stage:
    """A training at one size.

    Attributes:
        name: of its checkpoint.
        size: pixels of its images.
        batch: images of a step.
        every: the pose's encoder sees each so manieth of them: it learns more easily than the expression's.
        soft: share of them that come as if from fewer pixels.
        places: what an error of the landmarks counts.
        course: steps, rates, precision.
    """

    name: str
    size: int
    batch: int
    every: int
    soft: float
    places: float
    course: Course


STAGES = (
    Stage("smirk", 112, 128, 1, 0.4, 1.0, Course(steps=7200, rate=2e-3, half=False, average=0.998)),
    Stage("smirk-fine", SIZE, 64, 4, 0.25, 0.3, Course(steps=11_000, rate=9e-4, half=False, average=0.998)),
)
"""Most is learned on small pictures, which take a good third of the time; larger ones are more precise."""
CASTS = (TRAIN, judge.PEOPLE, Cast("train", 20000, 4, 5))
"""The first stage sees the first of these, the second all: on people that it never saw it is less precise."""
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
    """A timm backbone whose last feature map is averaged; the linear layer lies next to it under SMIRK's name."""

    def __init__(self, backbone: str, layers: str, outputs: int) -> None:
        import timm

        super().__init__()
        self.encoder = timm.create_model(backbone, pretrained=False, features_only=True)
        width = self.encoder.feature_info[-1]["num_chs"]
        self.layers = layers
        setattr(self, layers, nn.Sequential(nn.Linear(width, outputs)))

    def features(self, x: Tensor) -> Tensor:
        """Map (n, 3, s, s) RGB in 0..1 to (n, channels of the last map)."""
        return self.encoder(x)[-1].mean((2, 3))

    def hold_still(self) -> None:
        """End the learning of the first layers, whose large maps take half the time; their normalisations go on."""
        for part in self.encoder.conv_stem, self.encoder.bn1, self.encoder.blocks[0], self.encoder.blocks[1][0]:
            part.requires_grad_(False)

    def answer(self, features: Tensor) -> Tensor:
        """Map (n, channels) to (n, outputs)."""
        return getattr(self, self.layers)(features)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, s, s) RGB in 0..1 to (n, outputs)."""
        return self.answer(self.features(x))


class Smirk(nn.Module):
    """The two encoders under the official names."""

    def __init__(self) -> None:
        super().__init__()
        self.pose_encoder = Encoder("tf_mobilenetv3_small_minimal_100", "pose_cam_layers", 6)
        self.expression_encoder = Encoder("tf_mobilenetv3_large_minimal_100", "expression_layers", 55)

    def both(self) -> tuple[Encoder, Encoder]:
        """Return the encoder of the expression and that of the pose."""
        return self.expression_encoder, self.pose_encoder

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (n, 3, s, s) in 0..1 to (n, 55): 50 expression, 2 eyelids, 3 jaw, and (n, 6): 3 rotation, 3 camera."""
        return [encoder(x) for encoder in self.both()]


class Taught(nn.Module):
    """Both encoders under the prefix of the official file; training asks each also where the landmarks are.

    All that expressions do they do to landmarks, and 136 places teach a network more about an image than 8 numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.smirk_encoder = Smirk()
        self.landmarks = nn.ModuleList(
            nn.Linear(encoder.encoder.feature_info[-1]["num_chs"], 136) for encoder in self.smirk_encoder.both()
        )

    def forward(self, x: Tensor, every: int = 1) -> tuple[list[Tensor], list[Tensor]]:
        """Return what `Smirk` gives, and the standardised landmarks (n, 136) as each encoder sees them.

        The pose's encoder reads one picture in `every`.
        """
        seen = x, x[::every]
        features = [encoder.features(part) for encoder, part in zip(self.smirk_encoder.both(), seen, strict=True)]
        known = [encoder.answer(part) for encoder, part in zip(self.smirk_encoder.both(), features, strict=True)]
        return known, [places(part) for places, part in zip(self.landmarks, features, strict=True)]


def flame_moves(landmarks: np.ndarray, size: int, aligned: int = 512) -> np.ndarray:
    """Return the maps (n, 2, 3) from the image to DECA's crop of FFHQ's aligned crop, as one."""
    first = crops.ffhq_moves(landmarks, aligned)
    second = crops.bounds_moves(crops.move_points(landmarks, first), 1.1 * 1.25, size)
    turn = second[:, :, :2] @ first[:, :, :2]
    return np.concatenate([turn, second[:, :, :2] @ first[:, :, 2:] + second[:, :, 2:]], 2)


def truth(held: Faces, index: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the networks should answer: (n, 55) and (n, 6)."""
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
    """Make them the truth of the mirrored image: sides change, turns about y and z and x of points change signs."""
    expression[:, [50, 51]] = expression[:, [51, 50]]
    pose[:, 1:3] *= -1
    points[:] = points[:, MIRRORED] * [-1, 1]


def cut(held: Faces, index: np.ndarray, size: int, shaken: np.ndarray | float = 0.0) -> tuple[np.ndarray, ...]:
    """Return the crops that the extractor makes of these renders, and their truth.

    Args:
        held: the renders.
        index: (n,) which of them.
        size: pixels of the crops; bilinear, edges mirrored.
        shaken: added to the landmarks (n, 68, 2) that place the crop, in pixels.

    Returns:
        (n, size, size, 3) uint8 RGB; expression (n, 55); pose (n, 6); the true landmarks (n, 68, 2) in the crop, whose
        sides are at -1 and 1.
    """
    known = held.landmarks[index]
    moves = flame_moves(known + shaken, size)
    images = crops.warp(held.images[index], moves, size, reflect=True)
    return images, *truth(held, index, moves), _inside(known, moves, size)


@dataclass(frozen=True)
class Lesson:
    """How batches are drawn from the renders, and what their truths are divided by.

    Attributes:
        sources: the renders; a batch is of one of these, as often as their numbers say.
        stage: sets the size, the number and the softness of the crops.
        spread: (55,) variance of each expression parameter that varies, 1 of the others.
        middle: (136,) mean of the landmarks in the crop, in -1..1.
        scale: (136,) their deviation.
    """

    sources: tuple[Faces, ...]
    stage: Stage
    spread: np.ndarray
    middle: np.ndarray
    scale: np.ndarray

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return crops (n, s, s, 3) uint8 by shaken landmarks; expression (n, 55), pose (n, 6), landmarks (n, 136)."""
        held = self.sources[rng.choice(len(self.sources), p=[len(source) / len(self) for source in self.sources])]
        index = np.sort(rng.choice(len(held), self.stage.batch, replace=False))
        shaken = rng.normal(0, 0.6, (self.stage.batch, 68, 2)) + rng.normal(0, 0.6, (self.stage.batch, 1, 2))
        images, expression, pose, points = cut(held, index, self.stage.size, shaken)
        if rng.random() < 0.5:
            images = np.ascontiguousarray(images[:, :, ::-1])
            _mirror(expression, pose, points)
        return crops.blur(images, rng, 0.35, self.stage.soft), expression, pose, self.standard(points)

    def parts(self, step: int) -> Iterator[tuple[Faces, np.ndarray]]:
        """Yield each `step`th of all renders, in parts of at most 64: whose they are, and which (n,)."""
        for source in self.sources:
            index = np.arange(0, len(source), step)
            yield from ((source, index[k : k + 64]) for k in range(0, len(index), 64))

    def standard(self, points: np.ndarray) -> np.ndarray:
        """Return landmarks (n, 68, 2) in the crop to (n, 136) of mean 0 and deviation 1."""
        return ((points.reshape(-1, 136) - self.middle) / self.scale).astype(np.float32)


def _inside(points: np.ndarray, moves: np.ndarray, size: int) -> np.ndarray:
    """Return landmarks (n, 68, 2) in the crop, its sides at -1 and 1."""
    return (crops.move_points(points, moves) + 0.5) / (size / 2) - 1


def lesson(sources: Sequence[Faces], stage: Stage) -> Lesson:
    """Return the loss: squared errors over the variance of each truth, which the first source gives.

    Most expressions are 0 most of the time: an absolute error is content with their median.
    """
    held = sources[0]
    index = np.arange(0, len(held), max(len(held) // 4000, 1))
    moves = flame_moves(held.landmarks[index], stage.size)
    expression = truth(held, index, moves)[0]
    points = _inside(held.landmarks[index], moves, stage.size).reshape(-1, 136)
    spread = np.ones(55, np.float32)
    spread[SHOWN] = expression[:, SHOWN].var(0)
    return Lesson(tuple(sources), stage, spread, points.mean(0), points.std(0))


def settle(module: Taught, taught: Lesson, plan: Plan, steps: int = 40) -> None:
    """Make the means and variances of the normalisations those of the lesson's images."""
    drawn = islice(batches(taught.draw, plan, 0), steps)
    update_bn((crops.tensor(images, 0, 255, plan.device) for images, *_ in drawn), module.to(plan.device))


def refit(module: Taught, taught: Lesson, device: str, count: int = 72_000, ridge: float = 1e-3) -> None:
    """Fit the last linear layers anew by least squares, on features as the network gives them; it ends in eval mode.

    Args:
        module: trained; its linear layers change.
        taught: the training images, of which every so many are read, not shaken, blurred or lit anew.
        device: where the features are computed.
        count: about so many: fewer than 70 for each number that is fitted would cost precision on unseen people.
        ridge: of the features' mean square; keeps rare features from getting large weights.
    """
    module.to(device).eval()
    parts = taught.parts(-(-len(taught) // count))
    seen = zip(*(_seen(module, taught, source, rows, device) for source, rows in parts), strict=True)
    for encoder, places, pairs in zip(module.smirk_encoder.both(), module.landmarks, seen, strict=True):
        features, known = (torch.cat(part).double() for part in zip(*pairs, strict=True))
        square = features.T @ features
        square.diagonal().add_(ridge * square.diagonal().mean())
        solved = torch.linalg.solve(square, features.T @ known).float()
        answer = getattr(encoder, encoder.layers)[0]
        _put(answer, solved[:, : answer.out_features])
        _put(places, solved[:, answer.out_features :])
    module.cpu()


@torch.no_grad()
def _seen(module: Taught, taught: Lesson, held: Faces, rows: np.ndarray, device: str) -> list[tuple[Tensor, Tensor]]:
    """Return each encoder's features followed by a 1, and its truth followed by the landmarks."""
    images, *known, points = cut(held, rows, taught.stage.size)
    values, places, ones = crops.tensor(images, 0, 255, device), taught.standard(points), torch.ones(len(rows), 1)
    return [
        (torch.cat([encoder.features(values).cpu(), ones], 1), torch.from_numpy(np.concatenate([answers, places], 1)))
        for encoder, answers in zip(module.smirk_encoder.both(), known, strict=True)
    ]


@torch.no_grad()
def _put(linear: Any, solved: Tensor) -> None:
    linear.weight.copy_(solved[:-1].T)
    linear.bias.copy_(solved[-1])


def train(sources: Sequence[Faces], plan: Plan) -> Taught:
    """Train both encoders at once, on small images of the first source, then on larger ones of all."""
    small, large = lesson(sources[:1], STAGES[0]), lesson(sources, STAGES[1])
    module = _fit(Taught, small, plan)
    settle(module, large, plan)
    refit(module, large, plan.device, count=12_000)
    module.smirk_encoder.expression_encoder.hold_still()
    module = _fit(lambda: deepcopy(module), large, plan)
    refit(module, large, plan.device)
    return module


def _fit(make: Callable[[], Taught], taught: Lesson, plan: Plan) -> Any:
    spread, every = torch.from_numpy(taught.spread).to(plan.device), taught.stage.every

    def loss(module: Any, drawn: Sequence[Tensor]) -> Tensor:
        values = crops.relight(crops.tensor(drawn[0], 127.5, 127.5, plan.device)) / 2 + 0.5
        expression, pose, points = (part.to(plan.device) for part in drawn[1:])
        (guess, turn), places = module(values.contiguous(memory_format=torch.channels_last), every)
        expressed = ((guess - expression).square() / spread).sum(1).mean() / len(SHOWN)
        turned = F.smooth_l1_loss(turn, pose[::every], beta=0.1) * 5
        seen = zip(places, (points, points[::every]), strict=True)
        placed = sum(F.smooth_l1_loss(place, known, beta=0.1) for place, known in seen)
        return expressed + turned + taught.stage.places * placed

    return fit(taught.stage.name, make, taught.draw, loss, taught.stage.course, plan)


def measure(path: Path, held: Faces, count: int = 2_000) -> dict[str, float]:
    """Return the mean R² of the eight parameters that vary, and of the rotation about x and y, and about z."""
    module = Smirk()
    state = torch.load(path, weights_only=True)
    module.load_state_dict({name.removeprefix("smirk_encoder."): value for name, value in state.items()})
    module.eval()
    index = np.arange(0, len(held), max(len(held) // count, 1))
    images, expression, pose, _ = cut(held, index, SIZE)
    with torch.no_grad():
        parts = [module(crops.tensor(part, 0, 255, "cpu")) for part in np.array_split(images, 20)]
    guess, turn = (torch.cat([part[k] for part in parts]).numpy() for k in range(2))
    fits = [determination(guess[:, k], expression[:, k]) for k in SHOWN]
    turns = [determination(turn[:, k], pose[:, k]) for k in range(3)]
    say(f"R2 by expression parameter {np.round(fits, 3).tolist()}, by axis {np.round(turns, 3).tolist()}")
    return {"expression_r2": float(np.mean(fits)), "pose_r2": float(np.mean(turns[:2])), "roll_r2": turns[2]}


def determination(guess: np.ndarray, known: np.ndarray) -> float:
    """Return 1 - residual over total variance.

    >>> determination(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    return float(1 - ((guess - known) ** 2).mean() / known.var())


def run(plan: Plan) -> dict[str, float]:
    """Train and export it; return R² on people that it never saw."""
    path = plan.out / "smirk.pt"
    trained = train([faces(cast, plan.work) for cast in CASTS], plan)
    state = {name: value for name, value in trained.state_dict().items() if name.startswith("smirk_encoder.")}
    export.torch_file(state, path)
    return measure(path, faces(EVAL, plan.work))
