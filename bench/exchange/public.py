"""A run without people: names become numbers, paths and commands go, pictures stay only where they may."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, get_args

import pandas as pd

from bench import registry
from bench.exchange.schema import PER_SAMPLE, Comparable
from bench.report.frames import Run

KEPT = ("id", "method", "dataset", "content", "weights", "environment")
_START = r"(?<![\w/:.\-])(?:file:/*|~|\.{1,2}|[A-Za-z]:)?[\\/]"
_PATH = re.compile(_START + r"[^\s'\",;=<>|]*")
"""Anything that begins like the path of a file, absolute or relative to a folder; the address of a site does not."""
_PATH_AND_REST = re.compile(_START + r"[^'\",;\n]*")
_GROUPS = {"method": "methods", "dataset": "datasets", "detector": "detectors", "landmarker": "landmarkers"}
_GROUPS |= {"parser": "parsers", "recognisers": "extractors", "extractors": "extractors"}


def public(run: Run, *, pictures: bool) -> Run:
    """The run as others may see it.

    Items and subjects are numbered in the order of the list. Seeds, hashes, boxes, key points and group columns go:
    each of them would let somebody who has the photos find out who is who. With `pictures`, paths and hashes of
    samples and references stay, so that thumbnails can be made of them.
    """
    items, people = numbers(run.samples["item"], "item"), numbers(run.samples["subject"], "person")
    hide = hider(run)
    measured = [column for column in run.samples.columns if PER_SAMPLE.fullmatch(str(column))]
    seen = ["path", "sha256"] if pictures else []
    kept = ["item", "subject", "index", "prompt_id", "status", "reason", "n_faces", *seen, *measured]
    samples = run.samples.reindex(columns=kept)
    samples["reason"] = _each(samples["reason"].fillna(""), hide)
    references = run.photos[(run.photos["role"] == "reference") & run.photos["item"].isin(items)]
    photos = references.reindex(columns=["item", "subject", "role", "path", "sha256"]) if pictures else run.photos[:0]
    return replace(
        run,
        record=_record(run, len(items), hide),
        comparable=without_paths({k: v for k, v in run.comparable.items() if k in Comparable.model_fields}),
        samples=_numbered(samples, items, people),
        items=_numbered(run.items, items, people),
        scores=run.scores.assign(note=_each(run.scores["note"], hide)),
        photos=_numbered(photos, items, people),
    )


def _record(run: Run, items: int, hide: Callable[[str], str]) -> dict[str, Any]:
    kept = {key: without_paths(run.record.get(key, {})) for key in KEPT}
    warnings = [hide(warning) for warning in run.warnings]
    return {**kept, "items": items, "warnings": warnings, "spec": public_spec(run.record["spec"])}


def numbers(names: Iterable[str], word: str) -> dict[str, str]:
    """A numbered word for each distinct name, in the order in which they come.

    >>> numbers(["bob", "ann", "bob"], "item")
    {'bob': 'item 0001', 'ann': 'item 0002'}
    """
    return {name: f"{word} {number:04d}" for number, name in enumerate(dict.fromkeys(names), 1)}


def _numbered(frame: pd.DataFrame, items: Mapping[str, str], people: Mapping[str, str]) -> pd.DataFrame:
    """The table with numbers for names; the left-out groups of a jackknife have no name to hide."""
    return frame.assign(
        item=[items.get(name, name if _is_group(name) else "") for name in frame["item"]],
        subject=[people.get(name, name if _is_group(name) else "") for name in frame["subject"]],
    )


def _is_group(name: str) -> bool:
    return re.fullmatch(r"without group \d+", name) is not None


def hider(run: Run) -> Callable[[str], str]:
    """A function that takes names of people and places of files out of a text.

    Folders may have spaces in their names: what follows the beginning of a path goes up to the next quote or comma.
    """
    names = {str(n) for c in ("item", "subject", "image") if c in run.photos for n in run.photos[c] if len(str(n)) > 2}
    words = re.compile("|".join(re.escape(text) for text in sorted(names, key=len, reverse=True)) or "(?!)")
    return lambda text: words.sub("(name)", _PATH_AND_REST.sub("(path)", text))


def _each(texts: pd.Series, change: Callable[[str], str]) -> list[str]:
    changed = {text: change(text) for text in dict.fromkeys(texts)}
    return [changed[text] for text in texts]


def public_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The specification without places: a file keeps its own name, folders on this machine go."""
    plain = {key: _part(value, _GROUPS.get(key, "")) for key, value in spec.items() if key != "evaluator"}
    evaluator = {key: _parts(value, _GROUPS.get(key, "")) for key, value in spec.get("evaluator", {}).items()}
    return {key: value for key, value in {**plain, "evaluator": evaluator}.items() if key not in ("out", "weights_dir")}


def _parts(value: Any, group: str) -> Any:
    several = isinstance(value, Mapping) and "options" not in value
    return {name: _part(part, group) for name, part in value.items()} if several else _part(value, group)


def _part(value: Any, group: str) -> Any:
    """A part with its options: fields that are paths keep the last name, if it is a file's."""
    if not group or not isinstance(value, Mapping) or "options" not in value:
        return without_paths(value)
    paths = _path_fields(group, value["name"], value["options"])
    kept = {name: _last(option) if name in paths else option for name, option in value["options"].items()}
    return without_paths({**value, "options": kept})


def _path_fields(group: str, name: str, options: Mapping[str, Any]) -> set[str]:
    """Options that are paths by their declared type; of a part that is not installed here, whatever has a slash."""
    if name not in registry.targets(group):
        return {key for key, value in options.items() if isinstance(value, str) and re.search(r"[\\/]", value)}
    declared = registry.get(group, name).Options.model_fields
    return {key for key in options if key in declared and _is_path(declared[key].annotation)}


def _is_path(annotation: Any) -> bool:
    return annotation is Path or Path in get_args(annotation)


def _last(value: Any) -> Any:
    """The name of a file; a folder's name may be a person's, or the user's."""
    if value is None:
        return None
    return PurePath(str(value)).name if PurePath(str(value)).suffix else "(path)"


def without_paths(value: Any) -> Any:
    """The value with every path in its texts replaced by the last name in it.

    >>> without_paths({"a": ["--to=/home/ann/x.png", "https://arxiv.org/abs/1", "and/or"], "b": 1})
    {'a': ['--to=x.png', 'https://arxiv.org/abs/1', 'and/or'], 'b': 1}
    """
    if isinstance(value, str):
        return _PATH.sub(lambda found: re.split(r"[\\/]", found[0].rstrip("\\/"))[-1], value)
    if isinstance(value, Mapping):
        return {str(key): without_paths(inner) for key, inner in value.items()}
    return [without_paths(inner) for inner in value] if isinstance(value, (list, tuple)) else value
