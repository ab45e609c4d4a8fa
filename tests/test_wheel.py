"""The wheel works elsewhere as the checkout does: what a run needs travels inside it."""

import subprocess
import sys
import zipfile

import pytest

from tests.shared import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's content in an otherwise empty folder."""
    work = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", work, ROOT],
        check=True,
    )
    [wheel] = work.glob("idbench-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "site")
    return work / "site"


def bench(installed, *arguments):
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from bench.__main__ import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-I", "-c", code, str(installed), *arguments],
        capture_output=True, text=True, cwd=installed.parent,
    )  # fmt: skip


def test_the_verbs_run_from_it(installed):
    from bench.resources import folder

    done = bench(installed, "run", "--cfg", "job", "method=copy", "dataset=folder")
    assert done.returncode == 0, done.stderr
    assert "arc2face_eccv24" in done.stdout
    listed = bench(installed, "ls", "methods").stdout
    assert all(path.stem in listed for path in folder("conf").glob("method/*.yaml"))


def test_it_carries_the_root_folders_and_nothing_of_the_tests(installed):
    assert (installed / "bench/conf/config.yaml").exists()
    assert (installed / "bench/data_lists/README.md").exists()
    assert (installed / "baselines/protocol.py").exists()
    assert (installed / "bench/mini/world").exists()
    assert not (installed / "bench/mini/train").exists()
    stored = {path.relative_to(ROOT) for path in (ROOT / "bench/mini/weights").rglob("*") if path.is_file()}
    assert {path.relative_to(installed) for path in (installed / "bench/mini/weights").rglob("*.*")} == stored
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {"bench", "baselines"}
