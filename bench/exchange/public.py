"""A run without people: names become numbers, and only what is listed here leaves the machine.

A field that nobody thought of stays behind: what goes out is named, or has a type that cannot hold a name, a place or a
secret (numbers, truth values, one of a few declared words).
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, Union, get_args, get_origin

import pandas as pd

from bench import registry
from bench.exchange.schema import PER_SAMPLE, REFERENCES, TARGETS, USABLE, Comparable
from bench.report.frames import Run
from bench.sample_files import PLACE
from bench.store import read_table

IDENTITIES = ("id", "method", "dataset", "content")
"""Fields of `run.json` that go out as they are."""
ENVIRONMENT = ("python", "platform", "processor", "packages", "commit", "dirty")
EXECUTION = ("device", "workers", "threads", "shard_size")
TEXTS = frozenset({"recogniser", "class_word", "negative_prompt", "view", "trained_on", "licence", "version"})
"""Options whose text goes out; the text of every other option stays."""
_GROUPS = {"method": "methods", "dataset": "datasets", "detector": "detectors", "landmarker": "landmarkers"}
_GROUPS |= {"parser": "parsers", "recognisers": "extractors", "extractors": "extractors"}
_PATH = re.compile(r"(?<![\w/:.\-])(?:file:/*|~|\.{1,2}|[A-Za-z]:)?[\\/][^'\",;\n]*")
"""Anything that begins like the path of a file, up to the next quote or comma; the address of a site does not."""
_SHORT = 3
"""Names of at most so many characters are hidden only where they are whole words."""


def public(run: Run, *, pictures: bool) -> Run:
    """Return the run as others may see it.

    Items and subjects are numbered in the order of the list. Seeds, hashes, boxes, key points, group columns and the
    texts of reasons go: each of them would let somebody who has the photos find out who is who. With `pictures`, paths
    and hashes of samples and references stay, so that thumbnails can be made of them.
    """
    items = numbers(run.samples["item"], "item")
    people = numbers(run.samples["subject"], "person")
    hide = hider(run)
    measured = [column for column in run.samples.columns if PER_SAMPLE.fullmatch(str(column))]
    seen = [name for name in (*PLACE, "sha256") if name in run.samples] if pictures else []
    samples = run.samples[["item", "subject", "index", "prompt_id", "status", "n_faces", *seen, *measured]]
    references = run.photos[(run.photos["role"] == "reference") & run.photos["item"].isin(items)]
    photos = references.reindex(columns=["item", "subject", "role", "path", "sha256"]) if pictures else run.photos[:0]
    return replace(
        run,
        record=_record(run, len(items), hide),
        comparable={key: value for key, value in run.comparable.items() if key in Comparable.model_fields},
        samples=_numbered(samples, items, people).assign(reason=""),
        items=_numbered(run.items, items, people),
        scores=_scores(run.scores, hide),
        photos=_numbered(photos, items, people),
    )


def public_references(run: Run) -> pd.DataFrame:
    """Return the run's table of references with numbers for names: status, and what each network found."""
    table = read_table(run.folder / "scores" / "references.parquet")
    found = [c for c in table if (match := PER_SAMPLE.fullmatch(str(c))) and match["metric"] in (USABLE, TARGETS)]
    items = numbers(run.samples["item"], "item")
    people = numbers(run.samples["subject"], "person")
    known = table[table["item"].isin(items)]
    return _numbered(known[[*REFERENCES, *found]], items, people)


def _scores(scores: pd.DataFrame, hide: Callable[[str], str]) -> pd.DataFrame:
    """Return the scores without the notes of other packages' metrics, and without a member that names somebody."""
    ours = scores["metric"].isin(registry.BUILT_IN["metrics"])
    return scores.assign(note=_each(scores["note"].where(ours, ""), hide), member=_each(scores["member"], hide))


def _record(run: Run, items: int, hide: Callable[[str], str]) -> dict[str, Any]:
    record = run.record
    return {
        **{key: record[key] for key in IDENTITIES},
        "items": items,
        "warnings": [hide(warning) for warning in run.warnings],
        "weights": _hashes(record.get("weights", {})),
        "environment": {k: record["environment"][k] for k in ENVIRONMENT if k in record.get("environment", {})},
        "spec": public_spec(record["spec"]) | {"protocol": run.comparable["protocol"]},
    }


def _hashes(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The sha256 of weights, by option; of a folder's parts one each."""
    found: dict[str, Any] = {}
    for name, value in weights.items():
        if isinstance(value, Mapping):
            found[name] = _hashes(value)
        elif isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
            found[name] = value
    return found


def numbers(names: Iterable[str], word: str) -> dict[str, str]:
    """Return a numbered word for each distinct name, in the order in which they come.

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
    """Return a function that takes names of people and places of files out of a text, whatever their case."""
    columns = [column for column in ("item", "subject", "listed_subject", "image") if column in run.photos]
    names = {str(name) for column in columns for name in run.photos[column] if str(name)}
    patterns = [_pattern(name) for name in sorted(names, key=len, reverse=True)]
    words = re.compile("|".join(patterns) or "(?!)", re.IGNORECASE)
    return lambda text: words.sub("(name)", _PATH.sub("(path)", text))


def _pattern(name: str) -> str:
    text = re.escape(name)
    return text if len(name) > _SHORT else rf"(?<!\w){text}(?!\w)"


def _each(texts: pd.Series, change: Callable[[str], str]) -> list[str]:
    changed = {text: change(text) for text in dict.fromkeys(texts)}
    return [changed[text] for text in texts]


def public_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the specification without places and texts that nobody declared public."""
    method = spec["method"]
    evaluator = spec.get("evaluator", {})
    execution = spec.get("execution", {})
    return {
        "method": {**_part(method, "methods"), "card": method.get("card", {})},
        "dataset": {**_part(spec["dataset"], "datasets"), "label": spec["dataset"].get("label", "")},
        "evaluator": {
            **{key: _parts(evaluator[key], group) for key, group in _GROUPS.items() if evaluator.get(key)},
            **{key: evaluator[key] for key in ("name", "only_for", "licences") if key in evaluator},
        },
        "execution": {key: execution[key] for key in EXECUTION if key in execution},
        "profile": spec.get("profile", ""),
    }


def _parts(value: Mapping[str, Any], group: str) -> dict[str, Any]:
    several = "options" not in value
    return {name: _part(part, group) for name, part in value.items()} if several else _part(value, group)


def _part(value: Mapping[str, Any], group: str) -> dict[str, Any]:
    """A part with those of its options that may go out; of a part that is not installed here, its name alone."""
    name, options = value["name"], value.get("options", {})
    part = registry.find(group, name)
    declared = part.Options.model_fields if part else {}
    kept = {k: v for k, v in options.items() if k in declared and (k in TEXTS or _is_plain(declared[k].annotation))}
    return {"name": name, "options": kept}


def _is_plain(annotation: Any) -> bool:
    """Whether a value of this type cannot hold a name, a place or a secret.

    >>> _is_plain(int | None), _is_plain(Literal["a", "b"]), _is_plain(tuple[float, ...]), _is_plain(str)
    (True, True, True, False)
    """
    if annotation in (int, float, bool, type(None), Ellipsis):
        return True
    origin = get_origin(annotation)
    if origin is Literal:
        return True
    if origin in (Union, types.UnionType, tuple, list, frozenset):
        return all(map(_is_plain, get_args(annotation)))
    return bool(getattr(annotation, "__metadata__", ())) and _is_plain(get_args(annotation)[0])
