"""Hooks of MkDocs: the pages that are generated from code and configuration, and formulas as MathML."""

from __future__ import annotations

import html
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bench import registry, resources
from bench.__main__ import HYDRA_VERBS, VERBS
from bench.identity import Mark, mark_of
from bench.spec import Card, Evaluator, Execution, Protocol, Views

GROUPS = ("methods", "datasets", "detectors", "landmarkers", "parsers", "extractors")
MARKS = {Mark.IDENTITY: "identity", Mark.CONTENT: "content", Mark.RECORDED: "recorded"}
MODULES = {
    "reference/protocols.md": (
        "Protocols",
        ["baselines.protocol", "bench.extractors.protocol", "bench.metrics.protocol", "bench.data.protocol",
         "bench.identity", "bench.runtime", "bench.errors", "bench.faces.face"],
    ),
    "reference/reports.md": (
        "Reports",
        ["bench.report.frames", "bench.report.compare", "bench.report.ranking", "bench.report.paper",
         "bench.report.published", "bench.report.figures", "bench.report.grids", "bench.report.golden",
         "bench.exchange"],
    ),
    "reference/metrics.md": ("Metrics", ["bench.metrics"]),
    "reference/statistics.md": ("Statistics", ["bench.statistics"]),
    "reference/networks.md": ("Faces and networks", ["bench.faces", "bench.extractors"]),
    "reference/studies.md": ("Studies", ["bench.studies", "bench.studies.user_study"]),
    "reference/data.md": ("Datasets and methods", ["bench.data", "baselines", "bench.stages.seeds"]),
}  # fmt: skip
"""page -> title, and the modules (or packages with all their public modules) whose docstrings make it."""
ELSEWHERE = {*MODULES["reference/protocols.md"][1], "bench.cli.data"}
"""Modules that a package's page leaves out."""


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages."""
    from mkdocs.structure.files import File

    pages = {path: modules_page(*page) for path, page in MODULES.items()}
    pages |= {"reference/configuration.md": configuration_page(), "reference/verbs.md": verbs_page()}
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Formulas become MathML, which browsers draw without a script."""
    return re.sub(r'<(span|div) class="arithmatex">(.*?)</\1>', _mathml, content, flags=re.DOTALL)


def _mathml(found: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    formula = html.unescape(found[2]).strip()
    display = "inline" if formula.startswith(r"\(") else "block"
    return convert(formula[2:-2].strip(), display=display)


def modules_page(title: str, names: list[str]) -> str:
    """A page of docstrings."""
    modules = [module for name in names for module in public_modules(name)]
    return f"# {title}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"


def public_modules(name: str) -> Iterator[str]:
    """The module, or the public modules of a package, by name."""
    module = import_module(name)
    if not hasattr(module, "__path__"):
        yield name
        return
    for info in pkgutil.iter_modules(module.__path__):
        if not info.name.startswith("_") and not info.ispkg and f"{name}.{info.name}" not in ELSEWHERE:
            yield f"{name}.{info.name}"


def verbs_page() -> str:
    """What `python -m bench` can do."""
    rows = [*HYDRA_VERBS.items(), *((name, text) for name, (_, text) in VERBS.items())]
    table = table_of(["verb", ""], [[f"`{name}`", text] for name, text in rows])
    return (
        f"# Verbs\n\n{table}\n"
        "`python -m bench VERB --help` lists the arguments. `run`, `generate`, `extract` and `score` take Hydra's "
        "overrides; [Configuration](configuration.md) lists what can be overridden.\n\n"
        "Exit codes: 0 done, 1 work failed (or a check did), 2 the user's mistake, 130 interrupted.\n"
    )


def configuration_page() -> str:
    """Every group of `conf/` and every option of every part, with its mark and its default."""
    parts = [
        "# Configuration\n\nEvery value can be overridden on the command line: `method.steps=30`. *identity*: it "
        "changes results and is part of their identity; *content*: a file, whose bytes are; *recorded*: it is written "
        "into the run and changes no number beyond rounding.\n",
        "## Files\n\n" + _files(),
        "## The run\n\n",
    ]
    outer: list[tuple[str, type[BaseModel]]] = [
        ("protocol", Protocol), ("protocol.views", Views), ("evaluator", Evaluator), ("execution", Execution),
        ("method.card", Card),
    ]  # fmt: skip
    parts += [f"### `{name}`\n\n{options(model)}" for name, model in outer]
    for plural in GROUPS:
        parts.append(f"## {plural.capitalize()}\n")
        parts += [_part(plural, name) for name in sorted(registry.targets(plural))]
    return "\n".join(parts)


def _files() -> str:
    folder = resources.folder("conf")
    rows = [
        [f"`{path.parent.relative_to(folder).as_posix()}={path.stem}`", _comment(path)]
        for path in sorted(folder.rglob("*.yaml"))
        if path.parent != folder
    ]
    return table_of(["choice", ""], rows)


def _comment(path: Path) -> str:
    """The comment that a configuration begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    text = [line.lstrip("# ") for line in lines[: _end_of_comment(lines)] if not line.startswith("# @package")]
    return cell(escaped(" ".join(text)))


def _end_of_comment(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))


def _part(plural: str, name: str) -> str:
    where = registry.targets(plural)[name]
    return f"### `{name}`\n\n`{where}`\n\n{options(registry.get(plural, name).Options)}"


def options(model: type[BaseModel]) -> str:
    """The table of a spec's fields."""
    rows = [
        [f"`{name}`", MARKS[mark_of(model, name)], f"`{cell(_type(field.annotation))}`", _default(field)]
        for name, field in model.model_fields.items()
    ]
    return table_of(["option", "mark", "type", "default"], rows) if rows else "No options.\n"


def _type(annotation: Any) -> str:
    """A type as people write it."""
    text = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    return re.sub(r"Annotated\[([\w.]+), [^\]]*\]", r"\1", re.sub(r"\b(typing|pathlib|bench\.spec)\.", "", text))


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "see its own table" if isinstance(value, BaseModel) else f"`{cell(repr(value))}`"


def table_of(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def escaped(text: str) -> str:
    """Text without HTML, but for what stands in backticks, where Markdown escapes it.

    >>> escaped("<a> `<b>`")
    '&lt;a&gt; `<b>`'
    """
    return "`".join(part if number % 2 else html.escape(part) for number, part in enumerate(text.split("`")))


def cell(text: str) -> str:
    """Text that stays in its cell."""
    return text.replace("|", "\\|").replace("\n", " ")
