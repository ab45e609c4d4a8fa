"""Deliberate breaks of the pipeline: `check` must catch every one of them. The breaks live here and nowhere else."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from bench.cli.check import main as check
from bench.extractors import flame, inception, lpips, recognition
from bench.faces import align, landmarks, parsing, views
from bench.metrics import within_similarity
from bench.metrics.shared import similarity
from bench.report.golden import metric_of
from bench.stages import generate, score
from tests.guard import world

pytestmark = pytest.mark.slow
FEATURES = ("features/", "pairs/")
EVERYTHING = ("faces", "landmarks", *FEATURES)


@dataclass(frozen=True)
class Mutation:
    """A break.

    Attributes:
        where: module or class. name: its function that is replaced. broken: takes the function, gives the broken one.
        moves: a metric whose numbers must no longer hold.
        again: beginnings of the tables that are extracted again under it; none: only the scores are computed again.
        samples: whether the samples, too, are made again.
    """

    where: Any
    name: str
    broken: Callable[[Any], Any]
    moves: str
    again: tuple[str, ...] = ()
    samples: bool = False


def on_input(change):
    """A method whose first argument is changed before it sees it."""
    return lambda whole: lambda self, crops: whole(self, change(crops))


def on_output(change):
    """A function whose answer is changed."""
    return lambda whole: lambda *args, **kwargs: change(whole(*args, **kwargs))


def swapped(crops):
    return np.ascontiguousarray(crops[..., ::-1])


def shifted(keypoints):
    return np.asarray(keypoints) + 4


def four_pixels_off(crop):
    return np.roll(crop, 4, axis=1)


def aligned_four_pixels_off(crop):
    return crop._replace(image=np.roll(crop.image, 4, axis=1))


def parameters_swapped(columns):
    return {**columns, "feature": np.roll(columns["feature"], 6, axis=1)}


def in_another_range(batches):
    return [(batch + 1) / 2 for batch in batches]


def mirrored(points):
    return points * [-1, 1] + [2 * points[..., 0].mean(), 0]


def failures_excused(samples):
    return samples.assign(status=samples["status"].replace("generation_error", "unavailable"))


def raw_image(whole):
    import cv2

    def resized(image, face, options):
        return views.Crop(cv2.resize(image, (512, 512)), matrix=np.eye(2, 3))

    return resized


def one_row_late(columns):
    return [np.roll(rows, 1, axis=0) for rows in columns]


def seed_of_the_item(whole):
    return lambda seed, dataset, item, index, prompt: whole(seed, dataset, item, 0, prompt)


def inverted(whole):
    def mask(crop, labels, background, fill):
        return whole(crop, labels, frozenset(parsing.Label) - background, fill)

    return mask


def each_sample_for_itself(whole):
    def mean_score(name, values, clusters, seed, **others):
        return whole(name, values, np.arange(len(values)), seed, **others)

    return mean_score


def not_normalised(whole):
    def products(a, rows_a, b, rows_b, distance):
        return np.einsum("ij,ij->i", a[rows_a].astype(np.float64), b[rows_b])

    return products


def with_themselves(whole):
    def pairs(item, valid):
        first, second = whole(item, valid)
        rows = np.flatnonzero(valid)
        return np.concatenate([first, rows]), np.concatenate([second, rows])

    return pairs


RECOGNISERS = ("features/mobilefacenet", "features/arcface", "features/judge")
INCEPTION, FLAME, LPIPS = ("features/inception",), ("features/flame",), ("pairs/lpips",)
MUTATIONS = {
    "colours swapped in the recogniser": Mutation(
        recognition.ArcFaceOnnx, "extract", on_input(swapped), "target_similarity", RECOGNISERS
    ),
    "colours swapped in Inception": Mutation(inception.Inception, "extract", on_input(swapped), "fid", INCEPTION),
    "colours swapped in SMIRK": Mutation(flame.Smirk, "extract", on_input(swapped), "expression_diversity", FLAME),
    "recogniser's crop off by 4 pixels": Mutation(
        align, "arcface112", on_output(four_pixels_off), "target_similarity", RECOGNISERS
    ),
    "aligned crop off by 4 pixels": Mutation(align, "ffhq512", on_output(aligned_four_pixels_off), "fid", INCEPTION),
    "one seed for an item": Mutation(
        generate, "sample_seed", seed_of_the_item, "within_similarity", EVERYTHING, samples=True
    ),
    "mask inverted": Mutation(parsing, "mask_background", inverted, "lpips_diversity", LPIPS),
    "expression and pose swapped": Mutation(
        flame.Smirk, "extract", on_output(parameters_swapped), "pose_diversity", FLAME
    ),
    "LPIPS fed with another range": Mutation(
        lpips.Lpips, "_batches", on_output(in_another_range), "lpips_diversity", LPIPS
    ),
    "landmarks mirrored": Mutation(
        landmarks.Insightface68, "landmarks", on_output(mirrored), "fid", ("landmarks", *FLAME, *INCEPTION)
    ),
    "FID on pictures that are not aligned": Mutation(views, "_aligned", raw_image, "fid", INCEPTION),
    "features one sample late": Mutation(score, "feature_columns", on_output(one_row_late), "id_similarity"),
    "failures excused": Mutation(score, "_samples", on_output(failures_excused), "failure_to_acquire"),
    "embeddings not normalised": Mutation(similarity, "alike", not_normalised, "id_similarity"),
    "a sample paired with itself": Mutation(within_similarity, "pairs_within", with_themselves, "within_similarity"),
    "intervals that take samples for subjects": Mutation(
        similarity, "mean_score", each_sample_for_itself, "id_similarity"
    ),
}


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """The folder of a world with a run in it and the golden file of the run."""
    folder = tmp_path_factory.mktemp("mini")
    run = world.run(world.spec_of(folder, folder / "runs"))
    assert check([str(run), "--golden", str(folder / "golden.json"), "--update"]) == 0
    return folder


def again(baseline, out, tables=(), samples=False):
    """The run once more under a mutation, from copies of all that the mutation does not touch."""
    shutil.copytree(baseline / "runs", out / "runs")
    for path in [p for start in tables for p in (out / "runs").glob(f"*/*/tables/{start}*")]:
        shutil.rmtree(path)
    if samples:
        [shutil.rmtree(path.parent) for path in (out / "runs").glob("*/*/run.json")]
    first = 0 if samples else 1 if tables else 2
    return world.run(world.spec_of(baseline, out / "runs"), world.STAGES[first:])


def test_without_a_break_the_check_passes_though_everything_is_made_again(baseline, tmp_path, capsys):
    run = again(baseline, tmp_path, tables=EVERYTHING, samples=True)
    assert check([str(run), "--golden", str(baseline / "golden.json")]) == 0
    assert "numbers hold" in capsys.readouterr().out


SELDOM = {
    "one seed for an item", "expression and pose swapped",
    "colours swapped in Inception", "colours swapped in SMIRK", "landmarks mirrored", "LPIPS fed with another range",
    "FID on pictures that are not aligned", "recogniser's crop off by 4 pixels",
}  # fmt: skip
"""Breaks of a kind that another one shows, or a test of the mutants; `make exhaustive` makes them."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.exhaustive] if name in SELDOM else []) for name in MUTATIONS]
)
def test_a_break_is_caught(baseline, tmp_path, monkeypatch, capsys, name):
    mutation = MUTATIONS[name]
    monkeypatch.setattr(mutation.where, mutation.name, mutation.broken(getattr(mutation.where, mutation.name)))
    run = again(baseline, tmp_path, tables=mutation.again, samples=mutation.samples)
    capsys.readouterr()
    assert check([str(run), "--golden", str(baseline / "golden.json"), "--json"]) == 1
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["changes"] == []
    wrong = {metric_of(row["number"]) for row in outcome["numbers"] if row["verdict"] != "ok"}
    assert mutation.moves in wrong
