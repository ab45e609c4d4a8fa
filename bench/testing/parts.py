"""What every part with options promises: its fields are marked, its import is light, a missing file is named."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from bench.errors import UserError
from bench.identity import CONTENT, IDENTITY, Spec, mark_of
from bench.runtime import Runtime

HEAVY = ("torch", "diffusers", "transformers", "onnxruntime", "insightface", "matplotlib")
"""Packages that take seconds to import: a module of a part imports them inside functions."""


@dataclass(eq=False)
class PartUnderTest:
    """A part, and the options that it is tested with.

    Attributes:
        part: the class that is registered.
        values: of its options.
    """

    part: Any
    values: Mapping[str, Any]

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
        return self.part(self.options, Runtime())


def declares_its_options(tested: PartUnderTest) -> None:
    """Assert that every option says whether it changes results, and that no path enters an identity by its name."""
    options = tested.part.Options
    assert issubclass(options, Spec), "Options must be a bench.identity.Spec"
    for name, field in options.model_fields.items():
        mark = mark_of(options, name)
        is_path = Path in (field.annotation, *get_args(field.annotation))
        assert not (is_path and mark is IDENTITY), f"{name} is a path: mark it CONTENT (its bytes count) or RECORDED"


def imports_nothing_heavy(tested: PartUnderTest) -> None:
    """Assert that importing its module loads no heavy package: `--help` and `ls` import it, too."""
    module = inspect.getmodule(tested.part)
    assert module is not None
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import {module.__name__}; "
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [], "import it inside the function that uses it"


def names_a_missing_file(tested: PartUnderTest) -> None:
    """Assert that an option of a file that is not there is a `UserError` that names it."""
    missing = Path("no") / "such" / "file"
    for name in tested.part.Options.model_fields:
        if mark_of(tested.part.Options, name) is CONTENT:
            wrong = PartUnderTest(tested.part, {**tested.values, name: missing})
            try:
                wrong.make()
            except UserError as error:
                assert str(missing) in str(error), f"the message must name the file: {error}"
            else:
                raise AssertionError(f"{name} names no file, and nothing was said")
