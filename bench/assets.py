"""Every file that a method, an extractor or a dataset needs: where it comes from, what it must be, who may have it.

The table is `assets.yaml` next to this file. Nothing here opens a connection: `python -m bench fetch` does, and a run
only reads what is there. What the table does not know (the sha256 of a file that nobody published, the commit behind
"main") the first fetch records in `assets.lock.json` in the weights folder, and from then on it must not change.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from bench.errors import UserError
from bench.hashing import sha256_path

TABLE = Path(__file__).with_name("assets.yaml")
MINI = Path(__file__).resolve().parent / "mini" / "weights"
LOCK = "assets.lock.json"
SCRATCH = ".fetch"
"""Folder under the weights folder for what is still arriving; nothing else ever lies there."""
ENVIRONMENT = "IDBENCH_WEIGHTS"

PICKLED = (".ckpt", ".pt", ".tar", ".pth", ".bin")
"""Endings of checkpoints that may hold more than tensors; `convert` writes `.safetensors` next to them."""

Gate = Literal["free", "click-through", "e-mail", "manual"]
"""free: anyone; click-through: after reading terms; e-mail: on request; manual: no direct address, a person gets it."""
Use = Literal["open", "rail", "research"]
"""open: any use; rail: any but those that the licence lists; research: non-commercial, or evaluation only."""

SHA256 = re.compile(r"[0-9a-f]{64}")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Archive(_Record):
    """A zip that holds several files of the table."""

    url: str
    size: int | None = None
    sha256: str | None = None


class Asset(_Record):
    """One file (or folder of data) and all that is known about it.

    Attributes:
        path: where it lies under the weights folder, "/"-separated; a folder ends in "/".
        licence: whose terms, in words.
        use: what they allow.
        gate: how one gets it.
        page: where a person reads the terms, or gets the file.
        used_by: names of the methods, extractors or datasets that read it.
        size: bytes; None where nobody published it.
        sha256: hex; likewise.
        file: its name in the repository or the archive.
        hub: Hugging Face repository.
        revision: commit of that repository; None: main, then what the lock says.
        url: plain https address.
        archive: zip that holds it, under `file`.
        alternatives: other names that `file` may have in the repository; the ending of `path` follows.
        note: what else to know.
    """

    path: str
    licence: str
    use: Use
    gate: Gate
    page: str
    used_by: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    file: str
    hub: str | None = None
    revision: str | None = None
    url: str | None = None
    archive: Archive | None = None
    alternatives: tuple[str, ...] = ()
    note: str = ""

    @property
    def is_folder(self) -> bool:
        """Return whether it is a folder of files, such as a dataset's images."""
        return self.path.endswith("/")

    @property
    def automatic(self) -> bool:
        """Return whether `fetch` can get it without a person's hands."""
        return self.gate in ("free", "click-through")

    @property
    def paths(self) -> tuple[str, ...]:
        """Return every place where it may lie under the weights folder, the usual one first.

        >>> table().under("realvisxl_v3/vae/diffusion_pytorch_model.safetensors")[0].paths[1]
        'realvisxl_v3/vae/diffusion_pytorch_model.fp16.safetensors'
        """
        return (self.path, *(self.path.removesuffix(self.file) + name for name in self.alternatives))


class _File(_Record):
    file: str
    save_as: str | None = None
    size: int | None = None
    sha256: str | None = None
    used_by: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    note: str = ""


class _Source(_Record):
    folder: str
    files: tuple[_File, ...]
    licence: str
    use: Use
    page: str
    gate: Gate = "free"
    used_by: tuple[str, ...] = ()
    hub: str | None = None
    revision: str | None = None
    url: str | None = None
    archive: Archive | None = None

    def assets(self) -> Iterator[Asset]:
        shared = self.model_dump(exclude={"folder", "files"})
        for file in self.files:
            own = file.model_dump(exclude={"save_as"}) | {
                "path": f"{self.folder}/{file.save_as or file.file}",
                "used_by": file.used_by or self.used_by,
                "url": self.url and self.url.replace("{file}", file.file),
            }
            yield Asset(**(shared | own))


