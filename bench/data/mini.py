"""Dataset `mini`: people of the embedded world, rendered when they are first needed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import Field

from bench.data.folder import layout
from bench.data.photos import look
from bench.identity import IDENTITY, RECORDED, Spec
from bench.store import locked


class MiniOptions(Spec):
    """How many people and images there are.

    Attributes:
        root: where the images are kept.
        subjects: people.
        targets: further images of each.
        size: side of an image in pixels.
        redistributable: whether its images may be shown to others.
        licence: of the images.
    """

    root: Annotated[Path, RECORDED]
    subjects: Annotated[int, IDENTITY, Field(ge=1)] = 16
    targets: Annotated[int, IDENTITY, Field(ge=0)] = 5
    size: Annotated[int, IDENTITY, Field(ge=64)] = 256
    redistributable: Annotated[bool, RECORDED] = True
    licence: Annotated[str, RECORDED] = "MIT; no photograph went into it"


class Mini:
    """The embedded world's dataset: a reference and some targets of each subject, none seen in any training."""

    Options: ClassVar[type[Spec]] = MiniOptions

    def __init__(self, options: MiniOptions) -> None:
        self._options = options

    def photos(self) -> pd.DataFrame:
        """Return the table of photos (`bench.data.photos`); render them into `root` where they are not there yet."""
        options = self._options
        root = options.root / f"{options.subjects}x{1 + options.targets}-{options.size}"
        with locked(options.root):
            _render(root, options)
        return look(root, layout(root))


def _render(root: Path, options: MiniOptions) -> None:
    """Make the images next to `root` and move them there when they are whole."""
    from bench.mini.dataset import TRUTH, make

    if (root / TRUTH).exists():
        return
    unfinished = root.with_name(f".{root.name}")
    for folder in (unfinished, root):
        shutil.rmtree(folder, ignore_errors=True)
    make(unfinished, options.subjects, options.targets, options.size)
    unfinished.rename(root)
