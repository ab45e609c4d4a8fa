"""Hooks of MkDocs: the pages that are generated from code and configuration, and formulas as MathML."""

from __future__ import annotations

import html
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from bench import registry, resources
from bench.__main__ import HYDRA_VERBS, VERBS
from bench.faces.search import FaceOptions
from bench.faces.views import ViewOptions
from bench.identity import Mark, mark_of
from bench.spec import Card, Evaluator, Execution, Protocol

GROUPS = ("methods", "datasets", "conditions", "detectors", "landmarkers", "parsers", "extractors")
HEADINGS = {"conditions": "sources of conditions"}
"""What the heading calls a group where it is another word."""
MARKS = {Mark.IDENTITY: "identity", Mark.CONTENT: "content", Mark.RECORDED: "recorded"}
OUTER: tuple[tuple[str, type[BaseModel]], ...] = (
    ("protocol", Protocol), ("protocol.faces", FaceOptions), ("protocol.views", ViewOptions), ("evaluator", Evaluator),
    ("execution", Execution), ("method.card", Card),
)  # fmt: skip
"""Settings of every run: prefix of their overrides, and their spec."""
MODULES = {
    "reference/parts.md": (
        "Interfaces of parts",
        ["baselines.protocol", "bench.extractors.protocol", "bench.metrics.protocol", "bench.data.protocol",
         "bench.conditions.protocol", "bench.conditions.kinds",
         "bench.identity", "bench.runtime", "bench.errors", "bench.status", "bench.faces.face", "bench.testing"],
    ),
    "reference/reports.md": (
        "Reports",
        ["bench.interface", "bench.report.frames", "bench.report.compare", "bench.report.ranking", "bench.report.paper",
         "bench.report.published", "bench.report.figures", "bench.report.grids", "bench.report.golden",
         "bench.exchange"],
    ),
    "reference/metrics.md": ("Metrics", ["bench.metrics", "bench.metrics.functional", "bench.metrics.shared"]),
    "reference/statistics.md": ("Statistics", ["bench.statistics"]),
    "reference/networks.md": ("Faces and networks", ["bench.faces", "bench.extractors"]),
    "reference/studies.md": ("Studies", ["bench.studies", "bench.studies.user_study"]),
    "reference/data.md": (
        "Datasets, conditions and methods", ["bench.data", "bench.conditions", "baselines", "bench.stages.seeds"],
    ),
}  # fmt: skip
"""page -> title, and the modules (or packages with all their public modules) whose docstrings make it."""
ELSEWHERE = set(MODULES["reference/parts.md"][1])
"""Modules that a package's page leaves out."""
METRICS_SECTION = "Metrics"
"""The section of the navigation that holds the pages of metrics."""
TYPES: dict[Any, str] = {
    str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Path: "path", NoneType: "`null`",
    Any: "anything",
}  # fmt: skip
BOUNDS = (("ge", "at least {}"), ("gt", "more than {}"), ("le", "at most {}"), ("lt", "less than {}"))


def on_config(config: Any) -> Any:
    """Add the page of each metric to the navigation; its heading is its title there."""
    [section] = [section for section in config["nav"] if METRICS_SECTION in section]
    section[METRICS_SECTION] += [f"metrics/{name}.md" for name in sorted(registry.entries("metrics"))]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for path, content in generated().items():
        files.append(File.generated(config, path, content=content))
    return files


def generated() -> dict[str, str]:
    """Return the generated pages: path below the site -> Markdown."""
    return {path: modules_page(*page) for path, page in MODULES.items()} | {
        "reference/configuration.md": configuration_page(),
        "reference/protocols.md": protocols_page(),
        "reference/verbs.md": verbs_page(),
    }


def on_page_content(content: str, **_: Any) -> str:
    """Return a page with its formulas as MathML, which browsers draw without a script."""
    return re.sub(r'<(span|div) class="arithmatex">(.*?)</\1>', _mathml, content, flags=re.DOTALL)


