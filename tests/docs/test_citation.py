"""What a project says about itself to programs: one version, one licence, names that agree."""

import re
import tomllib

import yaml

from bench.version import __version__
from tests.shared import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_has_what_its_format_requires_and_the_project_s_facts():
    assert CITATION["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(CITATION)
    assert CITATION["version"] == __version__
    assert CITATION["license"] == PROJECT["license"]
    assert [author["name"] for author in CITATION["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_the_readme_cites_the_same():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```bibtex\n(.*?)```", text, re.DOTALL)[1]
    assert f"version = {{{__version__}}}" in block
    [paper] = CITATION["references"]
    for title in (CITATION["title"], paper["title"]):
        assert f"{{{title}}}" in block
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in block


def test_the_changelog_has_sections_of_a_release():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = text.split("\n## ")[1]
    assert re.match(r"\d+\.\d+\.\d+ \((unreleased|\d{4}-\d\d-\d\d)\)\n", newest)
    assert re.findall(r"^### (\w+)", newest, re.MULTILINE) == ["Added", "Changed", "Fixed"]


def test_issue_templates_ask_for_a_field_each_once():
    for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.name == "config.yml":
            assert set(form) == {"blank_issues_enabled"}
            continue
        assert {"name", "description", "body"} <= set(form), path.name
        ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
        assert len(ids) == len(set(ids)) > 0
