"""Jobs of a sweep that fail in other processes are counted and told."""

import pytest

from tests.e2e.small import bench


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_that_fail_elsewhere_are_told_and_counted(launcher, tmp_path, capfd):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher" if launcher == "joblib" else "submitit")
    out, root = tmp_path / "runs", tmp_path / "nowhere"
    jobs = ("-m", f"hydra/launcher={launcher}", "method=copy,shuffle", f"dataset.root={root}", f"out={out}")
    assert bench("generate", *jobs) == 1
    said = capfd.readouterr().err
    for method in ("copy", "shuffle"):
        assert f"error: method={method} dataset=folder on " in said
    assert str(root) in said
    # What the jobs leave is on the disk of the runs, which every node sees.
    [scratch] = out.glob(".sweep-*")
    assert f"logs of the launcher, if it keeps any: {scratch}" in said
    assert (scratch / "sweep" / ".submitit").exists() == (launcher == "submitit_local")