def _mathml(match: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    formula = html.unescape(match[2]).strip()
    display = "inline" if formula.startswith(r"\(") else "block"
    return convert(formula[2:-2].strip(), display=display)


def modules_page(title: str, names: list[str]) -> str:
    """Return a page of docstrings."""
    modules = [module for name in names for module in public_modules(name)]
    return f"# {title}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"


def public_modules(name: str) -> Iterator[str]:
    """Yield the name of the module, or the names of the public modules of a package."""
    module = import_module(name)
    if not hasattr(module, "__path__"):
        yield name
        return
    for info in pkgutil.iter_modules(module.__path__):
        if not info.name.startswith("_") and not info.ispkg and f"{name}.{info.name}" not in ELSEWHERE:
            yield f"{name}.{info.name}"


def verbs_page() -> str:
    """Return the page of what `python -m bench` can do."""
    rows = [*HYDRA_VERBS.items(), *((name, text) for name, (_, text) in VERBS.items())]
    table = table_of(["verb", "what it does"], [[f"`{name}`", text] for name, text in rows])
    return (
        f"# Verbs\n\n{table}\n"
        "`python -m bench VERB --help` lists the arguments. `run`, `generate`, `extract` and `score` take Hydra's "
        "overrides; [Configuration](configuration.md) lists what you can override.\n\n"
        "The exit code is 0 if the work is done, 1 if the work (or a check) failed, 2 for a mistake in the command, "
        "and 130 after an interruption.\n"
    )


def configuration_page() -> str:
    """Return the page of every group of `conf/` and every option of every part."""
    parts = [
        "# Configuration\n\nYou can override every value on the command line, for example `method.steps=30`. "
        "The mark of an option says what happens to it. *identity*: it changes results, so it is part of their "
        "identity. *content*: it names a file, and the file's bytes are part of the identity. *recorded*: it is "
        "written into the run and changes no number beyond rounding.\n",
        "## Files of `conf/`\n\n" + _files(),
        "## Settings of a run\n",
    ]
    parts += [f"### `{name}`\n\n{options(model)}" for name, model in OUTER]
    for plural in GROUPS:
        parts.append(f"## Options of {HEADINGS.get(plural, plural)}\n")
        parts += [_part(plural, name) for name in sorted(registry.entries(plural))]
    return "\n".join(parts)


def _files() -> str:
    folder = resources.folder("conf")
    rows = [
        [f"`{path.parent.relative_to(folder).as_posix()}={path.stem}`", _comment(path)]
        for path in sorted(folder.rglob("*.yaml"))
        if path.parent != folder
    ]
    return table_of(["choice", "meaning"], rows)


def _comment(path: Path) -> str:
    """Return the comment that a configuration begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    text = [line.lstrip("# ") for line in lines[: _end_of_comment(lines)] if not line.startswith("# @package")]
    return cell(escaped(" ".join(text)))


def _end_of_comment(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))


def _part(plural: str, name: str) -> str:
    where = registry.entries(plural)[name].target
    return f"### `{name}`\n\n`{where}`\n\n{options(registry.get(plural, name).Options)}"


def protocols_page() -> str:
    """Return the page of the shipped protocols: every field, its value and its meaning."""
    parts = [
        "# Protocols\n\nA protocol says what is made and what is measured, the same for every method. "
        "Every field is an override, for example `protocol.samples_per_item=10`.\n"
    ]
    for path in sorted((resources.folder("conf") / "protocol").glob("*.yaml")):
        protocol = Protocol.model_validate(read_yaml(path))
        rows = [[f"`{name}`", written(value), words] for name, value, words in fields(protocol, "protocol")]
        parts.append(f"## `{path.stem}`\n\n{_comment(path)}\n\n{table_of(['field', 'value', 'meaning'], rows)}")
    return "\n".join([*parts, "## What a profile changes\n", *_profiles()])


def _profiles() -> Iterator[str]:
    """Yield what each profile sets in the protocol."""
    for path in sorted((resources.folder("conf") / "profile").glob("*.yaml")):
        changes = list(_leaves(read_yaml(path).get("protocol", {}), "protocol"))
        text = ", ".join(f"`{name}={value}`" for name, value in changes) or "nothing"
        yield f"- `profile={path.stem}`: {text}"


def read_yaml(path: Path) -> dict[str, Any]:
    """Return what a configuration file holds."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}", value


def fields(spec: BaseModel, prefix: str) -> Iterator[tuple[str, Any, str]]:
    """Yield the dotted name, the value and the meaning of every field of a spec and of the specs in it."""
    words = meanings(type(spec))
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, BaseModel):
            yield from fields(value, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}", value, words.get(name, "")


