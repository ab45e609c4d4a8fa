"""What a result's identity is made of: every field of every spec says whether it is part of it.

A field is annotated with one of three marks. `IDENTITY`: its value changes samples or numbers and is
hashed. `CONTENT`: a path whose *bytes* are hashed, never its name. `RECORDED`: it is written into the
run and never hashed (device, batch size, workers, memory layout, where a file lies). A field without
a mark is an error, so that a new one cannot slip in undecided.

A field that comes when runs exist already is annotated with `ADDED`, too. It enters an identity only where its
value differs from its default, so that the identities of the runs that exist do not change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict

VERSION = 1
"""Version of the computation below; part of every identity."""


class Mark(Enum):
    """How a field of a spec enters an identity."""

    IDENTITY = "identity"
    CONTENT = "content"
    RECORDED = "recorded"


IDENTITY, CONTENT, RECORDED = Mark.IDENTITY, Mark.CONTENT, Mark.RECORDED

WeightFile = Annotated[Path, CONTENT]
"""A file (or folder) of weights: where it lies is recorded, its bytes are part of the identity."""


class Added(Enum):
    """Next to `IDENTITY` or `CONTENT`: the field enters an identity only where its value is not its default.

    Every field that is added to a spec of which results exist gets it. The default then means what the program did
    before it had the field.
    """

    ADDED = "added"


ADDED = Added.ADDED


@dataclass(frozen=True)
class Inside:
    """Next to `CONTENT`: only these files or folders inside the path are read, so only their bytes are hashed.

    Two methods may share one folder: what is added to it for one must not change the results' identity of the other.

    Attributes:
        names: of the files or folders.
    """

    names: tuple[str, ...]


Parts = Inside
"""The former name of `Inside`; goes with the next version."""


class Spec(BaseModel):
    """A frozen record of settings in which unknown keys are errors and every field has a mark."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def mark_of(model: type[BaseModel], field: str) -> Mark:
    """Return the mark of a field.

    Raises:
        TypeError: the field has none; its declaration must be fixed.
    """
    marks = [m for m in model.model_fields[field].metadata if isinstance(m, Mark)]
    if len(marks) != 1:
        raise TypeError(f"{model.__name__}.{field} needs exactly one of IDENTITY, CONTENT, RECORDED")
    return marks[0]


def identity(spec: BaseModel, only: Collection[str] | None = None) -> dict[str, Any]:
    """Return what of a spec (or of the fields `only`) changes results, as plain JSON types; files by sha256."""
    return dict(_identified(spec, type(spec).model_fields if only is None else only))


def _identified(spec: BaseModel, names: Collection[str]) -> Iterator[tuple[str, Any]]:
    for name in names:
        mark, value = mark_of(type(spec), name), getattr(spec, name)
        if mark is Mark.RECORDED or _is_as_before(type(spec), name, value):
            continue
        yield name, _content(value, _names(type(spec), name)) if mark is Mark.CONTENT else _plain(value)


def _is_as_before(model: type[BaseModel], field: str, value: Any) -> bool:
    """Return whether a field was added and has its default, which leaves identities as they were without it."""
    info = model.model_fields[field]
    return ADDED in info.metadata and bool(value == info.get_default(call_default_factory=True))


def _names(model: type[BaseModel], field: str) -> tuple[str, ...]:
    return tuple(n for m in model.model_fields[field].metadata if isinstance(m, Inside) for n in m.names)


def _content(value: Path | None, names: tuple[str, ...]) -> str | dict[str, str] | None:
    from bench.hashing import sha256_path

    if value is None:
        return None
    # A missing file is the loader's error, with a better message; where all are missing there is nothing to hash.
    found = {name: sha256_path(value / name) for name in names if (value / name).exists()}
    return found or sha256_path(value)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return identity(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (frozenset, set)):
        return sorted(_plain(v) for v in value)
    return value.value if isinstance(value, Enum) else value


def files(spec: BaseModel) -> Iterator[Path]:
    """Yield every file or folder whose bytes are part of the identity of a spec or of the specs in it."""
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if mark_of(type(spec), name) is Mark.CONTENT:
            yield from [] if value is None else [value]
        else:
            for inner in value.values() if isinstance(value, Mapping) else [value]:
                yield from files(inner) if isinstance(inner, BaseModel) else ()


def weights(spec: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return the sha256 of every file or folder that `files` yields, by its field's dotted name.

    Where only some files inside a folder are read, each has its own.
    """
    found: dict[str, Any] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if mark_of(type(spec), name) is Mark.CONTENT:
            found |= {} if value is None else {f"{prefix}{name}": _content(value, _names(type(spec), name))}
        else:
            named = value.items() if isinstance(value, Mapping) else [("", value)]
            for key, inner in named:
                place = ".".join(filter(None, (f"{prefix}{name}", str(key))))
                found |= weights(inner, f"{place}.") if isinstance(inner, BaseModel) else {}
    return found


def digest(values: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) of a mapping of plain JSON types, independent of the order of its keys.

    >>> digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    True
    """
    text = json.dumps({"version": VERSION, **values}, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
