"""Damage to any file of a run is found before it is measured: it is made again, or the run stops with one line."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.errors import UserError
from bench.spec import from_mapping
from bench.stages import integrity
from bench.stages.networks import Networks
from bench.stages.plan import load, plan
from bench.stages.run import extract_photos, photo_embeddings, run_stages
from bench.stages.score import assemble
from bench.stages.seeds import sample_seed
from bench.stages.tasks import photos
from bench.store import checksum_file, read_json, write_record
from tests.e2e.commands import assert_same
from tests.guard import world

STAGES = ("generate", "extract", "score")


def spec_in(folder, **execution):
    world.spec_of(folder, folder / "runs")
    plain = world.composed(folder, folder / "runs")
    plain["dataset"]["subjects"] = 3
    plain["protocol"] |= {"samples_per_item": 1, "seed": 3}
    plain["method"] = {"name": "wobble", "card": {"relations": {"*": "none"}}}
    plain["evaluator"] |= {"landmarker": None, "parser": None, "extractors": {}}
    plain["execution"] |= {"shard_size": 2, **execution}
    return from_mapping(plain)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of three people in two shards, and its folder."""
    folder = tmp_path_factory.mktemp("made")
    return folder, Path(run_stages(spec_in(folder), STAGES).folder)


@pytest.fixture
def copied(made, tmp_path):
    """A copy of the run, with its people: the folder that stands for `made`, and the run in it."""
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    return tmp_path, tmp_path / made[1].relative_to(made[0])


def test_a_run_is_made_and_measured_by_its_own_seed(made):
    job = load(made[1])
    [first, *_] = pd.read_parquet(made[1] / "scores" / "samples.parquet").to_dict("records")
    protocol = job.spec.protocol
    assert first["seed"] == sample_seed(3, job.spec.dataset.label, first["item"], first["index"], protocol.prompt)
    assert assemble(job).seed == 3


def flip(path, rng):
    data = bytearray(path.read_bytes())
    at = int(rng.integers(len(data) * 8))
    data[at // 8] ^= 1 << (at % 8)
    path.write_bytes(data)


def test_damage_to_every_table_and_every_sample_is_found_and_made_again(made, copied, capsys):
    folder, run = copied
    tables = [path for path in (folder / "runs").rglob("*.parquet") if "tables" in path.parts]
    samples = sorted(run.glob("samples/*/*.png"))
    rng = np.random.default_rng(19)
    assert len(tables) >= 10
    for path in tables:
        flip(path, rng)
    flip(samples[0], rng)
    run_stages(spec_in(folder), STAGES)
    told = capsys.readouterr().err
    for path in tables:
        assert f"cannot read {path}: it is not what was written there; it was dropped" in told
    assert_same(made[1], run)
    flip(samples[-1], rng)
    samples[0].unlink()
    run_stages(spec_in(folder), STAGES)
    told = capsys.readouterr().err
    assert f"{samples[0]} is not the image that was made" in told
    assert f"{samples[-1]} is not the image that was made" in told
    assert_same(made[1], run)


def test_an_image_swapped_for_another_is_not_measured(made, copied):
    folder, run = copied
    first, *_, last = sorted(run.glob("samples/*/*.png"))
    shutil.copy(first, last)
    with pytest.raises(UserError, match=r"lacks 1 of 2 shards; run the stage that makes it again"):
        run_stages(spec_in(folder), ("extract",))
    run_stages(spec_in(folder), STAGES)
    assert_same(made[1], run)


def test_tables_that_were_copied_without_samples_are_not_called_undecodable(copied):
    folder, run = copied
    shutil.rmtree(run / "samples")
    with pytest.raises(UserError, match=r"lacks 2 of 2 shards"):
        run_stages(spec_in(folder), ("extract",))


def test_scores_need_no_samples(copied):
    folder, run = copied
    shutil.rmtree(run / "samples")
    run_stages(spec_in(folder), ("score",))


def test_a_photo_that_changes_after_planning_is_not_measured_under_its_old_fingerprint(made, tmp_path):
    shutil.copytree(made[0] / "people", tmp_path / "people")
    job, _ = plan(spec_in(tmp_path), photo_embeddings)
    first, *_, last = job.photos["path"]
    shutil.copy(first, last)
    with pytest.raises(UserError, match=r"is not the image that it was when the run was planned; run the same"):
        extract_photos(job, photos(job, Networks(job.spec)))
    assert not list(job.photos_folder.rglob("*.parquet"))


@pytest.mark.parametrize("size", [1, 3])
def test_samples_do_not_vanish_where_shard_sizes_disagree(copied, size):
    folder, run = copied
    write_record(run / "run.json", {**read_json(run / "run.json"), "shard_size": size})
    with pytest.raises(UserError, match=r"holds other rows than the plan .*execution\.on_existing=always"):
        run_stages(spec_in(folder), STAGES)


def test_a_folder_without_its_record_is_refused_with_the_command_that_fixes_it(copied):
    folder, run = copied
    (run / "run.json").unlink()
    with pytest.raises(UserError, match=r"holds tables and no run\.json.*execution\.on_existing=always"):
        run_stages(spec_in(folder), STAGES)
    run_stages(spec_in(folder, on_existing="always", shard_size=1), ("generate",))
    assert len(list((run / "tables/samples").glob("*.parquet"))) == 3


def test_a_folder_of_an_older_version_is_read_and_said_to_be_once(made, copied, capsys):
    folder, run = copied
    for path in (folder / "runs").rglob("*.parquet"):
        checksum_file(path).unlink(missing_ok=True)
    integrity._say_unsigned.cache_clear()
    for _ in range(2):
        run_stages(spec_in(folder), ("score",))
    assert capsys.readouterr().err.count(f"{run}: ") == 1
    assert_same(made[1], run)
