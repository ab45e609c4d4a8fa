"""A scored run goes to a tracker where one is asked for; none is by default, and none ends a run."""

import importlib.util
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from bench import registry, tracking
from bench.errors import UserError
from bench.metrics.protocol import NUMBER, Number
from bench.spec import recorded
from bench.stages import run as stages
from tests.guard import world

RUN = Path("runs/mini/copy-01234567")
NAME = "mini-copy-01234567"
CONFIG = {"method": {"name": "copy"}, "steps": 3}
SCORES = pd.DataFrame(
    [
        (*Number("fid", "inception", "distance"), 1.5),
        (*Number("verification", "judge", "fnmr", "1e-2"), 0.25),
        (*Number("kid", "inception", "excluded"), float("nan")),
    ],
    columns=[*NUMBER, "value"],
)
VALUES = {"fid/inception/distance": 1.5, "verification/judge/fnmr/1e-2": 0.25}


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed: pip install {package}")


@pytest.fixture
def offline(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


@needs("tensorboard")
def test_tensorboard_has_numbers_configuration_and_page(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracking.track("tensorboard", RUN, tmp_path, CONFIG, SCORES)
    written = EventAccumulator(str(tmp_path / "tracking/tensorboard" / NAME))
    written.Reload()
    tags = written.Tags()["scalars"]
    assert {tag: written.Scalars(tag)[0].value for tag in tags} == VALUES
    [config], [page] = (written.Tensors(f"{name}/text_summary") for name in ("config", "page"))
    assert b'"steps": 3' in config.tensor_proto.string_val[0]
    assert page.tensor_proto.string_val[0].decode() == str(tracking.page_of(RUN))


@needs("mlflow")
def test_mlflow_has_numbers_configuration_and_page(tmp_path, offline):
    import mlflow

    tracking.track("mlflow", RUN, tmp_path, CONFIG, SCORES)
    [found] = mlflow.search_runs(experiment_names=["idbench"], output_format="list")
    assert found.data.metrics == VALUES
    assert found.data.tags["page"] == str(tracking.page_of(RUN))
    assert found.info.run_name == NAME
    assert found.info.artifact_uri.startswith(tmp_path.as_uri())
    assert json.loads(mlflow.artifacts.load_text(f"{found.info.artifact_uri}/config.json")) == CONFIG


@needs("wandb")
def test_wandb_writes_a_run_that_can_be_sent_later(tmp_path, offline):
    tracking.track("wandb", RUN, tmp_path, CONFIG, SCORES)
    [found] = (tmp_path / "tracking/wandb/wandb").glob("offline-run-*/*.wandb")
    data = found.read_bytes()
    assert all(text.encode() in data for text in (*VALUES, "copy", str(tracking.page_of(RUN))))


class Kept(list):
    def log(self, scored):
        self.append(scored)


@pytest.fixture
def kept(monkeypatch):
    """What goes to the tracker "kept"."""
    found = Kept()
    monkeypatch.setitem(sys.modules, "kept", found)
    found.TRACKER = tracking.Tracker("json", found.log)
    monkeypatch.setitem(registry.BUILT_IN["trackers"], "kept", "kept:TRACKER")
    registry.entries.cache_clear()
    yield found
    registry.entries.cache_clear()


def test_a_run_asks_for_none_by_default_and_gives_it_what_it_scored(tmp_path, kept):
    spec = world.light(tmp_path, tmp_path / "runs", "copy")
    assert spec.tracker is None
    folder = world.run(spec)
    assert kept == []
    world.run(spec.model_copy(update={"tracker": "kept"}), ["score"])
    [scored] = kept
    assert scored.page == folder.resolve() / "report/index.html"
    assert scored.values["id_similarity/arcface/mean_detected"] == pytest.approx(1)
    assert scored.config["method"]["name"] == "copy"


def test_a_tracker_that_fails_ends_no_run(tmp_path, kept, monkeypatch, capsys):
    monkeypatch.setattr(kept, "TRACKER", tracking.Tracker("json", lambda scored: 1 / 0))
    tracking.track("kept", RUN, tmp_path, CONFIG, SCORES)
    assert "warning: tracker=kept wrote nothing down: ZeroDivisionError" in capsys.readouterr().err


def test_a_tracker_without_its_package_is_refused_before_the_first_sample(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(kept, "TRACKER", tracking.Tracker("a_package_that_is_not_here", kept.log))
    spec = world.light(tmp_path, tmp_path / "runs", "copy").model_copy(update={"tracker": "kept"})
    with pytest.raises(UserError, match="needs the package a_package_that_is_not_here"):
        stages.run_stages(spec, world.STAGES)
    assert list((tmp_path / "runs").glob("*/*/tables")) == []


def test_an_unknown_tracker_is_refused_with_those_there_are(tmp_path):
    values = world.light(tmp_path, tmp_path / "runs", "copy").model_dump(mode="json")
    with pytest.raises(UserError, match=r"tracker.*allowed: mlflow, tensorboard, wandb"):
        recorded({**values, "tracker": "tensorbored"})
