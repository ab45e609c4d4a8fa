"""What the pages say of parts: tables of metrics read the declarations, and examples are what the tests run."""

import doctest
import re
from importlib import import_module

import pytest

from bench import registry
from bench.testing import contracts
from tests.docs.conftest import module
from tests.docs.shown import FENCE
from tests.plugin.packages import forget, on_path, write_package
from tests.shared import ROOT

METRICS = [registry.get("metrics", name) for name in sorted(registry.BUILT_IN["metrics"])]
EXAMPLE = ROOT / "docs" / "examples" / "plugin" / "idbench_example"
REGISTERED = """[bench.methods]
blend = typed_blend:Blend
[bench.extractors]
brightness = typed_brightness:Brightness
[bench.metrics]
mean_brightness = typed_mean_brightness:METRIC
"""


def text(*place):
    return ROOT.joinpath(*place).read_text(encoding="utf-8")


def test_the_tables_of_metrics_are_the_declarations(tables):
    """`python docs/tables.py` writes them."""
    assert [page for page in tables.PAGES if page.read_text(encoding="utf-8") != tables.updated(page)] == []
    assert doctest.testmod(tables).failed == 0


def test_the_table_of_the_readme_has_every_metric(tables):
    lines = re.findall(r"^\| \[`(\w+)`\]\(docs/metrics/(\w+)\.md\) \| (\d+) \|", text("README.md"), flags=re.MULTILINE)
    assert lines == [(one.name, one.name, str(one.version)) for one in METRICS]


def test_a_table_that_lacks_a_line_gets_it(tables, tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    whole = text("README.md")
    page.write_text(re.sub(r"\| \[`fid`\].*\n", "", whole), encoding="utf-8")
    monkeypatch.setitem(tables.PAGES, page, tables.of_readme)
    assert page.read_text(encoding="utf-8") != whole
    assert tables.updated(page) == whole


def test_every_metric_has_its_place_in_the_navigation(hooks):
    nav = [{"Metrics": ["metrics/README.md"]}, {"Other": []}]
    hooks.on_config({"nav": nav})
    assert nav[0]["Metrics"] == ["metrics/README.md", *(f"metrics/{one.name}.md" for one in METRICS)]


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


@pytest.fixture
def typed_in(tmp_path):
    """The folder of a package whose modules are the examples, as a reader types them; name -> module."""
    shown = examples()
    for name, code in shown.items():
        (tmp_path / f"typed_{name}.py").write_text(code, encoding="utf-8")
    with on_path(tmp_path, *(f"typed_{name}" for name in shown)):
        yield tmp_path, {name: f"typed_{name}" for name in shown}


@pytest.mark.slow
def test_the_examples_typed_in_keep_every_contract(typed_in):
    place, modules = typed_in
    write_package(place, "typed-in", REGISTERED)
    forget()
    found = contracts("typed-in")
    assert len(found) > 40
    for param in found:
        [check] = param.values
        check()
    assert sum(doctest.testmod(import_module(name)).attempted for name in modules.values()) > 0
    assert sum(doctest.testmod(import_module(name)).failed for name in modules.values()) == 0


def test_a_metric_takes_a_module_a_line_in_the_registry_a_page_and_a_test(typed_in, hooks, monkeypatch):
    """After the line in the registry the tables and the navigation have the metric: no other file needs a change."""
    _, modules = typed_in
    monkeypatch.setitem(registry.BUILT_IN["metrics"], "mean_brightness", f"{modules['mean_brightness']}:METRIC")
    forget()
    fresh = module("tables")
    line = "| [`mean_brightness`](docs/metrics/mean_brightness.md) | 1 | — | higher | brightness |\n"
    assert line in fresh.updated(ROOT / "README.md")
    page = ROOT / "docs" / "metrics" / "README.md"
    assert "| [mean_brightness](mean_brightness.md) | how bright the faces of the samples are |" in fresh.updated(page)
    nav = [{"Metrics": []}]
    hooks.on_config({"nav": nav})
    assert "metrics/mean_brightness.md" in nav[0]["Metrics"]


def test_a_bundle_fills_its_slot_without_a_link_out_of_the_site(tables, tmp_path, monkeypatch):
    (tmp_path / "agedb-copy.zip").touch()
    monkeypatch.setattr(tables, "REFERENCE", tmp_path)
    assert "| `copy` | empty | `agedb-copy.zip` |" in tables.of_slots().splitlines()
