"""One small world for all tests of the report."""

import pytest

from bench.report.compare import compare
from tests.report.world import write_run

KEEP = {"arc2face": 0.95, "instantid": 0.85, "photomaker": 0.5, "copy": 1.0}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Three generators of clearly different fidelity and a control, on the photos of AgeDB."""
    out = tmp_path_factory.mktemp("runs")
    relations = {"arc2face": {"arcface": "conditioned"}}
    return [
        write_run(out / name, name, keep=keep, seed=k + 1, dataset="agedb", relations=relations.get(name))
        for k, (name, keep) in enumerate(KEEP.items())
    ]


@pytest.fixture(scope="session")
def four(folders):
    return compare(folders)


@pytest.fixture(scope="session")
def half(tmp_path_factory):
    """Half of its samples failed."""
    return write_run(tmp_path_factory.mktemp("half") / "half", "half", failed=0.5, seed=9, dataset="agedb")
