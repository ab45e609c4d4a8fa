"""Tasks of a Ray of this machine."""

import sys

import pytest

from bench.errors import UserError, WorkFailedError
from bench.execution.ray_tasks import Ray
from bench.execution.shards import run_shards
from bench.spec import Execution
from tests.execution import toy

pytest.importorskip("ray", reason="idbench[ray] is not installed")


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    """Nothing of Ray's reaches the home folder or the network."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield
    sys.modules["ray"].shutdown()


def test_a_shard_whose_process_died_is_made_by_another(tmp_path):
    stage = toy.stage(tmp_path / "run", s_0="kill-once", s_1="raise")
    with pytest.raises(WorkFailedError, match=r"1 of 6 shards failed .* shard 1 \(s1\): ValueError"):
        run_shards(toy.task(stage), Ray("", 0, toy.command), Execution(workers=2, attempts=2))
    assert [word for word in toy.made(stage.folder) if word != "setup"] == ["0", "2", "3", "4", "5"]


def test_a_cluster_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot reach Ray at nowhere"):
        run_shards(toy.task(toy.stage(tmp_path)), Ray("nowhere", 0, toy.command), Execution())
