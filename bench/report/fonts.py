"""The font of figures: matplotlib's own DejaVu Sans, without the tables that make it slow to embed in a PDF."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path

from bench.store import write_atomic
from bench.version import __version__

NAME = "Figure Sans"
LAYOUT = ("FFTM", "GDEF", "GPOS", "GSUB")
"""Tables that matplotlib never reads, but that are parsed for each PDF."""

_NAMES = {1: NAME, 2: "Regular", 4: NAME, 6: NAME.replace(" ", ""), 16: NAME, 17: "Regular"}
"""Number in the table of names -> family, style, full name, PostScript's name, family and style again."""


@lru_cache(maxsize=1)
def family() -> str:
    """Return the name of the figures' font. Matplotlib's cache keeps it, once for each pair of versions."""
    import matplotlib
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    path = Path(matplotlib.get_cachedir()) / f"idbench-{__version__}-matplotlib-{matplotlib.__version__}.ttf"
    if not path.exists():
        write_atomic(path, _without_layout(findfont(FontProperties(["DejaVu Sans"]))))
    fontManager.addfont(path)
    return NAME


def _without_layout(source: str) -> bytes:
    """Return a TrueType font without `LAYOUT`, under `NAME`."""
    from fontTools.ttLib import TTFont

    font, sink = TTFont(source), BytesIO()
    for table in LAYOUT:
        if table in font:
            del font[table]
    for number, name in _NAMES.items():
        font["name"].setName(name, number, 3, 1, 0x409)
        font["name"].setName(name, number, 1, 0, 0)
    font.save(sink)
    return sink.getvalue()
