"""The Python interface: light to import, documented to the column, and a notebook that runs."""

import json
import re
import subprocess
import sys

import pytest

from bench import compare, figures, load_run
from tests.guard import world
from tests.shared import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial" / "report.ipynb"
PATTERN = re.compile(r"\w+\[\w+\]")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two scored runs on one dataset, in the folder of their runs."""
    folder = tmp_path_factory.mktemp("python")
    return [world.run(world.light(folder, folder / "runs", method)) for method in ("copy", "shuffle")]


def test_importing_bench_imports_nothing_else():
    code = "import sys; before = set(sys.modules); import bench; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"numpy", "pandas", "matplotlib", "pydantic"} & set(re.findall(r"\w+", done.stdout))


def test_all_names_are_there_and_no_others():
    import bench

    assert all(getattr(bench, name) is not None for name in bench.__all__)
    assert set(bench.__all__) <= set(dir(bench))
    with pytest.raises(AttributeError, match="no attribute 'leaderbord'"):
        _ = bench.leaderbord


def documented():
    """frame -> (columns that it always has, columns that it may have), as the page says."""
    text = (ROOT / "docs" / "reference" / "frames.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    found = {}
    for section in sections:
        rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
        names = [
            (name, row[-1].startswith(("where the list has it", "only with samples in tars")))
            for row in rows
            for name in re.findall(r"`([^`]+)`", row[0])
        ]
        found[section.splitlines()[0]] = ([n for n, optional in names if not optional], [n for n, o in names if o])
    return found


def columns(frame):
    """Names of columns, with those of metrics by their pattern, once."""
    return list(dict.fromkeys("<metric>[<variant>]" if PATTERN.fullmatch(name) else name for name in frame.columns))


def test_the_documented_columns_are_the_real_ones(runs):
    run, comparison = load_run(runs[0]), compare(runs)
    real = {f"run.{name}": getattr(run, name) for name in ("scores", "samples", "items", "photos")}
    real |= {f"comparison.{name}": getattr(comparison, name) for name in ("scores", "differences")}
    page = documented()
    assert list(page) == list(real)
    for name, frame in real.items():
        always, sometimes = page[name]
        assert [column for column in columns(frame) if column not in sometimes] == always, name


def test_a_figure_is_matplotlib_s(runs):
    from matplotlib.figure import Figure

    comparison = compare(runs)
    [recogniser] = load_run(runs[0]).recognisers[:1]
    figure = figures.similarity(comparison.runs, recogniser)
    assert isinstance(figure, Figure)
    assert "copy" in figure.axes[0].get_legend().get_texts()[0].get_text()


def test_the_notebook_is_stored_without_output():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code"
    )


@pytest.mark.slow
def test_the_notebook_runs(monkeypatch, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    for name, value in {"PYTHONPATH": ROOT, "IPYTHONDIR": tmp_path, "TMPDIR": tmp_path, "OMP_NUM_THREADS": 1}.items():
        monkeypatch.setenv(name, str(value))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output.get("data", {}) for cell in cells for output in cell.outputs]
    assert any("image/png" in data for data in shown)
    for column in ("n_failed", "status", "p_holm"):
        assert any(column in data.get("text/html", "") for data in shown)
    words = [data.get("text/plain", "") for data in shown]
    assert any(text.startswith("<Run another photo on folder: 3 items, 6 samples, ") for text in words)
    assert any(text.startswith("<Run copy on folder: 3 items, 6 samples, ") for text in words)
    assert any(text.startswith("<Comparison of another photo, copy: 3 items, ") for text in words)
