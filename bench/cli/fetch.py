"""`python -m bench fetch`: brings weights and data; the only verb that opens a connection."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock
from typing import Any

from bench import registry
from bench.assets import ENVIRONMENT, SCRATCH, Asset, Table, find, remedy, table, verify, weights_folder
from bench.console import Parser, say, show
from bench.errors import UserError, unknown
from bench.fetching.bring import Place, bring, jobs_of
from bench.fetching.transport import SPARE, DownloadError, Progress
from bench.threads import pool

MIRROR = "IDBENCH_MIRROR"
KINDS = {
    "method": ("methods",),
    "recogniser": ("recognisers",),
    "detector": ("detectors",),
    "landmarker": ("landmarkers",),
    "parser": ("parsers",),
    "extractor": ("extractors", "recognisers"),
    "dataset": ("datasets",),
}
"""What may come before the "=": the kinds of names in the table that it covers."""
_EPILOG = """what to fetch, any number of:
  method=arc2face,instantid   all that these methods read
  extractor=inception         likewise detector=, landmarker=, parser=, recognisers by recogniser=, dataset=
  profile=paper               the evaluation of a profile (its methods come by method=)
  file=sd15/vae               a file, or all of a folder, by its path under the weights folder"""


class _StoppedError(Exception):
    """The user pressed Ctrl-C; raised in the threads that are downloading."""


def main(argv: Sequence[str]) -> int:
    """Fetch what the arguments name, or list it.

    Args:
        argv: what follows `fetch` on the command line.

    Returns:
        The exit code: 0 all there, 1 some file could not be got.

    Raises:
        UserError: a mistake in what was asked.
    """
    options = _parse(argv)
    known = table()
    chosen = select(options.what, known) if options.what else list(known.assets)
    if options.list:
        show(_as_json(chosen, options.dir) if options.json else _as_text(chosen, options.dir))
        return 0
    wanted = [fault.asset for fault in verify(chosen, options.dir)]
    fresh = [asset for asset in wanted if options.mirror is None or find(asset, options.mirror) is None]
    _check_gates(fresh, options)
    _check_space(wanted, options.dir)
    _say_licences(wanted)
    return _report(_fetch(chosen, options), chosen, options.dir)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m bench fetch", description=__doc__, epilog=_EPILOG, formatter_class=form)
    parser.add_argument("what", nargs="*", metavar="kind=name")
    parser.add_argument("--list", action="store_true", help="show what is there, what is missing, and the licences")
    parser.add_argument("--json", action="store_true", help="with --list: for programs")
    parser.add_argument("--accept-licence", action="store_true", help="I have read the terms of what asks for it")
    parser.add_argument("--dir", type=Path, help=f"weights folder (default: ${ENVIRONMENT}, else ./weights)")
    parser.add_argument("--mirror", type=Path, help=f"folder of the same layout to copy from (default: ${MIRROR})")
    parser.add_argument("--jobs", type=int, default=4, help="downloads at a time (default: 4)")
    options = parser.parse_args(argv)
    _check_options(options)
    return options


def _check_options(options: argparse.Namespace) -> None:
    options.dir = weights_folder(options.dir)
    options.mirror = options.mirror or (Path(os.environ[MIRROR]) if os.environ.get(MIRROR) else None)
    if options.jobs < 1:
        raise UserError(f"--jobs is {options.jobs}; it must be at least 1")
    if options.json and not options.list:
        raise UserError("--json goes with --list")
    if not options.what and not options.list:
        raise UserError("say what to fetch, such as method=arc2face or profile=paper; --list shows all there is")
    if options.mirror is not None and not options.mirror.is_dir():
        raise UserError(f"the mirror {options.mirror} is not a folder")
    if options.dir.exists() and not options.dir.is_dir():
        raise UserError(f"the weights folder {options.dir} is not a folder")


def select(what: Sequence[str], known: Table) -> list[Asset]:
    """Return the files that "kind=name,name" selections ask for, each once, in the order of the table.

    Raises:
        UserError: an unknown kind or name, with the nearest valid one.
    """
    names: set[str] = set()
    files: set[str] = set()
    for text in what:
        kind, _, values = text.partition("=")
        for value in values.split(","):
            if kind == "file":
                files.update(asset.path for asset in known.under(value))
            else:
                names.update(_names(kind, value, known))
    wanted = set(known.wanted(names))
    return [asset for asset in known.assets if asset in wanted or asset.path in files]


def _names(kind: str, value: str, known: Table) -> tuple[str, ...]:
    if kind == "profile":
        if value not in known.profiles:
            raise unknown("profile", value, known.profiles)
        return known.profiles[value]
    if kind not in KINDS:
        raise unknown("kind of thing to fetch", kind, [*KINDS, "profile", "file"])
    allowed = {name for group in KINDS[kind] for name in known.names[group]}
    if value not in allowed and value not in _without_files(kind):
        raise unknown(kind, value, allowed)
    return (value,)


def _without_files(kind: str) -> Collection[str]:
    """Return registered names of that kind that may read no file of the table: controls, and what others installed."""
    return registry.entries(f"{kind}s") if kind in ("method", "dataset") else ()


def _check_gates(wanted: Sequence[Asset], options: argparse.Namespace) -> None:
    gated = [asset for asset in wanted if asset.gate == "click-through"]
    if gated and not options.accept_licence:
        terms = "; ".join(dict.fromkeys(f"{a.path}: {a.licence}, {a.page}" for a in gated))
        raise UserError(f"read the terms, then add --accept-licence if you agree ({terms})")


def _check_space(wanted: Sequence[Asset], root: Path) -> None:
    """Refuse before the first byte what cannot fit; files of unknown size are checked as they come."""
    archives = {asset.archive.url: asset.archive.size or 0 for asset in wanted if asset.archive}
    needed = sum(asset.size or 0 for asset in wanted if asset.automatic) + sum(archives.values())
    arrived = sum(path.stat().st_size for path in (root / SCRATCH).glob("*.part"))
    free = shutil.disk_usage(next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())).free
    if needed - arrived + SPARE > free:
        raise UserError(
            f"{root} has {size(free)} free; {size(needed - arrived + SPARE)} are needed; --dir names another"
        )


def _say_licences(wanted: Sequence[Asset]) -> None:
    for licence, page in dict.fromkeys((asset.licence, asset.page) for asset in wanted):
        say(f"licence: {licence}; {page}")


def _fetch(chosen: Sequence[Asset], options: argparse.Namespace) -> list[str]:
    """Bring all files, say which came, and return what went wrong."""
    faults: list[str] = []
    with pool(options.jobs) as threads, _progress(chosen, options.dir) as progress:
        place = Place(options.dir, options.mirror, progress)
        for future in [threads.submit(bring, job, place) for job in jobs_of(chosen)]:
            try:
                for path in future.result():
                    show(f"got {path}")
            except (DownloadError, OSError) as error:
                faults.append(str(error))
    return faults


@contextmanager
def _progress(chosen: Sequence[Asset], root: Path) -> Iterator[Progress]:
    """Show a bar on a terminal's stderr, nothing elsewhere; when it is left, downloads stop at their next bytes."""
    from tqdm import tqdm

    total = sum(fault.asset.size or 0 for fault in verify(chosen, root))
    stop = Event()
    lock = Lock()
    with tqdm(total=total or None, unit="B", unit_scale=True, disable=None, file=sys.stderr) as bar:

        def progress(count: int) -> None:
            if stop.is_set():
                raise _StoppedError
            with lock:
                bar.update(count)

        try:
            yield progress
        except BaseException:
            stop.set()
            raise


