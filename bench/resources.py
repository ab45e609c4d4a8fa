"""Where the root folders that a run needs lie, and the folders of configuration that other packages bring.

Ours lie next to the package in a checkout, inside it in a wheel.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

from bench.console import say
from bench.errors import UserError
from bench.installed import registered

PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """Return the folder `conf`, `data_lists`, `reports/published`, `reports/measured` or `reports/golden`.

    Raises:
        FileNotFoundError: the installation lacks it (a broken wheel).
    """
    for base in (PACKAGE, PACKAGE.parent):
        if (base / name).is_dir():
            return base / name
    raise FileNotFoundError(f"this installation of idbench lacks its folder {name!r}")


def conf_folders() -> list[Path]:
    """Return the folders of configuration: ours first, then those that packages name by entry points `bench.conf`.

    Raises:
        UserError: two folders hold a file of the same group and name.
    """
    brought = map(_conf_folder, registered().get("conf", ()))
    folders = [folder("conf"), *(found for found in brought if found is not None)]
    owners: dict[Path, Path] = {}
    for base in folders:
        for path in sorted(base.glob("*/*.yaml")):
            other = owners.setdefault(path.relative_to(base), base)
            if other != base:
                first = other / path.relative_to(base)
                raise UserError(f"{first} and {path} have the same name: rename one, or uninstall its package")
    return folders


@lru_cache(maxsize=64)
def _conf_folder(point: EntryPoint) -> Path | None:
    """Return the folder of "package:folder" without importing the package; None and a warning where it is missing."""
    package, _, name = point.value.partition(":")
    spec = find_spec(package)
    places = [Path(place) / name for place in (spec.submodule_search_locations or ())] if spec else []
    found = next((place for place in places if name and place.is_dir()), None)
    if found is None:
        owner = point.dist.name if point.dist else package
        say(
            f"warning: {owner} names {point.value!r} as its folder of configuration, and there is none; "
            f"update the package, or take it away: python -m pip uninstall {owner}"
        )
    return found


def configurations(group: str) -> list[Path]:
    """Return the files of a group of the configuration (`method`, `dataset`), by name, those of packages included."""
    files = [path for base in conf_folders() for path in base.glob(f"{group}/*.yaml")]
    return sorted(files, key=lambda path: path.name)
