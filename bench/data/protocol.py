"""The Dataset protocol: a list, and the photos that it names."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import pandas as pd

from bench.identity import Spec


class Dataset(Protocol):
    """A plain class; nothing is inherited. Its options never enter an identity by paths: the photos do, by content.

    It may have a method `remarks()` that returns lines on files and folders of its that give no photo.
    """

    Options: ClassVar[type[Spec]]

    def __init__(self, options: Any) -> None:
        """Keep the options; read nothing yet."""

    def photos(self) -> pd.DataFrame:
        """Return the table of photos, as `bench.data.photos` describes it; raise `UserError` where nothing can be used.

        Its rows come in one order, whatever the file system's.
        """
