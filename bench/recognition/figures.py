"""The figure of a training's log."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bench.report.figures import COLOURS, GREY, legend, new, save


def write_log(log: pd.DataFrame, path: Path) -> None:
    """Write loss and learning rate over the epochs, and the accuracy on each set where it was tested.

    Args:
        log: columns step, epoch, loss, rate, and one a set.
        path: of the PNG and the PDF, without the ending.
    """
    figure, axes = new((6.4, 3.6))
    [loss] = axes.plot(log["epoch"], log["loss"], color=COLOURS[0])
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    right = axes.twinx()
    [rate] = right.plot(log["epoch"], log["rate"] / log["rate"].max(), color=GREY, linestyle=":", linewidth=1)
    right.set(ylabel="accuracy; share of the highest rate", ylim=(0, 1.02))
    lines = [(loss, "loss"), (rate, "learning rate")]
    for number, name in enumerate(log.columns[4:]):
        tested = log.dropna(subset=[name])
        [line] = right.plot(tested["epoch"], tested[name], color=COLOURS[1 + number % 7], marker="o", markersize=3)
        lines.append((line, str(name)))
    legend(axes, lines)
    save(figure, path)