def _report(faults: Sequence[str], chosen: Sequence[Asset], root: Path) -> int:
    for fault in faults:
        say(f"error: {fault}")
    if not faults:
        show(f"all {len(chosen)} files are in {root}")
    return 1 if faults else 0


def size(count: int | None) -> str:
    """Return bytes in words.

    >>> size(3438167536), size(308), size(None)
    ('3.2 GiB', '308 B', '?')
    """
    if count is None:
        return "?"
    if count < 1024:
        return f"{count} B"
    value = count / 1024
    for unit in ("KiB", "MiB"):
        if value < 1024:
            return f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def _rows(chosen: Sequence[Asset], root: Path) -> list[dict[str, Any]]:
    faults = {fault.asset: fault.detail for fault in verify(chosen, root)}
    hidden = {"file", "alternatives", "archive", "url", "hub", "revision"}
    return [
        {
            **asset.model_dump(exclude=hidden),
            "origin": asset.hub or asset.url or (asset.archive.url if asset.archive else None),
            "revision": asset.revision,
            "state": faults.get(asset, "here"),
            "get": remedy(asset, root),
        }
        for asset in chosen
    ]


def _as_json(chosen: Sequence[Asset], root: Path) -> str:
    return json.dumps({"folder": str(root), "files": _rows(chosen, root)}, indent=1)


def _as_text(chosen: Sequence[Asset], root: Path) -> str:
    rows = _rows(chosen, root)
    lines = [line for row in rows for line in _lines(row)]
    absent = [row for row in rows if row["state"] != "here"]
    known = sum(row["size"] or 0 for row in absent)
    unsized = sum(row["size"] is None for row in absent)
    total = f"{size(known)}, and {unsized} of unknown size" if unsized else size(known)
    lines.append(f"{len(rows)} files, {len(absent)} not there ({total}); folder {root}")
    return "\n".join(lines)


def _lines(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['state']:<8} {size(row['size']):>10}  {row['gate']:<13} {row['path']}  ({row['licence']})"
    if row["state"] != "here":
        yield f"{'':<34}{row['get']}"
        yield from [f"{'':<34}{row['note']}"] if row["note"] else []
