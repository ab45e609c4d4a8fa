"""Damages files of a finished run, one at a time, and looks whether the next command finds it.

As a script: `make damage`, or `python -m tests.invariance.damage [seed]`. The suite runs a part of the cases.

A damage is found where the command names the file in its error or its warning, or makes the file again as it was. A
command that ends with other numbers, or leaves the damage without a word, has not found it.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from baselines.protocol import Output
from bench import registry
from bench.conditions.kinds import ConditionKind
from bench.errors import UserError
from bench.identity import Spec
from bench.images import write_png
from bench.report.frames import load_run
from bench.spec import from_mapping
from bench.stages.run import run_stages
from bench.store import read_json, read_table
from tests.e2e.commands import assert_same
from tests.guard import world

STAGES = ("generate", "extract", "score", "report")


class Tinted(world.Wobble):
    """The reference, turned by its seed, with the colour of its control image and the light of its expression."""

    accepts = frozenset({ConditionKind.CONTROL, ConditionKind.EXPRESSION})

    class Options(Spec):
        """None."""

    def _one(self, request):
        image = world.wobbled(request.reference.image, np.random.default_rng(request.seed))
        light = 0.9 + 0.1 * float(request.condition.expression[0])
        tint = 0.02 * request.condition.control[0, 0] / 255
        return Output(image=np.clip(image * light * (1 - tint), 0, 255).astype(np.uint8))


def make(folder: Path, stages: Sequence[str] = STAGES) -> Path:
    """Make a run with conditions of three people, or go on with it; return its folder."""
    registry.BUILT_IN["methods"]["tinted"] = "tests.invariance.damage:Tinted"
    registry.entries.cache_clear()
    plain = world.composed(folder, folder / "runs")
    plain["dataset"]["subjects"] = 3
    plain["protocol"] |= {"samples_per_item": 1, "metrics": ["id_similarity", "verification"]}
    plain["method"] = {"name": "tinted", "card": {"relations": {"*": "none"}}}
    plain["conditions"] = {"name": "table", "file": str(_table(folder))}
    plain["evaluator"] |= {"landmarker": None, "parser": None, "extractors": {}}
    plain["execution"]["shard_size"] = 2
    return Path(run_stages(from_mapping(plain), stages).folder)


def _table(folder: Path) -> Path:
    """Write a table of conditions with the files that it names, once."""
    path = folder / "table.csv"
    if not path.exists():
        for number in range(3):
            write_png(np.full((32, 32, 3), 80 * number, np.uint8), folder / f"control{number}.png", {})
        np.save(folder / "light.npy", np.linspace(-1, 1, 30, dtype=np.float32).reshape(3, 10))
        rows = [f"s{k:03d},control{k}.png,light.npy[{k}]" for k in range(3)]
        path.write_text("\n".join(["item,control,expression", *rows, ""]))
    return path


KINDS = {
    "record": "runs/*/tinted-*/run.json",
    "checksums of a record": "runs/*/tinted-*/run.json.sha256",
    "photos": "runs/*/tinted-*/photos.parquet",
    "plan": "runs/*/tinted-*/conditions.parquet",
    "vectors of conditions": "runs/*/tinted-*/conditions/*.npy",
    "images of conditions": "runs/*/tinted-*/conditions/*.png",
    "samples": "runs/*/tinted-*/samples/*/*.png",
    "tables of samples": "runs/*/tinted-*/tables/[!t]*/*.parquet",
    "tables of photos": "runs/*/photos-*/tables/*/*.parquet",
    "scores": "runs/*/tinted-*/scores/*.parquet",
    "record of scores": "runs/*/tinted-*/scores/scores.json",
    "thumbnails": "runs/*/tinted-*/report/thumbnails/*.jpg",
    "page": "runs/*/tinted-*/report/index.html",
}
"""Kind of file -> where such files lie. Nothing is measured from the table `timings`, so that it is left out."""


def flip(path: Path, rng: np.random.Generator) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    at = int(rng.integers(len(data) * 8))
    data[at // 8] ^= 1 << (at % 8)
    path.write_bytes(data)


def truncate(path: Path, rng: np.random.Generator) -> None:
    """Cut off the end, or everything."""
    path.write_bytes(path.read_bytes()[: int(rng.integers(path.stat().st_size))])


def delete(path: Path, rng: np.random.Generator) -> None:
    """Delete the file."""
    path.unlink()


def swap(path: Path, rng: np.random.Generator) -> None:
    """Put the content of another file of this kind in its place, or of any other where there is none."""
    others = [other for other in sorted(path.parent.parent.rglob(f"*{path.suffix}")) if _differs(path, other)]
    others = others or [other for other in sorted(path.parent.rglob("*.*")) if _differs(path, other)]
    shutil.copyfile(others[rng.integers(len(others))], path)


def _differs(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() != other.read_bytes()


DAMAGES: tuple[Callable[[Path, np.random.Generator], None], ...] = (flip, truncate, delete, swap)


class Case(NamedTuple):
    """A case.

    Attributes:
        kind: of the file.
        damage: what is done to it.
    """

    kind: str
    damage: Callable[[Path, np.random.Generator], None]


def cases() -> list[Case]:
    """Return all cases: every damage to every kind of file that the next command reads."""
    return [Case(kind, damage) for kind in KINDS for damage in DAMAGES]


def judge(made: Path, run: Path, work: Path, case: Case, seed: int) -> str | None:
    """Damage a copy of a run; return how the next commands find it, None where they do not.

    Args:
        made: the folder of everything that `make` wrote.
        run: the run in it.
        work: an empty folder.
        case: what to do.
        seed: decides which file, and where.
    """
    of_report = "/report/" in KINDS[case.kind]
    # A report that is there is written again by every command, which costs more than all else.
    shutil.copytree(made, work, dirs_exist_ok=True, ignore=None if of_report else shutil.ignore_patterns("report"))
    rng = np.random.default_rng([seed, cases().index(case)])
    paths = sorted(work.glob(KINDS[case.kind]))
    path = paths[rng.integers(len(paths))]
    whole = path.read_bytes()
    case.damage(path, rng)
    damaged = path.read_bytes() if path.exists() else None
    compared = _refusal(lambda: load_run(work / run.relative_to(made)))
    with contextlib.redirect_stderr(io.StringIO()) as said:
        refused = _refusal(lambda: make(work, STAGES if of_report else STAGES[:-1]))
    if not refused:
        assert_same(run, work / run.relative_to(made))
    told = f"{compared}{refused}{said.getvalue()}"
    if str(path.parent) in told and path.name.removesuffix(".sha256") in told:
        return "named"
    is_new = path.exists() and path.read_bytes() != damaged
    return "made again" if is_new and (path.read_bytes() == whole or _reads(path)) else None


def _reads(path: Path) -> bool:
    """Return whether a file that no two commands write alike, because of its times, is whole."""
    if path.suffix == ".html":
        return path.read_bytes().rstrip().endswith(b"</html>")
    checked = path.with_name(path.name.removesuffix(".sha256"))
    return not _refusal(lambda: (read_table if checked.suffix == ".parquet" else read_json)(checked))


def _refusal(call: Callable[[], object]) -> str:
    try:
        call()
    except UserError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def finished(stages: Sequence[str] = STAGES) -> Iterator[tuple[Path, Path]]:
    """Yield a folder with a finished run, and the run in it."""
    with tempfile.TemporaryDirectory(prefix="idbench-damage-") as place:
        yield Path(place), make(Path(place), stages)


def main(seed: int) -> int:
    """Return 0 where every damage is found."""
    found = 0
    with finished() as (made, run):
        for case in cases():
            with tempfile.TemporaryDirectory(prefix="idbench-damage-") as work:
                verdict = judge(made, run, Path(work), case, seed)
            found += verdict is not None
            sys.stdout.write(f"{case.damage.__name__} {case.kind}: {verdict or 'NOT FOUND'}\n")
    sys.stdout.write(f"found {found} of {len(cases())}\n")
    return 0 if found == len(cases()) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
