"""Runs of Arc2Face-mini whose samples differ by their conditions.

A run resumed after a kill is the undisturbed one, whatever the shards, the order and the workers; and each of its
samples is what the method makes alone from what the sample's row says, put together here by hand.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baselines.arc2face import Arc2Face
from baselines.protocol import Reference, Request
from bench import resources
from bench.__main__ import main
from bench.cli.run import optional
from bench.conditions.kinds import NOTHING
from bench.conditions.vectors import path as points
from bench.errors import UserError
from bench.images import read_image
from bench.runtime import Runtime
from bench.stages.plan import load
from bench.stages.run import run_stages
from bench.stages.seeds import sample_seed
from bench.stages.tables import feature_table, read_features
from tests.baselines import tiny
from tests.e2e.commands import ROOT, assert_same, composed, environment, run_folder
from tests.e2e.small import bench as here
from tests.e2e.small import make_people

pytestmark = pytest.mark.slow
PROMPTS = {"neutral": "photo of a person", "smile": "photo of a smiling person"}
CASES = {
    "interpolated": ["conditions=interpolation", "conditions.steps=3", "protocol.samples_per_item=1"],
    "three references": ["dataset.references_per_item=3", "protocol.samples_per_item=2"],
    "two prompts": ["protocol.prompts={neutral: photo of a person, smile: photo of a smiling person}"],
    "expressions": ["conditions=table"],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A table of expressions, an adapter that follows them, and people who are rendered once."""
    folder = tmp_path_factory.mktemp("world")
    config = json.loads((resources.PACKAGE / "mini/weights/arc2face/arc2face/config.json").read_text())
    tiny.adapter_of(config, folder / "exp_adapter.bin", 55)
    numbers = np.random.default_rng(0).normal(size=(6, 55)).astype(np.float32)
    np.save(folder / "expressions.npy", numbers)
    rows = [(f"s{k // 2:03d}", k % 2, f"expressions.npy[{k}]") for k in range(6)]
    pd.DataFrame(rows, columns=["item", "index", "expression"]).to_csv(folder / "table.csv", index=False)
    return folder


def overrides(world, case, out):
    more = CASES[case]
    if case == "expressions":
        more = [*more, f"conditions.file={world}/table.csv", f"method.exp_adapter={world}/exp_adapter.bin"]
    few = ["dataset.subjects=3", "dataset.targets=3", "method.steps=2", "method.batch=2", "protocol.samples_per_item=2"]
    return [*few, *more, f"dataset.root={world}/people", f"out={out}"]


def generated(world, case, out, *more):
    return made(*overrides(world, case, out), *more)


def made(*arguments):
    """The folder of a run whose samples are made, in this process."""
    return run_stages(composed(*optional(arguments)), ("generate",)).folder


@pytest.fixture(
    scope="module",
    params=[
        "interpolated",
        *(pytest.param(case, marks=pytest.mark.exhaustive) for case in CASES if case != "interpolated"),
    ],
)
def run(request, world, tmp_path_factory):
    """(case, its undisturbed run)."""
    return request.param, generated(world, request.param, tmp_path_factory.mktemp("calm"))


