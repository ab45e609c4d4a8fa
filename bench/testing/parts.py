"""What every part with options promises: its fields are marked, its import is light, a missing file is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from bench.errors import UserError
from bench.identity import CONTENT, IDENTITY, Spec, mark_of
from bench.runtime import Runtime

HEAVY = ("torch", "diffusers", "transformers", "onnxruntime", "insightface", "matplotlib")
"""Packages that take seconds to import: a module of a part imports them inside functions."""


def on_a_cpu(part: Any, options: Any) -> Any:
    """Return a method or an extractor, made as a run on a CPU makes it."""
    return part(options, Runtime())


def made_by_options(part: Any, options: Any) -> Any:
    """Return a dataset or a source of conditions, which are made from their options alone."""
    return part(options)


@dataclass(eq=False)
class PartUnderTest:
    """A part, and the options that it is tested with.

    Attributes:
        part: the class that is registered.
        values: of its options.
        load: (class, options) -> the part.
    """

    part: Any
    values: Mapping[str, Any]
    load: Callable[[Any, Any], Any] = on_a_cpu

    @cached_property
    def options(self) -> Any:
        """The options."""
        return self.part.Options(**self.values)

    @cached_property
    def made(self) -> Any:
        """The part, made once."""
        return self.make()

    def make(self) -> Any:
        """Return the part, made anew."""
        return self.load(self.part, self.options)


def declares_its_options(tested: PartUnderTest) -> None:
    """Assert that every option says whether it changes results, and that no path enters an identity by its name."""
    options = tested.part.Options
    assert issubclass(options, Spec), "Options must be a bench.identity.Spec"
    for name, field in options.model_fields.items():
        mark = mark_of(options, name)
        is_path = Path in (field.annotation, *get_args(field.annotation))
        assert not (is_path and mark is IDENTITY), f"{name} is a path: mark it CONTENT (its bytes count) or RECORDED"


def has_a_version(tested: PartUnderTest) -> None:
    """Assert that a version, where one is declared, is a whole number from 1: another one is another run."""
    version = getattr(tested.part, "version", 1)
    assert type(version) is int
    assert version >= 1


def imports_nothing_heavy(tested: PartUnderTest) -> None:
    """Assert that importing its module loads no heavy package: `--help` and `ls` import it, too."""
    assert heavy_imports(tested.part.__module__) == [], "import it inside the function that uses it"


def heavy_imports(*modules: str) -> list[str]:
    """Return the heavy packages that a fresh Python has loaded after importing some modules."""
    names = "".join(f"import {name}; " for name in modules)
    code = f"import sys; sys.path[:] = {sys.path!r}; {names}print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def names_a_missing_file(tested: PartUnderTest) -> None:
    """Assert that an option that names a file which is not there is a `UserError` that names it, too."""
    missing = Path("no") / "such" / "file"
    for name in tested.part.Options.model_fields:
        is_given = getattr(tested.options, name) is not None
        if is_given and mark_of(tested.part.Options, name) is CONTENT:
            complaint = _complaint(replace(tested, values={**tested.values, name: missing}))
            assert str(missing) in complaint, f"{name} names no file; the error must name it: {complaint or 'nothing'}"


def _complaint(tested: PartUnderTest) -> str:
    """Return the words of the error with which a part refuses its options; "" where it takes them."""
    try:
        tested.make()
    except UserError as error:
        return str(error)
    return ""