class Table(_Record):
    """The whole table.

    Attributes:
        names: kind ("methods") -> name -> other names whose files it needs too.
        profiles: name -> names that its evaluation needs.
        sources: files by where they come from; `assets` has them one by one.
    """

    version: Literal[1]
    names: Mapping[str, Mapping[str, tuple[str, ...]]]
    profiles: Mapping[str, tuple[str, ...]]
    sources: tuple[_Source, ...]

    @cached_property
    def assets(self) -> tuple[Asset, ...]:
        """Return all files, in the order of the table."""
        return tuple(asset for source in self.sources for asset in source.assets())

    @cached_property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """Map a name to the other names whose files it needs too, of all kinds."""
        return {name: needs for group in self.names.values() for name, needs in group.items()}

    def under(self, path: str) -> list[Asset]:
        """Return the file at `path` under the weights folder, or all files in that folder.

        Raises:
            UserError: nothing lies there; the message has the nearest.
        """
        path = path.rstrip("/")
        found = [a for a in self.assets if any(p.rstrip("/") == path or p.startswith(f"{path}/") for p in a.paths)]
        if path and found:
            return found
        near = difflib.get_close_matches(path, [asset.path for asset in self.assets], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"no file {path!r} in the table{hint} `python -m bench fetch --list` shows all")

    def closure(self, names: Iterable[str]) -> set[str]:
        """Return the names and all that they need; a name that the table does not know needs nothing.

        >>> sorted(table().closure(["arc2face", "copy"]))
        ['arc2face', 'arcface', 'copy', 'scrfd_10g']
        """
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self.needs.get(name, ()))
        return found

    def wanted(self, names: Iterable[str]) -> list[Asset]:
        """Return all files that the names need, each once, in the order of the table."""
        found = self.closure(names)
        return [asset for asset in self.assets if found.intersection(asset.used_by)]

    @model_validator(mode="after")
    def _consistent(self) -> Table:
        faults = list(_faults(self))
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _faults(table: Table) -> Iterator[str]:
    taken: set[str] = set()
    for asset in table.assets:
        yield from (f"{asset.path}: {fault}" for fault in _faults_of(asset, table.needs))
        yield from (f"{path} is listed twice" for path in asset.paths if path in taken)
        taken.update(asset.paths)
    users = [name for group in (table.needs, table.profiles) for names in group.values() for name in names]
    yield from (f"{name} is not among the names" for name in users if name not in table.needs)
    if len(table.needs) != sum(map(len, table.names.values())):
        yield "a name is listed under two kinds"


def _faults_of(asset: Asset, names: Mapping[str, Any]) -> Iterator[str]:
    if not all(is_inside(path) for path in (*asset.paths, asset.file)):
        yield "a path leaves the weights folder"
    hashes = (asset.sha256, asset.archive.sha256 if asset.archive else None)
    if any(value is not None and not SHA256.fullmatch(value) for value in hashes):
        yield "a sha256 is 64 small hex digits"
    if not asset.used_by or not set(names).issuperset(asset.used_by):
        yield f"used by {', '.join(asset.used_by) or 'nobody'}"
    if sum(origin is not None for origin in (asset.hub, asset.url, asset.archive)) != asset.automatic:
        yield f"gate {asset.gate} does not go with its origin"
    if asset.is_folder and asset.automatic and asset.archive is None:
        yield "a folder comes out of an archive, or by hand"


def is_inside(path: str) -> bool:
    """Return whether a "/"-separated path stays under the folder that it is joined to.

    >>> is_inside("sd15/vae/config.json"), is_inside("../x"), is_inside("/etc/x"), is_inside("a/../../x")
    (True, False, False, False)
    """
    parts = PurePosixPath(path).parts
    odd = "\\" in path or ":" in path or "\0" in path
    return bool(parts) and not odd and not path.startswith("/") and ".." not in parts


@lru_cache(maxsize=4)
def read_table(path: Path) -> Table:
    """Read a table from its YAML file.

    Raises:
        pydantic.ValidationError: it is not well formed.
    """
    return Table.model_validate(yaml.safe_load(path.read_text("utf-8")))


def table() -> Table:
    """Return the project's table."""
    return read_table(TABLE)


def weights_folder(directory: str | Path | None = None) -> Path:
    """Return the weights folder: the one given, else that of the environment's IDBENCH_WEIGHTS, else `weights`."""
    return Path(directory or os.environ.get(ENVIRONMENT) or "weights")


def find(asset: Asset, root: Path) -> Path | None:
    """Return where a file lies, or None; a folder of data counts if it is not empty."""
    for path in (root / name for name in asset.paths):
        if any(path.iterdir()) if asset.is_folder and path.is_dir() else path.is_file():
            return path
    return None


def missing(names: Iterable[str], root: Path | None = None) -> list[Asset]:
    """Return the files that these methods, extractors and datasets need and that are not there.

    Names that the table does not know (`copy`, or a third party's) need nothing.
    """
    root = weights_folder(root)
    return [asset for asset in table().wanted(names) if find(asset, root) is None]


