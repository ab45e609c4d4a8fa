"""Runs from a script or a notebook: `bench.run`, `bench.run_experiment` and `bench.evaluate`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.hashing import sha256_bytes
from bench.report.frames import Run, load_run

if TYPE_CHECKING:
    from bench.spec import RunSpec

ImageOrPath = NDArray[np.uint8] | Path | str
"""An image: (H, W, 3) uint8 RGB, or the path of a file."""
GIVEN = ".inputs"
"""Folder below `out` for the images that `evaluate` was given, by their content."""
_NAME = re.compile(r"[^\W_][\w.\- ]{0,79}")


def run(config: Sequence[str] | Mapping[str, Any] = ()) -> Run:
    """Run a configuration as `python -m bench run` does, and return the scored run.

    What is already there is not made again. Start Python with `OMP_NUM_THREADS=1` to get the last digit of the
    command's numbers, too.

    Args:
        config: overrides as on the command line (`["method=copy", "protocol.samples_per_item=2"]`), or the same as a
            mapping (`{"method": "copy", "protocol.samples_per_item": 2}`).

    Returns:
        The run; `docs/reference/frames.md` lists its data frames.

    Raises:
        UserError: the configuration is wrong.
    """
    from bench.cli.run import STAGES, spec_of
    from bench.stages.run import run_stages

    overrides = _overrides(config)
    with _as_command(overrides):
        spec: RunSpec = spec_of(overrides)
        return load_run(run_stages(spec, STAGES["run"]).folder)


def run_experiment(name: str, config: Sequence[str] | Mapping[str, Any] = ()) -> Path:
    """Run an experiment as `python -m bench run experiment=NAME` does, and return the folder of its report.

    What is already there is not made again.

    Args:
        name: as `experiment=` takes it ("fig10").
        config: overrides, see `run`.

    Returns:
        The folder; `index.html` and `result.json` are in it (`bench.report.results.read_finding`).

    Raises:
        UserError: the configuration is wrong.
    """
    from bench.cli.run import config_of
    from bench.experiment import KEY, conduct

    overrides = [*_overrides(config), f"{KEY}={name}"]
    with _as_command(overrides):
        return conduct(config_of(overrides))


def evaluate(
    images: Mapping[str, Sequence[ImageOrPath]] | Sequence[Sequence[ImageOrPath]],
    references: Mapping[str, ImageOrPath] | Sequence[ImageOrPath],
    *,
    name: str = "images",
    relations: Mapping[str, str] | None = None,
    config: Sequence[str] | Mapping[str, Any] = (),
) -> Run:
    """Measure images that were generated elsewhere against their references, and return the scored run.

    Args:
        images: the samples of each item; fewer than another item has are failures.
        references: one photo per item, each of another person; by the same names, or in the same order.
        name: what reports call the method.
        relations: recogniser -> how the method depends on it ("conditioned", "trained_against",
            "same_training_data", "none"); without it every relation is unknown, and no judge counts as independent.
        config: further overrides, as `run` takes them (`["profile=paper", "out=DIR"]`).

    Returns:
        The run; `docs/reference/frames.md` lists its data frames.

    Raises:
        UserError: images and references differ in their items, a name cannot be that of a folder, an image cannot be
            read, or the configuration is wrong.
    """
    photos = _named(references)
    samples = _named(images)
    _check_items(photos, samples)
    encoded = {item: (_png(photos[item]), [_png(one) for one in samples[item]]) for item in photos}
    own = _overrides(config)
    spec_out = next((text.partition("=")[2] for text in reversed(own) if text.startswith("out=")), "runs")
    folder = _write(encoded, Path(spec_out) / GIVEN)
    cards = ", ".join(f"{key}: {value}" for key, value in (relations or {}).items())
    given = [
        "dataset=folder", f'dataset.root="{folder / "references"}"', "method=folder",
        f'method.root="{folder / "samples"}"', f'++method.label="{name}"',
        f"method.card.relations={{{cards}}}", f"protocol.samples_per_item={max(len(one) for one in samples.values())}",
    ]  # fmt: skip
    return run([*given, *own])


def _overrides(config: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Return overrides as the command line has them.

    >>> _overrides({"method": "copy", "protocol.samples_per_item": 2})
    ['method=copy', 'protocol.samples_per_item=2']
    """
    if isinstance(config, str):
        raise UserError(f"config={config!r} is one text; give a list of overrides: [{config!r}]")
    if isinstance(config, Mapping):
        return [f"{key}={'null' if value is None else value}" for key, value in config.items()]
    return [str(text) for text in config]


@contextmanager
def _as_command(overrides: Sequence[str]) -> Iterator[None]:
    """Record runs as made by the command that has the same effect."""
    before = sys.argv
    sys.argv = ["python -m bench run", *overrides]
    try:
        yield
    finally:
        sys.argv = before


def _named(given: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """Return what was given by item; what has no names is numbered.

    >>> _named(["a", "b"])
    {'item00000': 'a', 'item00001': 'b'}
    """
    if isinstance(given, Mapping):
        return {str(item): one for item, one in given.items()}
    return {f"item{place:05d}": one for place, one in enumerate(given)}


def _check_items(photos: Mapping[str, Any], samples: Mapping[str, Sequence[Any]]) -> None:
    odd = sorted({*photos} ^ {*samples})
    if odd:
        raise UserError(f"images and references must have the same items; only one of them has {', '.join(odd[:5])}")
    if not photos or not any(len(one) for one in samples.values()):
        raise UserError("no image to evaluate; give one or more per reference")
    unfit = [item for item in photos if not _NAME.fullmatch(item) or item.endswith((".", " "))]
    if unfit:
        raise UserError(
            f"item {unfit[0]!r} cannot name a folder: up to 80 letters, digits, spaces, '.', '_', '-', a letter or "
            "digit first"
        )


def _png(image: ImageOrPath) -> bytes:
    """Return an image as the bytes of a PNG file.

    Raises:
        UserError: it is neither an image file nor (H, W, 3) uint8.
    """
    from bench.images import ImageError, encode_png, read_image

    try:
        return encode_png(image if isinstance(image, np.ndarray) else read_image(Path(image)), {})
    except ImageError as error:
        raise UserError(f"{image}: {error}") from error
    except ValueError as error:
        raise UserError(f"an array given as an image must be (H, W, 3) uint8 RGB: {error}") from error


def _write(encoded: Mapping[str, tuple[bytes, Sequence[bytes]]], out: Path) -> Path:
    """Write references and samples into a folder that is named by their content, and return it."""
    from bench.store import write_atomic

    files = {f"references/{item}/0.png": photo for item, (photo, _) in encoded.items()}
    files |= {f"samples/{item}/{k}.png": one for item, (_, made) in encoded.items() for k, one in enumerate(made)}
    digest = sha256_bytes("\n".join(f"{path} {sha256_bytes(data)}" for path, data in sorted(files.items())).encode())
    folder = (out / digest[:16]).resolve()
    for path, data in files.items():
        if not (folder / path).exists():
            write_atomic(folder / path, data)
    return folder
