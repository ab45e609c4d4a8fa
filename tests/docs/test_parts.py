"""What the pages say of parts: tables of metrics read the declarations, and examples are what the tests run."""

import re

import pytest

from bench import registry
from bench.testing import contracts
from tests.docs.shown import FENCE
from tests.plugin.packages import on_path, write_package
from tests.shared import ROOT

METRICS = [registry.get("metrics", name) for name in sorted(registry.BUILT_IN["metrics"])]
EXAMPLE = ROOT / "docs" / "examples" / "plugin" / "idbench_example"
DIRECTION = {True: "higher", False: "lower", None: "—"}
REGISTERED = """[bench.methods]
blend = typed_blend:Blend
[bench.extractors]
brightness = typed_brightness:Brightness
[bench.metrics]
mean_brightness = typed_mean_brightness:METRIC
"""


def text(*place):
    return ROOT.joinpath(*place).read_text(encoding="utf-8")


def row(metric):
    """The line of a metric in README's table."""
    link = f"[`{metric.name}`](docs/metrics/{metric.name}.md)"
    cells = [link, str(metric.version), metric.unit, DIRECTION[metric.higher_is_better], ", ".join(metric.needs)]
    return f"| {' | '.join(cell or '—' for cell in cells)} |"


def test_the_table_of_the_readme_is_the_declaration():
    lines = re.findall(r"^\| \[`\w+`\]\(docs/metrics/.*$", text("README.md"), flags=re.MULTILINE)
    assert lines == [row(metric) for metric in METRICS]


def test_the_table_of_the_metrics_page_is_the_declaration():
    page = text("docs", "metrics", "README.md")
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", page, flags=re.MULTILINE)
    declared = {
        (one.name, one.name, DIRECTION[one.higher_is_better].replace("—", "–"), ", ".join(one.needs) or "–")
        for one in METRICS
    }
    assert set(rows) == declared
    assert len(rows) == len(METRICS)


def examples():
    """Name of a module of the example package -> the code that CONTRIBUTING shows for it."""
    blocks = [block for language, block in FENCE.findall(text("CONTRIBUTING.md")) if language == "python"]
    return {re.search(r'^"""\w+ `(\w+)`', block)[1]: block for block in blocks}


def test_the_guide_shows_the_example_package():
    shown = examples()
    assert sorted(shown) == ["blend", "brightness", "mean_brightness"]
    assert [name for name, code in shown.items() if code != (EXAMPLE / f"{name}.py").read_text(encoding="utf-8")] == []
    [yaml] = [block for language, block in FENCE.findall(text("CONTRIBUTING.md")) if language == "yaml"]
    assert yaml == (EXAMPLE / "conf" / "method" / "blend.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_examples_typed_in_keep_every_contract(tmp_path):
    shown = examples()
    for name, code in shown.items():
        (tmp_path / f"typed_{name}.py").write_text(code, encoding="utf-8")
    write_package(tmp_path, "typed-in", REGISTERED)
    with on_path(tmp_path, *(f"typed_{name}" for name in shown)):
        found = contracts("typed-in")
        assert len(found) > 40
        for param in found:
            [check] = param.values
            check()