def read_lock(root: Path) -> dict[str, dict[str, Any]]:
    """Return what earlier fetches recorded: path -> sha256, size, mtime_ns and revision.

    Raises:
        UserError: the lock file is broken.
    """
    path = root / LOCK
    try:
        return dict(json.loads(path.read_text("utf-8"))["files"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove it, and the next fetch writes it anew") from error


def expected_sha256(asset: Asset, path: str, lock: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the sha256 that a file must have: the table's, else the one of the first fetch, else None."""
    return asset.sha256 or lock.get(path, {}).get("sha256")


@dataclass(frozen=True)
class Fault:
    """A file that is missing or not what it must be.

    Attributes:
        asset: the file.
        detail: what is wrong with it, in words.
        is_missing: whether there is nothing at all.
    """

    asset: Asset
    detail: str
    is_missing: bool = False


def verify(assets: Sequence[Asset], root: Path, deep: bool = False) -> list[Fault]:
    """Return what is wrong with these files: missing, another size, or (`deep`: every byte is read) another sha256."""
    lock = read_lock(root)
    faults = (_fault(asset, root, lock, deep) for asset in assets)
    return [fault for fault in faults if fault is not None]


def _fault(asset: Asset, root: Path, lock: Mapping[str, Mapping[str, Any]], deep: bool) -> Fault | None:
    path = find(asset, root)
    if path is None:
        return Fault(asset, "missing", is_missing=True)
    if asset.is_folder:
        return None
    if asset.size is not None and path.stat().st_size != asset.size:
        return Fault(asset, f"has {path.stat().st_size} bytes, not {asset.size}")
    expected = expected_sha256(asset, path.relative_to(root).as_posix(), lock)
    found = sha256_path(path) if deep and expected else expected
    return None if found == expected else Fault(asset, f"has sha256 {found}, not {expected}")


def require(path: Path, user: str | None = None) -> Path:
    """Return the path, if there is something.

    Args:
        path: a file or folder of weights.
        user: name of the method, extractor or dataset that reads it.

    Raises:
        UserError: there is nothing; the message says how to get it.
    """
    if not path.exists():
        raise missing_file(path, user)
    return path


def missing_file(path: Path, user: str | None = None) -> UserError:
    """Return the error for a missing file or folder: its name, licence and gate, and the command or page that gets it.

    >>> print(missing_file(Path("weights/insightface/glintr100.onnx")))  # doctest: +ELLIPSIS
    no file at weights/insightface/glintr100.onnx (licence: non-commercial ...); `python -m bench fetch recogniser=...
    """
    if path.is_relative_to(MINI):
        return UserError(f"no file at {path}: the embedded world has no such weights; official ones: profile=paper")
    found = _locate(path)
    if found is None:
        return _unconverted(path, user) or UserError(f"no file at {path}; the table of assets does not know that path")
    asset, root = found
    return UserError(f"no file at {path} (licence: {asset.licence}; gate: {asset.gate}); {remedy(asset, root, user)}")


def _unconverted(path: Path, user: str | None) -> UserError | None:
    """Return the error for a safetensors file that `convert` makes of a checkpoint in the table."""
    sources = [path.with_suffix(ending) for ending in PICKLED if path.suffix == ".safetensors"]
    source = next((source for source in sources if _locate(source)), None)
    if source is None:
        return None
    first = "" if source.exists() else f"{missing_file(source, user)}, and then "
    return UserError(f"{first}`python -m bench convert {shlex.quote(str(source))}` makes {path.name}")


def _locate(path: Path) -> tuple[Asset, Path] | None:
    """Return the first file of the table at or under a path, by the longest ending that both share, and its root."""
    parts = path.parts
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        for asset in table().assets:
            if any(name.rstrip("/") == tail or name.startswith(tail + "/") for name in asset.paths):
                return asset, Path(*parts[:start])
    return None


def remedy(asset: Asset, root: Path, user: str | None = None) -> str:
    """Return what gets a file, in words: the command, or the page and where to put what it gives."""
    if not asset.automatic:
        return f"get it by hand from {asset.page} and put it at {root / asset.path}"
    terms = f", once you agree to the terms at {asset.page}" if asset.gate != "free" else ""
    return f"`{command(asset, root, user)}` gets it{terms}"


def origin(path: Path) -> str | None:
    """Return what gets a file or folder of the table, in words; None for another path.

    >>> origin(Path("weights/datasets/london"))
    '`python -m bench fetch dataset=london` gets it'
    """
    found = _locate(path)
    return remedy(*found) if found else None


def command(asset: Asset, root: Path, user: str | None = None) -> str:
    """Return the command that fetches a file, with all else that its user needs."""
    name = user if user in table().needs else asset.used_by[0]
    kind = next(kind for kind, group in table().names.items() if name in group).removesuffix("s")
    folder = "" if root == weights_folder() else f" --dir {shlex.quote(str(root))}"
    accept = "" if asset.gate == "free" else " --accept-licence"
    return f"python -m bench fetch {kind}={name}{folder}{accept}"


def licences(names: Iterable[str]) -> list[tuple[Use, str]]:
    """Return what the licences of all that these names need allow, and their words; the strictest first, each once."""
    order: tuple[Use, ...] = ("research", "rail", "open")
    found = dict.fromkeys((asset.use, asset.licence) for asset in table().wanted(names))
    return sorted(found, key=lambda pair: order.index(pair[0]))