def options(model: type[BaseModel]) -> str:
    """Return the table of a spec's fields."""
    words = meanings(model)
    rows = [
        [f"`{name}`", words.get(name, ""), cell(type_of(field.annotation, field.metadata)), _default(field),
         MARKS[mark_of(model, name)]]
        for name, field in model.model_fields.items()
    ]  # fmt: skip
    return table_of(["option", "meaning", "type", "default", "mark"], rows) if rows else "No options.\n"


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings of a spec and of its bases say about its fields, as cells of a table."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        texts |= attributes(inspect.cleandoc(base.__doc__ or "")) if issubclass(base, BaseModel) else {}
    return {name: cell(escaped(text)) for name, text in texts.items() if name in model.model_fields}


def attributes(docstring: str) -> dict[str, str]:
    r"""Return the section `Attributes:` of a docstring in Google's style: name -> text.

    >>> attributes("Options.\n\nAttributes:\n    a: first,\n        and more.\n    b: second.\n\nOther: no.")
    {'a': 'first, and more.', 'b': 'second.'}
    """
    section = re.search(r"^Attributes:\n((?:[ ]{4}.*\n?|\n)*)", docstring, flags=re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1] if section else "", flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def type_of(annotation: Any, metadata: Any = (), many: bool = False) -> str:
    """Return a type in words, with the bounds in its metadata.

    >>> type_of(tuple[float, ...] | None), type_of(Literal["a", "b"]), type_of(dict[str, int])
    ('list of numbers, or `null`', '`a` or `b`', 'mapping of name to whole number')
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_of(inner[0], (*inner[1:], *metadata), many)
    if origin in (Union, UnionType):
        return ", or ".join(type_of(one, () if one is NoneType else metadata) for one in inner)
    bounds = [text.format(value) for name, text in BOUNDS for value in _bounds(metadata, name)]
    return ", ".join(filter(None, [_named(annotation, many), " and ".join(bounds)]))


def _bounds(metadata: Any, name: str) -> Iterator[Any]:
    """Yield the values of a bound in the metadata of a type, which may lie in a field's own."""
    for one in metadata:
        yield from _bounds(one.metadata, name) if hasattr(one, "metadata") else ()
        if hasattr(one, name):
            yield getattr(one, name)


def _named(annotation: Any, many: bool) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _either([f"`{value}`" for value in inner])
    if origin is tuple:
        count = "list of" if inner[-1] is ... else str(len(inner))
        return f"{count} {type_of(inner[0], many=True)}"
    if origin is not None and issubclass(origin, Mapping):
        return f"mapping of name to {type_of(inner[1])}"
    return f"{TYPES[annotation]}s" if many and annotation in (str, int, float, Path) else _simple(annotation)


def _simple(annotation: Any) -> str:
    return TYPES.get(annotation) or _class(annotation)


def _class(annotation: type) -> str:
    if issubclass(annotation, Enum):
        return _either([f"`{member.value}`" for member in annotation])
    return "settings" if issubclass(annotation, BaseModel) else f"`{annotation.__name__}`"


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "see its own table" if isinstance(value, BaseModel) else written(value)


def written(value: Any) -> str:
    """Return a value as people write it on the command line, as a cell of a table.

    >>> written(None), written(True), written((0, 0.5)), written(""), written("photo of a person")
    ('`null`', '`true`', '`[0, 0.5]`', '`""`', '`photo of a person`')
    """
    return f"`{cell(_plain(value))}`"


def _plain(value: Any) -> str:
    simple: dict[Any, str] = {None: "null", True: "true", False: "false", "": '""'}
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(one)}" for key, one in value.items()) + "}"
    if value is None or isinstance(value, (bool, str)):
        return simple.get(value, str(value))
    return str(value.value if isinstance(value, Enum) else value)


def table_of(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def escaped(text: str) -> str:
    """Return text without HTML. Markdown itself escapes what is in backticks.

    >>> escaped("<a> `<b>`")
    '&lt;a&gt; `<b>`'
    """
    return "`".join(
        part if number % 2 else html.escape(part, quote=False) for number, part in enumerate(text.split("`"))
    )


def cell(text: str) -> str:
    """Return text that stays in its cell."""
    return text.replace("|", "\\|").replace("\n", " ")
