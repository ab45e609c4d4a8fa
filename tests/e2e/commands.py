"""The commands as a user gives them: real processes, and what they left on the disk."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pandas as pd

from bench.spec import RunSpec
from tests.shared import ROOT, SHARED

PHOTOS = SHARED / "photos"
SMALL_ON_FOLDER = ("evaluator=photos", "dataset=folder", "protocol.samples_per_item=2")
ON_PHOTOS = (*SMALL_ON_FOLDER, f"dataset.root={PHOTOS}")
WITH_PHOTOS = ("--config-dir", str(ROOT / "tests/conf"), *SMALL_ON_FOLDER)
UNCOMPARED = ("timings",)  # tables of what was measured on the way, which no two runs share


def bench(*arguments: object, check: bool = True, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs `python -m bench …`."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env=environment(), timeout=600,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stderr
    return done


def measured(*overrides: str) -> None:
    """As `bench run`, but without the report and in this process: for what a run measures, not for how it is called."""
    from bench.stages.run import run_stages

    run_stages(composed(*overrides), ("generate", "extract", "score"))


def composed(*overrides: str) -> RunSpec:
    """The spec of a run by overrides, with the tests' own evaluators in reach."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from bench.cli.run import register_resolvers
    from bench.spec import resolve

    register_resolvers()
    GlobalHydra.instance().clear()
    search = f"hydra.searchpath=[file://{ROOT / 'tests/conf'}]"
    with (
        patch.dict(os.environ, BENCH_SHARED=str(SHARED)),
        initialize_config_dir(str(ROOT / "conf"), version_base="1.3"),
    ):
        return resolve(compose("config", overrides=[*overrides, search]))


def environment() -> dict[str, str]:
    """This process's, with the project first on the path and no download possible."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "BENCH_SHARED": str(SHARED), "HF_HUB_OFFLINE": "1"}


def run_folder(out: Path, method: str) -> Path:
    """The folder of the one run of a method."""
    [path] = out.glob(f"*/{method}-*/run.json")
    return path.parent


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Every table of a run or of a dataset's photos, shards joined, and its scores."""
    names = {p.parent for p in (folder / "tables").rglob("*.parquet") if ".parts" not in p.parts}
    found = {
        str(name.relative_to(folder)): pd.concat([pd.read_parquet(p) for p in sorted(name.glob("*.parquet"))])
        for name in sorted(names)
        if name.name not in UNCOMPARED
    }
    found |= {p.name: pd.read_parquet(p) for p in sorted((folder / "scores").glob("*.parquet"))}
    return {name: frame.reset_index(drop=True) for name, frame in found.items()}


def assert_same(one: Path, other: Path) -> None:
    """Two folders hold the same tables, pictures and scores to the last bit."""
    a, b = tables(one), tables(other)
    assert list(a) == list(b)
    for name, frame in a.items():
        pd.testing.assert_frame_equal(frame, b[name], check_exact=True, obj=name)
    samples, others = ((folder / "samples").rglob("*.*") for folder in (one, other))
    pictures = {p.relative_to(one): p.read_bytes() for p in samples}
    assert pictures == {p.relative_to(other): p.read_bytes() for p in others}
