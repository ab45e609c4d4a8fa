"""The figure of a fit: explained variance, and how well few components rebuild an embedding (the paper's Fig. 8)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bench.identities.pca import Pca
from bench.report.figures import COLOURS, legend, new, save


def write_variance(pca: Pca, rebuilt: pd.DataFrame, path: Path) -> None:
    """Write the cumulative variance and the mean cosine of reconstructions over the number of components.

    Args:
        pca: the fit.
        rebuilt: as `bench.identities.fitting.rebuilding` gives it.
        path: of the PNG and the PDF, without the ending.
    """
    figure, axes = new((5.2, 3.4))
    number = np.arange(1, pca.width + 1)
    [variance] = axes.plot(number, pca.cumulative, color=COLOURS[0])
    [cosine] = axes.plot(rebuilt["kept"], rebuilt["mean"], color=COLOURS[5], marker="o", markersize=3)
    axes.fill_between(rebuilt["kept"], rebuilt["q05"], rebuilt["mean"], color=COLOURS[5], alpha=0.15, linewidth=0)
    axes.set(xlabel="components", ylim=(0, 1.02), xlim=(1, pca.width))
    lines = [(variance, "explained variance"), (cosine, "cosine of the reconstruction (mean, lowest 5 %)")]
    legend(axes, lines)
    save(figure, path)
