"""How much each open choice of the protocol moves the numbers: `python -m tests.mini.sensitivity --out docs/metrics`.

Other photos of the people of the embedded world (`method=real`) are measured under the protocol's own choices, then
with one choice changed at a time; the pictures stay the same.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from hydra import compose, initialize_config_dir

from bench import resources
from bench.app import register_resolvers
from bench.report.frames import load_run
from bench.spec import resolve
from bench.stages.run import run_stages

CHOICES: Mapping[str, tuple[str, ...]] = {
    "as the protocol has it": (),
    "512 crop by five points (facexlib)": ("protocol.views.alignment=facexlib5",),
    "FFHQ by way of 1024 pixels, not 4096": ("protocol.views.transform_size=1024",),
    "background kept": ("protocol.views.background=[]",),
    "background filled with grey": ("protocol.views.fill=[128,128,128]",),
    "clothes removed, too": ("protocol.views.background=[0,16]",),
    "hair, neck and clothes removed, too": ("protocol.views.background=[0,14,15,16,17,18]",),
    "landmarks found again in the crop": ("protocol.views.flame_landmarks=again",),
    "detection at 192 pixels": ("evaluator.detector.det_size=[192,192]",),
    "detection at 320 pixels": ("evaluator.detector.det_size=[320,320]",),
}
NUMBERS: Mapping[str, tuple[str, str, str]] = {
    "ID similarity (arcface)": ("id_similarity", "arcface", "mean_detected"),
    "ID similarity (judge)": ("id_similarity", "judge", "mean_detected"),
    "LPIPS diversity": ("lpips_diversity", "lpips", "mean_items"),
    "Exp. diversity": ("expression_diversity", "flame", "mean_items"),
    "Pose diversity, degrees": ("pose_diversity", "flame", "geodesic_degrees_mean_items"),
    "FID": ("fid", "inception", "distance"),
}


def measured(out: Path, people: int, choice: tuple[str, ...]) -> pd.DataFrame:
    """The rows of `NUMBERS` under a choice: value, low, high."""
    register_resolvers()
    with initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
        spec = resolve(compose("config", ["method=real", f"dataset.subjects={people}", f"out={out}", *choice]))
    job = run_stages(spec, ("generate", "extract", "score"))
    scores = load_run(job.folder).scores.set_index(["metric", "variant", "statistic"])
    return pd.DataFrame({name: scores.loc[key, ["value", "low", "high"]] for name, key in NUMBERS.items()}).T


def sensitivity(people: int) -> pd.DataFrame:
    """A row for every choice and number: choice, number, value, low, high, change against the protocol's own choice."""
    with TemporaryDirectory(prefix="sensitivity-") as scratch:
        found = {name: measured(Path(scratch), people, choice) for name, choice in CHOICES.items()}
    first = next(iter(found.values()))["value"]
    parts = [
        frame.rename_axis("number").reset_index().assign(choice=name, change=(frame["value"] - first).to_numpy())
        for name, frame in found.items()
    ]
    return pd.concat(parts)[["choice", "number", "value", "low", "high", "change"]]


def main() -> None:
    """Writes `sensitivity.csv` and prints the changes."""
    parser = argparse.ArgumentParser(prog="python -m tests.mini.sensitivity", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int, default=16)
    chosen = parser.parse_args()
    table = sensitivity(chosen.people)
    table.to_csv(chosen.out / "sensitivity.csv", index=False, float_format="%.4f", lineterminator="\n")
    print(
        table.pivot(index="choice", columns="number", values="change")
        .loc[list(CHOICES)]
        .to_string(float_format="%+.4f")
    )


if __name__ == "__main__":
    main()
