"""The documentation's site: built without a network in strict mode, and loading nothing from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from bench import registry, resources
from bench.__main__ import HYDRA_VERBS, VERBS
from tests.shared import ROOT

pytest.importorskip("material", reason="mkdocs-material is not installed: pip install 'idbench[docs]'")
pytestmark = pytest.mark.slow
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    environment = {
        **os.environ,
        **NO_NETWORK,
        "PYTHONPATH": str(ROOT),
        "NO_MKDOCS_2_WARNING": "1",
        "SITE_WHOLE": "false",
    }
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loads(HTMLParser):
    """Addresses that a page loads by itself (not those that it links to)."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in LOADING:
            self.found.append(given.get(LOADING[tag]) or "")
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "alternate"):
            self.found.append(given.get("href") or "")
        self.found += re.findall(r"url\(([^)]*)\)", given.get("style") or "")


def loads(text):
    parser = Loads()
    parser.feed(text)
    return parser.found


def test_pages_load_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) >= 45
    loaded = {address for page in pages for address in loads(page.read_text(encoding="utf-8"))}
    assert any(address.endswith(".css") for address in loaded)
    assert [address for address in loaded if re.match(r"\s*(https?:)?//", address)] == []


def test_the_search_for_loads_finds_them():
    page = '<link rel=stylesheet href="https://x/a.css"><script src="//x/b.js"></script><p style="background:url(http://x/c)">'
    assert loads(page) == ["https://x/a.css", "//x/b.js", "http://x/c"]


def test_styles_load_nothing_from_elsewhere(site):
    sheets = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert sheets
    addresses = [a for sheet in sheets for a in re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s]+)""", sheet)]
    assert [address for address in addresses if re.match(r"(https?:)?//", address)] == []


def test_formulas_need_no_script(site):
    page = (site / "metrics" / "statistics.html").read_text(encoding="utf-8")
    assert "<math" in page
    assert "arithmatex" not in page


def test_every_choice_and_every_option_is_in_the_reference(site):
    page = (site / "reference" / "configuration.html").read_text(encoding="utf-8")
    conf = resources.folder("conf")
    for path in conf.rglob("*/*.yaml"):
        assert f"<code>{path.parent.relative_to(conf).as_posix()}={path.stem}</code>" in page
    for group in ("methods", "datasets", "detectors", "landmarkers", "parsers", "extractors"):
        for name in registry.entries(group):
            for option in registry.get(group, name).Options.model_fields:
                assert f"<code>{option}</code>" in page, (group, name, option)


def test_every_verb_and_metric_has_its_place(site):
    verbs = (site / "reference" / "verbs.html").read_text(encoding="utf-8")
    assert all(f"<code>{verb}</code>" in verbs for verb in (*HYDRA_VERBS, *VERBS))
    assert all((site / "metrics" / f"{name}.html").exists() for name in registry.entries("metrics"))


def test_docstrings_are_there(site):
    page = (site / "reference" / "reports.html").read_text(encoding="utf-8")
    assert 'id="bench.report.frames.load_run"' in page
    assert "there is no run, it is not scored yet" in page


def test_the_hooks_escape_comments(hooks):
    assert hooks.escaped("<root>/1.png `<x>`") == "&lt;root&gt;/1.png `<x>`"
    assert hooks.cell("a|b\nc") == "a\\|b c"
