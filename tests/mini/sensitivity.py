"""How much each open choice moves the numbers: `python -m tests.mini.sensitivity docs/metrics [--table FILE]`.

Measures other photos of the same people (`method=real`) under the protocol's own choices, then with one choice changed
at a time: on the embedded world with its networks, and on the real photographs of ../shared with the small real
networks there. Writes the tables into the pages, between two marks. Takes some minutes; with `--table` what was
measured is kept in a CSV and read from it where it is there.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pandas as pd
from hydra import compose, initialize_config_dir

from bench import resources
from bench.cli.run import register_resolvers
from bench.report.frames import load_run
from bench.spec import resolve
from bench.stages.run import run_stages
from tests.shared import ROOT, SHARED

OWN = "as the protocol has it"
BEGIN, END = "<!-- python -m tests.mini.sensitivity -->\n", "<!-- end -->\n"


class World(NamedTuple):
    """A dataset with its networks, and the choices that are tried on it: what it is -> overrides."""

    title: str
    base: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]]


CROPS = {
    "512 crop by five points (facexlib)": ("protocol.views.alignment=facexlib5",),
    "FFHQ crop by way of 4096 pixels, not 1024": ("protocol.views.transform_size=4096",),
    "background kept": ("protocol.views.background=[]",),
    "background filled with grey": ("protocol.views.fill=[128,128,128]",),
    "clothes removed, too": ("protocol.views.background=[0,16]",),
    "hair, hat, neck and clothes removed, too": ("protocol.views.background=[0,14,15,16,17,18]",),
    "landmarks found again in the crop": ("protocol.views.flame_landmarks=again",),
    "FLAME crop as SMIRK's demo cuts it": ("+evaluator.extractors.flame.view=smirk224",),
    "Inception's first block (64 numbers)": (
        "evaluator.extractors.inception.dims=64", "evaluator.extractors.dinov2.dims=64",
        "evaluator.extractors.clip.dims=64",
    ),
    "half of the people": ("dataset.subjects=8",),
}  # fmt: skip
STAND_IN = "{name:inception,weights:'${package:mini/weights/inception.pth}',dims:192}"
BARE = ("~evaluator.extractors.lpips", "~evaluator.extractors.flame", "~evaluator.extractors.inception")


def worlds(scratch: Path) -> Iterator[World]:
    """The embedded world, more people of it for recognition alone, and the photographs where they are at hand."""
    out = f"out={scratch}"
    sizes = {f"detection at {n} pixels, not 256": (f"evaluator.detector.det_size=[{n},{n}]",) for n in (192, 320)}
    roles = tuple(f"+evaluator.extractors.{role}={STAND_IN}" for role in ("dinov2", "clip"))
    yield World("16 people of the embedded world", ("method=real", out, *roles), {OWN: (), **sizes, **CROPS})
    yield World("48 people of the embedded world", ("method=real", out, "dataset.subjects=48", *BARE), {OWN: ()})
    yield World("80 samples of Arc2Face of the embedded world", ("method=arc2face", out, *BARE), {OWN: ()})
    if (SHARED / "photos").is_dir():
        base = ("method=real", out, "dataset=folder", f"dataset.root={SHARED / 'photos'}", "evaluator=photos")
        longer = {f"detection at {n} pixels, not 1024": (f"+evaluator.detector.max_side={n}",) for n in (320, 640)}
        strict = {"detections above 0.99, not 0.8": ("+evaluator.detector.threshold=0.99",)}
        yield World("11 photographs of 4 people", base, {OWN: (), **longer, **strict})


def measured(world: World) -> Iterator[pd.DataFrame]:
    """All scores under each choice."""
    for choice, overrides in world.choices.items():
        with initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
            added = f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]"
            spec = resolve(compose("config", [added, *world.base, *overrides]))
        job = run_stages(spec, ("generate", "extract", "score"))
        columns = ["metric", "variant", "statistic", "value", "low", "high"]
        yield load_run(job.folder).scores[columns].assign(world=world.title, choice=choice)


RECOGNITION = ("arcface", "judge", "mobilefacenet")
DISTANCES = (("distance", "distance"),)
DIVERSITY = (("mean_items", "over items"), ("mean_pairs", "over pairs"))
NUMBERS: Mapping[str, tuple[Sequence[str], Sequence[tuple[str, str]]]] = {
    "id_similarity": (RECOGNITION, (("mean_detected", "mean"), ("detection_rate", "detected"))),
    "verification": (RECOGNITION, (("fnmr@1e-2", "FNMR at 1e-2"), ("achieved_fmr@1e-2", "FMR achieved"))),
    "retrieval": (RECOGNITION, (("rank1", "rank 1"),)),
    "within_similarity": (RECOGNITION, (("mean_items", "over items"), ("mean_pairs", "over pairs"))),
    "target_similarity": (RECOGNITION, (("mean_detected", "mean"), ("max_detected", "nearest target"))),
    "copy_paste": (RECOGNITION, (("mean_detected", "mean"),)),
    "failure_to_acquire": (("",), (("rate", "rate"),)),
    "lpips_diversity": (("lpips",), DIVERSITY),
    "copying_lpips": (("lpips_reference",), (("mean_detected", "mean"),)),
    "expression_diversity": (("flame",), DIVERSITY),
    "pose_diversity": (
        ("flame",),
        (("mean_items", "6-d"), ("global3_mean_items", "global"), ("jaw3_mean_items", "jaw"),
         ("geodesic_degrees_mean_items", "degrees")),
    ),
    "copying": (("dinov2",), (("mean_detected", "mean"),)),
    "fid": (("inception",), (("distance", "FID"), ("bias_corrected", "corrected"))),
    "fd_dinov2": (("dinov2",), DISTANCES),
    "kid": (("inception",), (("plain", "all pairs"), ("excluded", "without same subject"))),
    "cmmd": (("clip",), (*DISTANCES, ("excluded", "without same subject"))),
    "precision_recall": (("dinov2",), tuple((name, name) for name in ("precision", "recall", "density", "coverage"))),
}  # fmt: skip
"""Page -> variants and (statistic, heading) of its tables."""


def section(table: pd.DataFrame, metric: str) -> str:
    """The tables of a page: the value with its interval, then by how much each choice moves it."""
    variants, statistics = NUMBERS[metric]
    rows = table[(table["metric"] == metric) & table["value"].notna()]
    parts = []
    for title in dict.fromkeys(rows["world"]):
        known = rows[rows["world"] == title].set_index(["choice", "variant", "statistic"])
        keys = [(v, s, f"{h}, {v}" if len(variants) > 1 else h) for v in variants for s, h in statistics]
        keys = [key for key in keys if (OWN, *key[:2]) in known.index]
        if keys:
            parts.append(_world(known, title, keys))
    return "\n\n".join(parts)


def _world(known: pd.DataFrame, title: str, keys: Sequence[tuple[str, str, str]]) -> str:
    own = [known.loc[(OWN, *key[:2])] for key in keys]
    lines = [f"| {title} | {' | '.join(key[2] for key in keys)} |", "|---" * (len(keys) + 1) + "|"]
    lines.append(f"| {OWN} | {' | '.join(_with_interval(score) for score in own)} |")
    for choice in dict.fromkeys(known.index.get_level_values("choice")[1:]):
        moved = [_moved(known, (choice, *key[:2]), score["value"]) for key, score in zip(keys, own, strict=True)]
        if choice != OWN and any(cell not in ("0", "n/a") for cell in moved):
            lines.append(f"| {choice} | {' | '.join(moved)} |")
    return "\n".join(lines)


def _with_interval(score: pd.Series) -> str:
    interval = f" ({score['low']:.4g} to {score['high']:.4g})" if pd.notna(score["low"]) else ""
    return f"{score['value']:.4g}{interval}"


def _moved(known: pd.DataFrame, key: tuple[str, ...], own: float) -> str:
    if key not in known.index:
        return "n/a"
    change = known.loc[key, "value"] - own
    return "0" if abs(change) < 5e-7 * max(1.0, abs(own)) else f"{change:+.2g}"


def insert(page: Path, text: str) -> None:
    """Puts the tables between the page's two marks."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    assert mark, f"{page} lacks the line {BEGIN}"
    page.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mini.sensitivity", description=__doc__)
    parser.add_argument("pages", type=Path)
    parser.add_argument("--table", type=Path)
    chosen = parser.parse_args()
    register_resolvers()
    if chosen.table and chosen.table.exists():
        missing = {column: [""] for column in ("value", "low", "high")}
        table = pd.read_csv(chosen.table, keep_default_na=False, na_values=missing)
    else:
        with TemporaryDirectory(prefix="sensitivity-") as scratch:
            table = pd.concat([part for world in worlds(Path(scratch)) for part in measured(world)])
    if chosen.table:
        table.to_csv(chosen.table, index=False)
    for metric in NUMBERS:
        insert(chosen.pages / f"{metric}.md", section(table, metric))


if __name__ == "__main__":
    main()
