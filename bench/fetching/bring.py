"""Brings the files of the table to the weights folder.

A file comes from a local mirror, from Hugging Face's own cache, or from the network, in this order; it is checked
in a scratch folder and gets its name at the very end. Hub files go by our own transport with the library's addresses,
tokens and cache, because the library (read in 2.4) starts anew what broke off in an earlier process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.assets import (
    LOCK,
    SCRATCH,
    SHA256,
    Archive,
    Asset,
    expected_sha256,
    find,
    read_lock,
    remedy,
)
from bench.console import say
from bench.fetching.transport import DownloadError, NotThereError, Progress, Remote, check_content, discard, download
from bench.fetching.unpack import extract_file, extract_folder
from bench.hashing import sha256_path


@dataclass(frozen=True)
class Place:
    """Where files go, and the folder of the same layout from which they may come."""

    root: Path
    mirror: Path | None = None
    progress: Progress = field(default=lambda count: None)

    def scratch(self, name: str, ending: str = "part") -> Path:
        """Return where something called `name` grows."""
        folder = self.root / SCRATCH
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{re.sub(r'[^A-Za-z0-9._=-]+', '__', name.strip('/'))}.{ending}"


Job = tuple[Asset, ...]
"""One file, or all that come out of the same archive."""


def jobs_of(assets: Iterable[Asset]) -> list[Job]:
    """Group files that one download brings."""
    groups: dict[str, list[Asset]] = {}
    for asset in assets:
        groups.setdefault(asset.archive.url if asset.archive else asset.path, []).append(asset)
    return [tuple(group) for group in groups.values()]


def bring(job: Job, place: Place) -> list[str]:
    """Bring the files of a job, unless they are there; processes that want the same wait for each other.

    Returns:
        Paths, under the weights folder, of the files that came.

    Raises:
        DownloadError: one could not be got or was not what it must be; it was not given its name.
    """
    from filelock import FileLock

    name = job[0].archive.url if job[0].archive else job[0].path
    with FileLock(place.scratch(name, "lock")):
        left = [asset for asset in job if not _settled(asset, place)]
        came = {asset: _from_mirror(asset, place) or _from_cache(asset, place) for asset in left}
        left = [asset for asset in left if not came[asset]]
        return [path for path in came.values() if path] + (_from_network(left, place) if left else [])


def _settled(asset: Asset, place: Place) -> bool:
    """Return whether the right file is there; one that was put there by hand is read once, and recorded."""
    path = find(asset, place.root)
    if path is None or asset.is_folder:
        return path is not None
    name = path.relative_to(place.root).as_posix()
    stat = path.stat()
    entry = read_lock(place.root).get(name, {})
    if (entry.get("size"), entry.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
        return asset.sha256 in (None, entry.get("sha256"))
    try:
        found = _check(asset, path, name, place, None)
    except DownloadError as error:
        if asset.automatic:
            return False
        raise DownloadError(f"{error}; {remedy(asset, place.root)}") from error
    _record(place, path, {"sha256": found, "origin": "found"})
    return True


def _check(asset: Asset, file: Path, name: str, place: Place, announced: str | None) -> str:
    """Return the sha256 of a file that is to be called `name`, once its size, kind and sha256 were found right.

    `announced` is the sha256 that its server gave; it counts where nobody published one and none was recorded.
    """
    if asset.size is not None and file.stat().st_size != asset.size:
        raise DownloadError(f"{name}: {file.stat().st_size} bytes, not {asset.size}")
    check_content(file, name)
    expected = expected_sha256(asset, name, read_lock(place.root)) or announced
    found = sha256_path(file)
    if expected is None or found == expected:
        return found
    advice = "" if asset.sha256 else f" (of the first fetch; if it was replaced at its origin, remove it from {LOCK})"
    raise DownloadError(f"{name}: sha256 {found}, not {expected}{advice}")


def _accept(asset: Asset, staged: Path, name: str, place: Place, origin: dict[str, Any], announced: str | None) -> str:
    """Give a file that arrived its name, if it is the right one; else remove it."""
    target = place.root / name
    if asset.is_folder:
        publish(staged, target)
        return name
    try:
        found = _check(asset, staged, name, place, announced)
    except DownloadError as error:
        discard(staged)
        raise DownloadError(f"{error}; it was not kept") from error
    publish(staged, target)
    discard(staged)
    _record(place, target, {"sha256": found, **origin})
    return name


def publish(staged: Path, target: Path) -> None:
    """Rename a finished file or folder to its name, so that it is there whole or not at all, even after a crash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in [staged, *staged.rglob("*")] if staged.is_dir() else [staged]:
        _sync(path)
    if target.is_dir():
        # An empty folder: one that holds files counts as there.
        target.rmdir()
    os.replace(staged, target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _record(place: Place, path: Path, known: dict[str, Any]) -> None:
    stat = path.stat()
    name = path.relative_to(place.root).as_posix()
    _remember(place, name, {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, **known})


def _remember(place: Place, name: str, entry: dict[str, Any]) -> None:
    from filelock import FileLock

    with FileLock(place.scratch(LOCK, "lock")):
        files = read_lock(place.root) | {name: entry}
        staged = place.scratch(LOCK)
        staged.write_text(json.dumps({"version": 1, "files": dict(sorted(files.items()))}, indent=1) + "\n", "utf-8")
        publish(staged, place.root / LOCK)


def _from_mirror(asset: Asset, place: Place) -> str | None:
    """Copy the mirror's file; a wrong one there is an error, not a reason to go on."""
    if place.mirror is None:
        return None
    source = find(asset, place.mirror)
    if source is None:
        return None
    name = asset.path if asset.is_folder else source.relative_to(place.mirror).as_posix()
    staged = place.scratch(name, "copy")
    if asset.is_folder:
        shutil.rmtree(staged, ignore_errors=True)
        shutil.copytree(source, staged)
    else:
        shutil.copyfile(source, staged)
        place.progress(staged.stat().st_size)
    try:
        return _accept(asset, staged, name, place, {"origin": "mirror"}, None)
    except DownloadError as error:
        raise DownloadError(f"in the mirror {place.mirror}: {error}") from error


def _from_cache(asset: Asset, place: Place) -> str | None:
    """Take the file of Hugging Face's own cache (HF_HOME), by a second name for its bytes where the disk allows."""
    if asset.hub is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    revision = _revision(asset, place)
    for file, name in zip((asset.file, *asset.alternatives), asset.paths, strict=True):
        cached = try_to_load_from_cache(asset.hub, file, revision=revision)
        if isinstance(cached, str):
            staged = place.scratch(name, "copy")
            _link(Path(cached).resolve(), staged)
            commit = Path(cached).parents[file.count("/")].name
            try:
                return _accept(asset, staged, name, place, {"origin": f"hub:{asset.hub}", "revision": commit}, None)
            except DownloadError:
                # A bad copy in the cache does not keep a good one from coming.
                return None
    return None


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _revision(asset: Asset, place: Place) -> str:
    """Return the commit of the table, else the one that an earlier file of that repository came from, else main."""
    origin = f"hub:{asset.hub}"
    entries = [entry for entry in read_lock(place.root).values() if entry.get("origin") == origin]
    locked = [entry["revision"] for entry in entries if entry.get("revision")]
    return asset.revision or (locked[0] if locked else "main")


def _from_network(assets: Sequence[Asset], place: Place) -> list[str]:
    for asset in assets:
        if not asset.automatic:
            raise DownloadError(f"{asset.path}: {remedy(asset, place.root)}")
    if assets[0].archive is not None:
        return _from_archive(assets[0].archive, assets, place)
    return [_from_hub(asset, place) if asset.hub else _from_url(asset, place) for asset in assets]


def _from_url(asset: Asset, place: Place) -> str:
    staged = place.scratch(asset.path)
    place.progress(staged.stat().st_size if staged.exists() else 0)
    download(Remote(str(asset.url), asset.size), staged, asset.path, place.progress)
    return _accept(asset, staged, asset.path, place, {"origin": asset.url}, None)


def _from_hub(asset: Asset, place: Place) -> str:
    names = list(zip((asset.file, *asset.alternatives), asset.paths, strict=True))
    for file, name in names:
        try:
            return _from_hub_file(asset, file, name, place)
        except NotThereError:
            if name == names[-1][1]:
                raise
    raise AssertionError("unreachable")


def _from_hub_file(asset: Asset, file: str, name: str, place: Place) -> str:
    staged = place.scratch(name)
    place.progress(staged.stat().st_size if staged.exists() else 0)
    seen = download(_hub_remote(asset, file, _revision(asset, place)), staged, name, place.progress)
    etag = seen.get("x-linked-etag", "").strip('"')
    origin = {"origin": f"hub:{asset.hub}", "revision": seen.get("x-repo-commit", asset.revision)}
    return _accept(asset, staged, name, place, origin, etag if SHA256.fullmatch(etag) else None)


def _hub_remote(asset: Asset, file: str, revision: str) -> Remote:
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    if constants.HF_HUB_OFFLINE:
        raise DownloadError(f"{asset.path}: HF_HUB_OFFLINE is set, and the file is not in the cache of Hugging Face")
    headers = build_hf_headers(library_name="idbench")
    hint = f"accept the terms at {asset.page}, then set HF_TOKEN to your access token"
    return Remote(hf_hub_url(str(asset.hub), file, revision=revision), asset.size, headers, hint)


def _from_archive(archive: Archive, assets: Sequence[Asset], place: Place) -> list[str]:
    zipped = place.scratch(archive.url, "zip")
    place.progress(zipped.stat().st_size if zipped.exists() else 0)
    name = archive.url.rsplit("/", 1)[-1]
    download(Remote(archive.url, archive.size), zipped, name, place.progress)
    try:
        found = _known_archive(zipped, archive, name, place)
        return [_unpack(zipped, asset, place, {"origin": archive.url, "archive_sha256": found}) for asset in assets]
    finally:
        discard(zipped)


def _known_archive(zipped: Path, archive: Archive, name: str, place: Place) -> str:
    """Return the sha256 of an archive that is what it was before; one that nobody published is shown and remembered."""
    found = sha256_path(zipped)
    before = read_lock(place.root).get(archive.url, {}).get("sha256")
    expected = archive.sha256 or before
    if expected not in (None, found):
        advice = "" if archive.sha256 else f" (of the first fetch; if it was replaced, remove it from {LOCK})"
        raise DownloadError(f"{name}: sha256 {found}, not {expected}{advice}; it was not kept")
    if expected is None:
        say(f"{archive.url}: nobody published its sha256; it is {found}, and {LOCK} remembers that")
        _remember(place, archive.url, {"origin": archive.url, "size": zipped.stat().st_size, "sha256": found})
    return found


def _unpack(zipped: Path, asset: Asset, place: Place, origin: dict[str, Any]) -> str:
    staged = place.scratch(asset.path, "unpacked")
    if asset.is_folder:
        shutil.rmtree(staged, ignore_errors=True)
        extract_folder(zipped, asset.file, staged)
    else:
        extract_file(zipped, asset.file, staged)
    return _accept(asset, staged, asset.path, place, origin, None)
