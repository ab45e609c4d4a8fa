"""What the metrics answer when one known thing changes: `python -m tests.mini.study --out docs/mini/study`.

Samples are rendered by the embedded world, one factor varied and everything else held, and measured by the whole
pipeline as images made elsewhere (`method=folder`). Beside each answer stands the truth that the renderer knows.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir
from scipy.spatial.transform import Rotation

from bench import resources
from bench.cli.run import register_resolvers
from bench.images import write_png
from bench.metrics.protocol import Number
from bench.mini import world
from bench.report.frames import load_run, of_number
from bench.spec import resolve
from bench.stages.run import run_stages

SAMPLES, SIZE, SEED = 5, 128, 77
FLAME = [world.EXPRESSION.index(name) for name in world.FLAME_EXPRESSION]
Scene = world.Scene


@dataclass(frozen=True)
class Factor:
    """One thing that changes.

    Attributes:
        name: of the factor, and of what is on the horizontal axis.
        levels: its values.
        draw: (people, level) -> a scene of 5 rows for each person, and the truth of that level.
        answers: (metric, variant, statistic) -> its name in the table.
        off: extractors that this factor doesn't need.
        overrides: of the configuration.
    """

    name: str
    axis: str
    levels: tuple[float, ...]
    draw: Callable[[np.ndarray, float], tuple[Scene, float]]
    answers: dict[tuple[str, str, str], str]
    off: tuple[str, ...]
    overrides: tuple[str, ...] = ()


def held(people: np.ndarray, count: int = SAMPLES) -> Scene:
    """`count` equal rows for each person: neutral, straight into the camera, each person in a scene of their own."""
    scene = world.sample_scenes(people, SEED, frontal=1.0)
    return scene.rows(np.repeat(np.arange(len(people)), count))


def free(people: np.ndarray, count: int = SAMPLES) -> Scene:
    """Rows that differ in expression, pose, light, camera and background, as references do."""
    return world.sample_scenes(np.repeat(people, count, axis=0), SEED + 1, frontal=0.6)


def mixed_person(people: np.ndarray, level: float) -> tuple[Scene, float]:
    """Everybody moves by `level` of the way towards the next person; truth: the mean distance moved."""
    moved = (1 - level) * people + level * np.roll(people, 1, axis=0)
    distance = np.linalg.norm(moved - people, axis=1).mean()
    return replace(free(people), identity=np.repeat(moved, SAMPLES, axis=0).astype(np.float32)), float(distance)


def stronger_expression(people: np.ndarray, level: float) -> tuple[Scene, float]:
    """The world's own expressions times `level`; truth: the mean L2 distance of the five that FLAME would call so."""
    scene = held(people)
    moved = world.sample_scenes(scene.identity, SEED + 2).expression * level
    values = moved[:, FLAME].reshape(-1, SAMPLES, len(FLAME))
    return replace(scene, expression=moved.astype(np.float32)), mean_pair(lambda a, b: np.linalg.norm(a - b), values)


def wider_yaw(people: np.ndarray, level: float) -> tuple[Scene, float]:
    """Five yaws evenly in ± `level` degrees; truth: the mean angle between two of them, in degrees."""
    scene = held(people)
    yaw = np.tile(np.linspace(-level, level, SAMPLES), len(people))
    pose = np.stack([np.radians(yaw), scene.pose[:, 1], scene.pose[:, 2]], 1).astype(np.float32)
    turns = Rotation.from_matrix(world.rotation(pose[:SAMPLES]))
    pairs = [(a.inv() * b).magnitude() for k, a in enumerate(turns) for b in list(turns)[k + 1 :]]
    return replace(scene, pose=pose), float(np.degrees(np.mean(pairs)))


def other_background(people: np.ndarray, level: float) -> tuple[Scene, float]:
    """The same five pictures, each one's background moved by `level` towards one of its own; the truth is the level."""
    scene = held(people)
    rng = np.random.default_rng(SEED + 3)
    other = world.sample_scenes(scene.identity, int(rng.integers(1 << 20))).background
    keep = [k for k, name in enumerate(world.BACKGROUND) if name.startswith("cloth")]
    moved = (1 - level) * scene.background + level * other
    moved[:, keep] = scene.background[:, keep]
    return replace(scene, background=moved.astype(np.float32)), level


def collapsed(people: np.ndarray, level: float) -> tuple[Scene, float]:
    """A share `level` of the people gets samples of one and the same person; truth: that share."""
    count = round(level * len(people))
    shown = np.concatenate([np.repeat(people[-1:], count, axis=0), people[count:]])
    return free(shown), count / len(people)


def elsewhere(people: np.ndarray, level: float) -> tuple[Scene, float]:
    """A share `level` of the samples is lit by a strong red lamp before a black wall; truth: that share."""
    scene = free(people)
    chosen = np.random.default_rng(SEED + 4).permutation(len(scene)) < level * len(scene)
    light, background = scene.light.copy(), scene.background.copy()
    light[np.ix_(chosen, [world.LIGHT.index(f"key_{c}") for c in ("green", "blue")])] *= 0.4
    background[chosen] = 0.02
    return replace(scene, light=light, background=background), float(chosen.mean())


def mean_pair(distance: Callable[[np.ndarray, np.ndarray], float], values: np.ndarray) -> float:
    """The mean distance of the pairs within each of the (n, 5, d) groups."""
    return float(np.mean([distance(a, b) for group in values for k, a in enumerate(group) for b in group[k + 1 :]]))


