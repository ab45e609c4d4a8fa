"""Training: that it learns, that a kill changes nothing, and what it refuses."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from bench.errors import UserError
from bench.facesets.store import FaceSet, Row, close, write_shard
from bench.metrics.functional.cosine import unit
from bench.recognition import training
from bench.recognition.crops import Crops, as_input
from bench.recognition.job import Job, TrainOptions
from bench.recognition.pairs import open_pairs, write_list
from bench.recognition.recipe import Augmentation, Head, Recipe, Schedule, ends_early, parse, rate_at
from bench.recognition.testing import decisions, embed, evaluate, gate, table
from bench.recognition.trained import extractor, untrained
from bench.recognition.training import train
from bench.store import read_json, read_table

HEAD = Head(name="adaface", margin=0.4)
RECIPE = Recipe(
    name="toy", network="mobileface", head=HEAD, batch=8, epochs=3, rate=0.1, augmentation=Augmentation(photometric=0.5)
)


def face(identity, index):
    """A crop whose pattern is its identity's, with noise of its own."""
    pattern = np.random.default_rng(identity).integers(0, 256, (7, 7, 3)).repeat(16, 0).repeat(16, 1)
    noise = np.random.default_rng([identity, index]).normal(0, 25, pattern.shape)
    sink = io.BytesIO()
    Image.fromarray(np.clip(pattern + noise, 0, 255).astype(np.uint8)).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """5 identities of 8 crops, and one of a single crop."""
    folder = tmp_path_factory.mktemp("faces")
    write_shard(
        folder, 0, [Row(i, k, crop=face(i, k)) for i in range(5) for k in range(8)] + [Row(9, 0, crop=face(9, 0))]
    )
    close(folder, 1, {"name": "toy", "method": "arc2face", "card": {"training_sets": ["WebFace42M"]}})
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """40 pairs of new images of the same people."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = []
    for k in range(40):
        people = (k % 5, k % 5 if k % 2 else (k + 1) % 5)
        for side, person in enumerate(people):
            (folder / f"{k}-{side}.png").write_bytes(face(person, 100 + 2 * k + side))
        rows.append((f"{k}-0.png", f"{k}-1.png", bool(k % 2)))
    write_list(folder / "toy.csv", rows)
    return open_pairs(folder / "toy.csv")


def job(folder, faces, recipe=RECIPE, pairs=(), **options):
    return Job(folder, faces, recipe, TrainOptions(**({"log_every": 2} | options)), pairs)


@pytest.fixture(scope="module")
def trained(faces, pairs, tmp_path_factory):
    return train(job(tmp_path_factory.mktemp("trained") / "run", faces, pairs=[pairs], test_every=2))


def test_it_learns(trained):
    log = read_table(trained / "log.parquet")
    assert log["step"].tolist() == [2, 4, 5, 6, 8, 10, 12, 14, 15]
    assert log["loss"].iloc[-1] < 0.6 * log["loss"].iloc[0]
    assert log["toy"].notna().tolist() == [False] * 5 + [True] + [False] * 2 + [True]
    assert (trained / "log.png").stat().st_size > 1000


def test_the_record_says_what_it_is(trained):
    record = read_json(trained / "recogniser.json")
    assert (record["images"], record["identities"], record["dropped_identities"]) == (40, 5, 1)
    assert record["trained_on"] == "toy: 41 images of 6 identities by arc2face (from WebFace42M)"
    assert (record["epochs"], record["epoch_rule"], record["looked_at_test_sets"]) == (3, "last", False)


def test_the_record_says_what_it_took(trained):
    record = read_json(trained / "recogniser.json")
    assert (record["made"], record["threads"], record["device"]["device"]) == (15, 1, "cpu")
    assert record["seconds"] > 0
    assert record["peak_memory"]["process"] > 1e8
    assert record["command"]
    assert record["environment"]


def test_a_numbered_gpu_is_the_one_that_is_taken(monkeypatch):
    import torch

    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for device in ("cpu", "cuda", "cuda:1"):
        training._take(device)
    assert taken == ["cuda:1"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"execution\.device=cuda:1 is one GPU for 2 processes"):
        training._take("cuda:1")


def test_our_extractor_reads_it(trained, pairs):
    reader = extractor(trained)
    assert reader.options.trained_on.startswith("toy: 41 images")
    measured = table([evaluate(reader, pairs, 16)])
    log = read_table(trained / "log.parquet")
    assert measured["accuracy"].iloc[0] == log["toy"].iloc[-1]


def test_batches_change_no_decision(trained, pairs):
    reader = extractor(trained)
    one, other = (unit(embed(reader, pairs.crops(), batch, flip=True)) for batch in (7, 80))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_tables_of_a_test(trained, pairs):
    tested = evaluate(extractor(trained), pairs, 16)
    [line] = table([tested]).to_dict("records")
    assert line["low"] <= line["accuracy"] <= line["high"]
    assert "few impostor pairs for a rate of 0.001" in line["note"]
    rows = decisions([tested])
    assert rows["right"].mean() == pytest.approx(line["accuracy"])
    assert rows["cosine"].between(-1, 1).all()


def test_the_untrained_floor_depends_on_its_seed_alone(pairs, tmp_path):
    folders = [untrained(RECIPE, seed, tmp_path / name) for seed, name in ((0, "a"), (0, "b"), (1, "c"))]
    one, same, other = [(folder / "recogniser.safetensors").read_bytes() for folder in folders]
    assert one == same
    assert one != other
    assert np.isfinite(evaluate(extractor(folders[0]), pairs, 16).distance).all()


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", [5, 7])
def test_killed_and_resumed_it_is_the_same_network(trained, faces, pairs, at, tmp_path, monkeypatch):
    step = training._step

    def stops(job, crops, state, *rest):
        if state.step == at:
            raise Stop
        step(job, crops, state, *rest)

    again = job(tmp_path / "run", faces, pairs=[pairs], test_every=2, save_every=0.0)
    monkeypatch.setattr(training, "_step", stops)
    with pytest.raises(Stop):
        train(again)
    monkeypatch.setattr(training, "_step", step)
    train(again)
    assert (tmp_path / "run/recogniser.safetensors").read_bytes() == (trained / "recogniser.safetensors").read_bytes()
    assert read_table(tmp_path / "run/log.parquet").equals(read_table(trained / "log.parquet"))


def test_loaders_change_nothing(trained, faces, tmp_path):
    train(job(tmp_path / "run", faces, loaders=2))
    assert (tmp_path / "run/recogniser.safetensors").read_bytes() == (trained / "recogniser.safetensors").read_bytes()


def test_a_loss_that_is_no_number_stops(faces, tmp_path):
    wild = RECIPE.model_copy(update={"rate": 1e30})
    with pytest.raises(UserError, match=r"the loss is nan at step \d+ \(epoch 0\); .*stays: lower recipe\.rate"):
        train(job(tmp_path / "run", faces, wild, save_every=0.0))
    assert (tmp_path / "run/resume.pt").exists()
    assert not (tmp_path / "run/recogniser.json").exists()
    with pytest.raises(UserError, match="training has not ended"):
        extractor(tmp_path / "run")


def test_a_network_that_diverged_is_neither_kept_nor_written(faces, tmp_path, monkeypatch):
    step = training._step

    def spoilt(job, crops, state, *rest):
        step(job, crops, state, *rest)
        if state.step == 15:
            next(state.trainee.parameters()).data.fill_(np.nan)

    monkeypatch.setattr(training, "_step", spoilt)
    with pytest.raises(
        UserError, match=r"a weight is not finite at step 15 \(epoch 3\); the last checkpoint, .*resume"
    ):
        train(job(tmp_path / "run", faces))
    assert not (tmp_path / "run/recogniser.json").exists()
    import torch

    assert torch.load(tmp_path / "run/resume.pt", weights_only=True)["step"] == 10


def test_a_checkpoint_of_another_training(trained, faces, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run/recogniser.json").unlink()
    with pytest.raises(UserError, match="checkpoint of another training"):
        train(job(tmp_path / "run", faces, seed=1))
    (tmp_path / "run/resume.pt").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"resume\.pt is damaged"):
        train(job(tmp_path / "run", faces))


def test_too_few_crops(faces, tmp_path):
    with pytest.raises(UserError, match=r"40 crops of 5 identities .* recipe\.batch=64"):
        train(job(tmp_path / "run", faces, RECIPE.model_copy(update={"batch": 64})))


def test_every_crop_is_shown_in_every_epoch(faces):
    crops = Crops(FaceSet(faces), RECIPE, seed=3)
    labels = np.concatenate([crops[step][1] for step in range(crops.steps)])
    assert np.bincount(labels).tolist() == [8] * 5
    halves = [Crops(FaceSet(faces), RECIPE, 3, rank, 2)[4] for rank in range(2)]
    whole = crops[4]
    np.testing.assert_array_equal(whole[0][::2], halves[0][0])
    np.testing.assert_array_equal(whole[0][1::2], halves[1][0])


def test_colours(faces):
    import torch

    red = torch.zeros(1, 112, 112, 3, dtype=torch.uint8)
    red[..., 0] = 255
    assert as_input(red, "bgr", "cpu")[0, :, 0, 0].tolist() == [-1, -1, 1]
    assert as_input(red, "rgb", "cpu")[0, :, 0, 0].tolist() == [1, -1, -1]


def test_gate():
    import pandas as pd

    measured = pd.DataFrame({"set": ["lfw", "mine"], "accuracy": [0.9930, 0.5]})
    found = gate(measured, {"lfw": 0.9942, "cfp_fp": 0.9641})
    assert found["passes"].tolist() == [True, False]
    assert gate(measured, {"lfw": 0.9960})["passes"].tolist() == [False]
    with pytest.raises(UserError, match="published are cfp_fp; tested were lfw, mine"):
        gate(measured, {"cfp_fp": 0.9})


# Recipes


def test_polynomial_with_warm_up():
    recipe = RECIPE.model_copy(update={"epochs": 20, "schedule": Schedule(kind="polynomial", warm_up=4)})
    assert [round(rate_at(recipe, epoch), 4) for epoch in (0, 2, 4, 12, 20)] == [0, 0.05, 0.1, 0.05, 0]


def test_plateau():
    recipe = RECIPE.model_copy(update={"schedule": Schedule(kind="plateau", patience=1, stop_after=3)})
    rising, flat = [0.5, 0.6, 0.7], [0.7, 0.7, 0.7]
    assert rate_at(recipe, 3, rising) == 0.1
    assert rate_at(recipe, 5, rising + flat[:2]) == pytest.approx(0.01)
    assert not ends_early(recipe.schedule, rising + flat[:2])
    assert ends_early(recipe.schedule, rising + flat)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"name": "x", "head": {"name": "adaface", "margin": 0.4}, "epoch": 3},
            "unknown key recipe.epoch; did you mean",
        ),
        ({"name": "x", "head": {"name": "sphereface", "margin": 0.4}}, r"recipe\.head\.name='sphereface'"),
        ({"name": "x", "head": {"name": "adaface", "margin": 0.4}, "batch": 1}, r"recipe\.batch=1"),
        (
            {"name": "x", "head": {"name": "adaface", "margin": 0.4}, "schedule": {"milestones": [3, 1]}},
            "in ascending order",
        ),
    ],
)
def test_bad_recipes(raw, message):
    with pytest.raises(UserError, match=message):
        parse(raw)
