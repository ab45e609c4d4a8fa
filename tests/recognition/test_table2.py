"""Table 2 in miniature: from rendered people to the table, stopped on the way and resumed to the same numbers."""

import pytest

from bench.cli.configured import composed
from bench.experiment import run
from bench.recognition import figures, table2, training
from bench.store import read_table

SMALL = [
    "experiment=table2", "method.steps=2", "method.batch=4", "table2.world.fit_people=12", "table2.world.fit_images=1",
    "table2.world.real_people=6", "table2.world.real_images=4", "table2.world.test_people=20", "table2.world.pairs=20",
    "table2.sample.groups=[[6,4]]", "table2.sample.candidates=60", "table2.faceset.shard=3", "table2.recipe.batch=8",
    "table2.recipe.epochs=2", "table2.recipe.schedule.milestones=[1]", "table2.train.test_every=0", "table2.seeds=[0]",
    "protocol.faces.scales=single", "execution.workers=1",
]  # fmt: skip
STAGES = ("generate", "extract", "score", "report")


class Stop(Exception):
    pass


def small(out, *more):
    return composed("config", [*SMALL, f"out={out}", *more])


def stopped(name, calls, monkeypatch, module):
    """Makes a function raise at one of its calls."""
    whole, seen = getattr(module, name), []

    def stops(*arguments, **named):
        seen.append(name)
        if len(seen) == calls:
            raise Stop
        return whole(*arguments, **named)

    monkeypatch.setattr(module, name, stops)


@pytest.mark.slow
def test_stopped_anywhere_it_ends_with_the_same_table(tmp_path, monkeypatch):
    # Figures take longer than the trainings here, and have tests of their own.
    monkeypatch.setattr(figures, "write_log", lambda *_: None)
    for name, calls, module in (("_step", 2, training), ("_fit", 1, table2), ("evaluate", 4, table2)):
        with monkeypatch.context() as patch:
            stopped(name, calls, patch, module)
            with pytest.raises(Stop):
                run(small(tmp_path / "stopped"), STAGES)
    run(small(tmp_path / "stopped"), STAGES)
    # What was rendered in one go is shared; what the stops interrupted, and what follows from it, is made anew.
    [real] = (tmp_path / "stopped/table2/sets").glob("real-*")
    [fit], [pairs] = ((tmp_path / "stopped/table2").glob(f"{name}-*") for name in ("fit", "pairs"))
    run(small(tmp_path / "whole", f"table2.pairs={pairs}", f"table2.real={real}", f"table2.fit={fit}"), STAGES)
    one, other = (tmp_path / name / "table2/report" for name in ("stopped", "whole"))
    assert read_table(one / "results.parquet").equals(read_table(other / "results.parquet"))
    assert (one / "table2.md").read_bytes() == (other / "table2.md").read_bytes()
    assert set(read_table(one / "results.parquet")["row"]) == {"untrained", "real", "arc2face"}
    assert "Published" in (one / "index.html").read_text()
    assert r"\begin{tabular}" in (one / "table2.tex").read_text()
