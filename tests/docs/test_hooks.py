"""The generated pages: every option in words, its type readable, every field of a protocol with its value."""

import doctest
from typing import Annotated, Literal

from pydantic import Field

from bench import registry, resources
from bench.identity import IDENTITY, Spec
from bench.spec import Protocol


class Colour(Spec):
    """A colour.

    Attributes:
        level: of channels,
            red first.
        name: one of <three>.
    """

    level: Annotated[tuple[Annotated[int, Field(ge=0, le=9)], ...], IDENTITY] = (0,)
    name: Annotated[Literal["red", "green", "blue"] | None, IDENTITY] = None


class Mixed(Colour):
    """A colour with a share.

    Attributes:
        share: of it.
    """

    share: Annotated[float, Field(gt=0), IDENTITY]


def specs(hooks):
    """Every spec that the page on configuration has a table of, by its heading."""
    yield from hooks.OUTER
    for plural in hooks.GROUPS:
        yield from ((name, registry.get(plural, name).Options) for name in registry.entries(plural))


def test_examples(hooks):
    assert doctest.testmod(hooks).failed == 0


def test_an_option_is_a_row_of_words(hooks):
    assert hooks.options(Mixed).splitlines()[2:] == [
        "| `level` | of channels, red first. | list of whole numbers, at least 0 and at most 9 | `[0]` | identity |",
        "| `name` | one of &lt;three&gt;. | `red`, `green` or `blue`, or `null` | `null` | identity |",
        "| `share` | of it. | number, more than 0 | required | identity |",
    ]


def test_no_type_is_printed_as_an_annotation(hooks):
    page = hooks.configuration_page()
    assert [
        word for word in ("Annotated", "FieldInfo", "metadata=", "NoneType", "Literal[", "tuple[") if word in page
    ] == []


def test_every_option_has_words(hooks):
    silent = [
        f"{where}.{name}"
        for where, spec in specs(hooks)
        for name in spec.model_fields
        if name not in hooks.meanings(spec)
    ]
    assert silent == []


def test_every_choice_begins_with_a_comment(hooks):
    conf = resources.folder("conf")
    assert [
        path.name for path in conf.glob("*/**/*.yaml") if not path.read_text(encoding="utf-8").startswith("#")
    ] == []


def test_the_page_of_protocols_lists_every_field_with_its_value(hooks):
    page = hooks.protocols_page()
    for path in (resources.folder("conf") / "protocol").glob("*.yaml"):
        protocol = Protocol.model_validate(hooks.read_yaml(path))
        rows = [(f"protocol.{name}", value) for name, value in protocol if name not in ("faces", "views")]
        rows += [(f"protocol.faces.{name}", value) for name, value in protocol.faces]
        rows += [(f"protocol.views.{name}", value) for name, value in protocol.views]
        assert [name for name, value in rows if f"| `{name}` | {hooks.written(value)} |" not in page] == []


def test_the_page_of_protocols_says_what_a_profile_changes(hooks):
    assert "- `profile=mini`: `protocol.views.transform_size=1024`" in hooks.protocols_page().splitlines()
