"""What both recognisers share: the aligned crops, the margin loss, and the verification accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.mini.train import crops, export
from bench.mini.train.data import Faces
from bench.mini.train.loop import Course, Plan, fit

WIDTH = 512
KEPT = 64
"""Directions of the 512 that a finished embedding uses: the people of the world differ in 65 numbers."""


class Recogniser(nn.Module):
    """A network for 512-d embeddings with the two heads that train it: centres of the people, and their parameters."""

    def __init__(self, network: nn.Module, people: int, parameters: int) -> None:
        super().__init__()
        self.network = network
        self.centres = nn.Parameter(torch.randn(people, WIDTH) * 0.01)
        self.parameters_of = nn.Linear(WIDTH, parameters)


def aligned(images: np.ndarray, keypoints: np.ndarray, size: int = 112) -> np.ndarray:
    """Return insightface's crop by five points: (n, size, size, 3) uint8 RGB, black outside."""
    return crops.warp(images, crops.similarity(keypoints, crops.ARCFACE * (size / 112)), size)


def _shaken(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return key points as a detector finds them: each slightly off, and all slightly scaled, turned and moved."""
    n, scale = len(points), np.linalg.norm(points[:, 0] - points[:, 1], axis=1).clip(8)[:, None, None]
    middle = points.mean(1, keepdims=True)
    angle, factor = rng.normal(0, 0.03, (n, 1)), 1 + rng.normal(0, 0.03, (n, 1, 1))
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = points[..., 0] - middle[..., 0], points[..., 1] - middle[..., 1]
    turned = np.stack([cosine * x - sine * y, sine * x + cosine * y], 2) * factor
    noise = rng.normal(0, 0.03, points.shape) + rng.normal(0, 0.03, (n, 1, 2))
    return (middle + turned + scale * noise).astype(np.float32)


def batch(faces: Faces, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return training crops, (n, 112, 112, 3) uint8: shaken, mirrored and blurred at random."""
    cut = aligned(faces.images[index], _shaken(faces.keypoints[index], rng))
    mirrored = rng.random(len(cut)) < 0.5
    cut[mirrored] = cut[mirrored, :, ::-1]
    return crops.blur(cut, rng, 0.35, 0.5)


def margin_loss(features: Tensor, centres: Tensor, person: Tensor, margin: float, scale: float = 32.0) -> Tensor:
    """Return ArcFace's loss (Deng et al. 2019): cross-entropy of scaled cosines, own angle plus `margin` radians."""
    cosine = F.normalize(features.float()) @ F.normalize(centres.float()).T
    own = cosine.gather(1, person[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
    widened = torch.cos(torch.acos(own) + margin)
    return F.cross_entropy(scale * cosine.scatter(1, person[:, None], widened.to(cosine.dtype)), person)


def train(
    name: str, network: Callable[[], nn.Module], faces: Faces, course: Course, plan: Plan, size: int = 96
) -> nn.Module:
    """Train a recogniser with the margin loss, and a regression of the world's identity from the same embedding.

    The regression gives each image a target that all people share; the margin loss alone needs several times as long.
    """
    people = len(faces) // faces.scenes
    truth = _standard(faces.identity[:: faces.scenes])

    def make() -> nn.Module:
        return Recogniser(network(), people, truth.shape[1])

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        index = np.sort(rng.choice(len(faces), size, replace=False))
        person = faces.person(index)
        return batch(faces, index, rng), person, truth[person]

    def loss(module: Any, drawn: Sequence[Tensor]) -> Tensor:
        values = crops.relight(crops.tensor(drawn[0], 127.5, 127.5, plan.device))
        person, target = (part.to(plan.device) for part in drawn[1:])
        features = module.network(values).float()
        guess = module.parameters_of(F.normalize(features) * WIDTH**0.5)
        return margin_loss(features, module.centres, person, 0.3) + F.smooth_l1_loss(guess.float(), target) * 4

    trained = fit(name, make, draw, loss, course, plan)
    assert isinstance(trained, Recogniser)
    return trained.network


def refit(network: Any, held: Faces, device: str = "cpu", count: int = 12_800) -> nn.Sequential:
    """Solve the last layer anew: linear discriminants of the people, over large and small images of each.

    The margin loss leaves in the embedding much that separates images and not people: among people whom no training
    saw, discriminants raise the similarity of two images of one person from 0.54 to 0.78 and the verification
    accuracy from 0.979 to 0.989 (`arcface.onnx`). Small pictures are those that a generator of 64 pixels shows.

    Args:
        network: a trained recogniser in eval mode that ends in a linear layer and its batch norm; both are replaced.
        held: training images.
        device: where the features are computed.
        count: at most so many of them, whole people.
    """
    part = np.arange(min(len(held), count) // held.scenes * held.scenes)
    inner = _inner(network[:-2].to(device), held, part, device)
    network.cpu()
    with torch.no_grad():
        before = network[-2:](inner).numpy()
    weight, bias = discriminants(inner.numpy().astype(np.float64), np.tile(held.person(part), 2), KEPT)
    turn = _towards(inner.numpy() @ weight + bias, before)
    last = nn.Linear(len(weight), WIDTH)
    last.load_state_dict({"weight": torch.from_numpy((weight @ turn).T), "bias": torch.from_numpy(bias @ turn)})
    return nn.Sequential(*network[:-2], last).eval()


def _inner(body: nn.Module, held: Faces, part: np.ndarray, device: str) -> Tensor:
    """Return the input of the last layer: for the rows in `part`, then for the same rows as 64-pixel portraits."""
    small, moves = crops.portraits(held.images, held.landmarks, part, 64)
    sets = [(held.images[part], held.keypoints[part]), (small, crops.move_points(held.keypoints[part], moves))]
    rng = np.random.default_rng(0)
    cut = np.concatenate([aligned(images, _shaken(points, rng)) for images, points in sets])
    with torch.no_grad():
        parts = np.array_split(cut, len(cut) // 64 + 1)
        return torch.cat([body(crops.tensor(some, 127.5, 127.5, device)).cpu() for some in parts])


def discriminants(
    features: np.ndarray, person: np.ndarray, keep: int, ridge: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Return Fisher's discriminants: the directions in which people differ most, measured by how their images differ.

    Args:
        features: (n, d).
        person: (n,) whole numbers from 0.
        keep: number of directions.
        ridge: of the mean variance within a person, added to each direction.

    Returns:
        (d, keep) and (keep,): features @ weight + bias has mean zero and unit variance within a person.
    """
    count = np.bincount(person)
    means = np.zeros((len(count), features.shape[1]))
    np.add.at(means, person, features)
    means /= count[:, None]
    within = (features - means[person]).T @ (features - means[person]) / (len(features) - len(count))
    within[np.diag_indices_from(within)] += ridge * np.trace(within) / len(within)
    spread, axes = np.linalg.eigh(within)
    whiten = axes / np.sqrt(spread) @ axes.T
    weight = whiten @ np.linalg.eigh(whiten @ np.cov(means.T) @ whiten)[1][:, -keep:]
    return weight, -features.mean(0) @ weight


def _towards(codes: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the (keep, 512) turn, with orthonormal rows, that brings codes nearest to the embeddings that were before.

    So a network that learned to read those has little to learn anew.
    """
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (codes, before)]
    left, _, right = np.linalg.svd(unit[0].T @ unit[1], full_matrices=False)
    return left @ right


def _standard(truth: np.ndarray) -> np.ndarray:
    """Return columns of zero mean and unit deviation; a constant column stays zero."""
    deviation = truth.std(0)
    return ((truth - truth.mean(0)) / np.where(deviation > 1e-6, deviation, 1)).astype(np.float32)


def write(network: nn.Module, path: Path) -> None:
    """Export a recogniser as insightface expects it: (N, 3, 112, 112) in, (N, 512) out."""
    axes = {"input.1": {0: "None"}, "embedding": {0: "None"}}
    export.onnx_file(network.float(), torch.zeros(1, 3, 112, 112), path, ["input.1"], ["embedding"], axes)


def embed(path: Path, images: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Return normalised embeddings (n, 512) of faces by an ONNX recogniser."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = []
    for start in range(0, len(images), 64):
        cut = aligned(images[start : start + 64], keypoints[start : start + 64]).astype(np.float32)
        parts.append(session.run(None, {name: ((cut - 127.5) / 127.5).transpose(0, 3, 1, 2)})[0])
    features = np.concatenate(parts)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def verification(features: np.ndarray, person: np.ndarray, pairs: int = 6000, folds: int = 10, seed: int = 0) -> float:
    """Return LFW's protocol: mean accuracy over folds, each at the threshold that is best on the other folds.

    Args:
        features: (n, d), normalised.
        person: (n,) who is in each image.
        pairs: half of the same person, half of two.
        folds: number of folds.
        seed: of the pairs.
    """
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(person), pairs * 40)
    second = rng.integers(0, len(person), pairs * 40)
    same = person[first] == person[second]
    keep = first != second
    own = _own_pairs(person, rng, pairs // 2)
    other = np.flatnonzero(keep & ~same)[: pairs // 2]
    left, right = np.r_[own[:, 0], first[other]], np.r_[own[:, 1], second[other]]
    score, truth = (features[left] * features[right]).sum(1), np.arange(len(left)) < len(own)
    fold = rng.permutation(len(left)) % folds
    return float(np.mean([_accuracy(score, truth, fold == k) for k in range(folds)]))


def _own_pairs(person: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    found: list[tuple[int, int]] = []
    while len(found) < count:
        one = rng.integers(len(person))
        two = rng.choice(np.flatnonzero(person == person[one]))
        if one != two:
            found.append((int(one), int(two)))
    return np.array(found)


def _accuracy(score: np.ndarray, truth: np.ndarray, test: np.ndarray) -> float:
    grid = np.quantile(score, np.linspace(0, 1, 400))
    correct = ((score[~test, None] >= grid) == truth[~test, None]).mean(0)
    return float(((score[test] >= grid[correct.argmax()]) == truth[test]).mean())