SAME = {("id_similarity", r, "mean_detected"): f"ID similarity ({r})" for r in ("arcface", "judge")}
FACTORS = (
    Factor(
        "identity", "distance from the reference's person", (0, 0.1, 0.2, 0.35, 0.5, 0.75, 1), mixed_person,
        SAME, ("lpips", "flame", "inception"),
    ),
    Factor(
        "expression", "true mean distance of expressions", (0, 0.25, 0.5, 0.75, 1), stronger_expression,
        {("expression_diversity", "flame", "mean_items"): "Exp. diversity", **SAME}, ("lpips", "inception"),
    ),
    Factor(
        "yaw", "true mean angle, degrees", (0, 10, 20, 30, 40, 50), wider_yaw,
        {("pose_diversity", "flame", "geodesic_degrees_mean_items"): "Pose diversity, degrees", **SAME},
        ("lpips", "inception"),
    ),
    Factor(
        "background", "how different the backgrounds are", (0, 0.25, 0.5, 0.75, 1), other_background,
        {("lpips_diversity", "lpips", "mean_items"): "LPIPS, background removed"}, ("flame", "inception"),
    ),
    Factor(
        "background_kept", "how different the backgrounds are", (0, 0.25, 0.5, 0.75, 1), other_background,
        {("lpips_diversity", "lpips", "mean_items"): "LPIPS, background kept"}, ("flame", "inception"),
        ("protocol.views.background=[]",),
    ),
    Factor(
        "collapse", "share of people shown as one person", (0, 0.25, 0.5, 0.75, 1), collapsed,
        {("fid", "inception", "distance"): "FID", ("retrieval", "judge", "rank1"): "rank 1 (judge)"},
        ("lpips", "flame"),
    ),
    Factor(
        "elsewhere", "share of samples under another light and wall", (0, 0.25, 0.5, 0.75, 1), elsewhere,
        {("fid", "inception", "distance"): "FID", ("kid", "inception", "plain"): "KID"}, ("lpips", "flame"),
    ),
)  # fmt: skip


def write_people(people: np.ndarray, folder: Path) -> None:
    """A reference for each person: near the front, in a scene of its own."""
    images = world.render(world.sample_scenes(people, SEED + 5, frontal=0.8), SIZE).images
    for k, image in enumerate(images):
        write_png(image, folder / f"p{k:03d}" / "reference.png", {})


def write_samples(scene: Scene, folder: Path, name: str = "p{:03d}") -> None:
    """5 samples for each person, as `method=folder` reads them; `name` makes an item's name of its number."""
    for k, image in enumerate(world.render(scene, SIZE).images):
        write_png(image, folder / name.format(k // SAMPLES) / f"{k % SAMPLES}.png", {})


def measured(references: Path, samples: Path, out: Path, factor: Factor) -> pd.DataFrame:
    """The scores of a run over these pictures."""
    register_resolvers()
    overrides = [
        "dataset=folder", f"dataset.root={references}", "method=folder", f"method.root={samples}", f"out={out}",
        *(f"evaluator.extractors.{name}=null" for name in factor.off), *factor.overrides,
    ]  # fmt: skip
    with initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
        spec = resolve(compose("config", overrides))
    return load_run(run_stages(spec, ("generate", "extract", "score")).folder).scores


def answers(factor: Factor, people: np.ndarray, work: Path) -> Iterator[dict[str, float | str]]:
    """A row for every level and answer: factor, level, truth, answer, value, low, high, n."""
    write_people(people, work / "references")
    for level in factor.levels:
        scene, truth = factor.draw(people, level)
        samples = work / f"{factor.name}-{level}"
        write_samples(scene, samples)
        scores = measured(work / "references", samples, work / "runs", factor)
        for key, name in factor.answers.items():
            row = of_number(scores, Number(*key)).iloc[0]
            numbers = {column: row[column] for column in ("value", "low", "high", "n")}
            yield {"factor": factor.name, "level": level, "truth": truth, "answer": name, **numbers}


def study(people: int, factors: Iterable[Factor]) -> pd.DataFrame:
    """The table of these factors over people of the evaluation part whom no recipe measures on."""
    identities = world.sample_identities(SEED, people, "eval")
    with TemporaryDirectory(prefix="study-") as scratch:
        return pd.DataFrame([row for factor in factors for row in answers(factor, identities, Path(scratch))])


def draw(table: pd.DataFrame, out: Path) -> None:
    """One panel a factor: each answer, scaled to its largest value where several share the panel, over the truth."""
    from bench.report.figures import COLOURS, new

    for name, rows in table.groupby("factor", sort=False):
        figure, axes = new((4.6, 3.2))
        for colour, (answer, line) in zip(COLOURS, rows.groupby("answer", sort=False), strict=False):
            error = np.abs(line[["low", "high"]].to_numpy(float).T - line["value"].to_numpy(float))
            axes.errorbar(line["truth"], line["value"], error, color=colour, marker="o", capsize=3, label=answer)
        axes.set(xlabel=next(f.axis for f in FACTORS if f.name == name), ylim=(min(0, axes.get_ylim()[0]), None))
        axes.legend(frameon=False, fontsize=8)
        figure.savefig(out / f"{name}.png", dpi=110, metadata={"Software": None})


def main() -> None:
    """Writes `study.csv` and a plot of each factor."""
    parser = argparse.ArgumentParser(prog="python -m tests.mini.study", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--factors", nargs="*", default=[])
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    table = study(chosen.people, [f for f in FACTORS if not chosen.factors or f.name in chosen.factors])
    table.to_csv(chosen.out / "study.csv", index=False, float_format="%.4f", lineterminator="\n")
    draw(table, chosen.out)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
