"""All that compiled code needs to know about one head."""

from __future__ import annotations

from typing import NamedTuple

from bench.mini.world.hair import Hairline, hairline
from bench.mini.world.palette import Palette, palette
from bench.mini.world.parameters import Expression, Floats, Identity, record
from bench.mini.world.surface import Chart, chart


class Head(NamedTuple):
    """One head at rest in its own space: parameters under their names, and what follows from them.

    Attributes:
        identity: who.
        expression: what the face does.
        chart: outlines of what is painted on the skin.
        palette: colours.
        hair: where the hair ends.
    """

    identity: Identity
    expression: Expression
    chart: Chart
    palette: Palette
    hair: Hairline


def head(identity: Floats, expression: Floats) -> Head:
    """Return the head of one row of identity and one row of expression parameters."""
    i, e = Identity(*identity.tolist()), Expression(*expression.tolist())
    return Head(record(i), record(e), record(chart(i)), record(palette(i)), record(hairline(i)))