def killed(world, case, out):
    """Start a run in a process of its own and kill it once it has made an image."""
    arguments = [*overrides(world, case, out), "execution.shard_size=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "generate", *arguments], cwd=ROOT, env=environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not list(out.glob("*/*/samples/*/*.png")):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.exhaustive
def test_killed_and_resumed_in_other_shards_by_several_workers_in_another_order(world, tmp_path):
    calm = generated(world, "two prompts", tmp_path / "calm")
    killed(world, "two prompts", tmp_path / "killed")
    assert not (run_folder(tmp_path / "killed", "arc2face") / "tables" / "samples" / "00002.parquet").exists()
    resumed = generated(world, "two prompts", tmp_path / "killed", "execution.workers=2", "execution.order=reversed")
    assert resumed.name == calm.name
    assert_same(resumed, calm)
    assert load(resumed).shards == 3


def test_shards_that_are_missing_are_made_in_another_order(run, world, tmp_path):
    case, calm = run
    folder = generated(world, case, tmp_path, "execution.shard_size=1")
    rows = pd.read_parquet(folder / "tables" / "samples" / "00001.parquet")
    for name in rows["item"].unique():
        shutil.rmtree(folder / "samples" / name)
    for number in (0, 1):
        (folder / "tables" / "samples" / f"{number:05d}.parquet").unlink()
    assert_same(generated(world, case, tmp_path, "execution.order=reversed"), calm)
    assert load(folder).shards == 3


def embeddings(job):
    images = job.photo_images()
    rows = read_features(feature_table(images, job.spec, "arcface"), images.shards)
    return dict(zip(job.photos["image"], rows, strict=True))


def expected(case, row, known, numbers):
    """The request that a row of the plan asks for, by hand."""
    item, index, prompt = row["item"], row["index"], "neutral"
    rows = known[f"{item}/reference.png"][None]
    seed_index, condition = index, NOTHING
    if case == "interpolated":
        ends = (known[f"{name}/reference.png"].astype(np.float64) for name in (item, row["other_item"]))
        rows, seed_index = points(*ends, [index / 2], "lerp").astype(np.float32), 0
    if case == "three references":
        rows = np.stack([known[f"{item}/{name}.png"] for name in ("reference", "target_1", "target_2")])
    if case == "two prompts":
        prompt, seed_index = list(PROMPTS)[index // 2], index % 2
    if case == "expressions":
        condition = replace(NOTHING, expression=numbers[row["row"]])
    seed = sample_seed(0, "mini", item, seed_index, PROMPTS[prompt])
    return Request(Reference(item, item, embeddings={"arcface": rows}), index, seed, "", condition=condition)


def test_each_sample_is_what_its_row_says_made_alone(run, world):
    case, folder = run
    job = load(folder)
    method = Arc2Face(job.spec.method.options, Runtime())
    known, numbers = embeddings(job), np.load(world / "expressions.npy")
    images = []
    for row in job.samples.to_dict("records"):
        image = read_image(folder / "samples" / row["item"] / f"{row['index']}.png")
        [output] = method.generate([expected(case, row, known, numbers)])
        np.testing.assert_array_equal(image, output.image)
        images.append(image.tobytes())
    assert len(set(images)) == len(images) == {"interpolated": 9, "two prompts": 12}.get(case, 6)


def test_the_default_run_is_within_the_run_of_two_prompts(world, tmp_path):
    two = generated(world, "two prompts", tmp_path)
    plain = [one for one in overrides(world, "two prompts", tmp_path) if "prompts" not in one]
    one = made(*plain)
    assert two.name != one.name
    for picture in (one / "samples").rglob("*.png"):
        assert picture.read_bytes() == (two / picture.relative_to(one)).read_bytes()


def test_a_method_that_does_not_follow_a_condition_stops_before_the_first_sample(world, tmp_path):
    few = ["dataset.subjects=3", "dataset.targets=3", f"dataset.root={world}/people", f"out={tmp_path}"]
    with pytest.raises(UserError, match=r"asks for expression, which method copy does not accept .* accepts: none$"):
        made("method=copy", "conditions=table", f"conditions.file={world}/table.csv", *few)
    assert not list(Path(tmp_path).rglob("run.json"))


def test_a_run_of_three_prompts_resumes_and_is_compared_and_exported(tmp_path, capsys):
    people, out = make_people(tmp_path / "people", 2), tmp_path / "runs"
    three = "protocol.prompts={neutral: photo of a person, smile: a smiling person, hat: a person with a hat}"
    for method in ("copy", "arc2face"):
        steps = ["method.steps=2"] if method == "arc2face" else []
        words = [f"method={method}", *steps, three, f"dataset.root={people}", f"out={out}", "execution.shard_size=1"]
        assert here("run", *words) == 0
    folder = run_folder(out, "arc2face")
    made = pd.read_parquet(folder / "scores" / "samples.parquet")
    (folder / "tables" / "samples" / "00001.parquet").unlink()
    shutil.rmtree(folder / "samples" / made["item"].iloc[-1])
    assert here("run", *words) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "scores" / "samples.parquet"), made)
    scores = pd.read_parquet(folder / "scores" / "scores.parquet")
    similarity = scores[(scores["metric"] == "id_similarity") & (scores["statistic"] == "mean_detected")]
    assert similarity.set_index("member")["n"].to_dict() == {"": 6, "neutral": 2, "smile": 2, "hat": 2}
    capsys.readouterr()
    assert main(["compare", "--out", str(out), "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert {"neutral", "smile", "hat"} <= {row["member"] for row in found["differences"]}
    assert main(["export", str(run_folder(out, "arc2face")), "--to", str(tmp_path / "bundle.zip")]) == 0
    assert main(["leaderboard", str(tmp_path / "bundle.zip"), "--to", str(tmp_path / "board")]) == 0
