"""`python -m bench convert`: a checkpoint with Python objects in it becomes safetensors; none of them is run."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.console import Parser
from bench.errors import UserError
from bench.hashing import sha256_path
from bench.networks import flatten
from bench.weights import cause, check_stored

KEPT = ("E_flame.", "E_expression.", "deca.E_flame.", "deca.E_expression.", "smirk_encoder.", "model.")
"""Prefixes that our extractors read: DECA's, EMOCA's, SMIRK's and AdaFace's."""

WARNING = """\
{source}
  sha256 {sha256}
is a pickle: read in the usual way, it could run any program on this machine with your rights. Here it is
read by torch's restricted reader, in which every class and function that is not part of a plain tensor
is replaced by an empty stand-in, so that nothing from the file runs. Still, convert only a file that you
got from its authors.
Tensors under {keep} are written to
  {target}
Nothing else is kept.
"""


def main(argv: Sequence[str]) -> int:
    """Explain, ask, convert.

    Returns:
        The exit code: 0, or 1 where the user declined.

    Raises:
        UserError: see `convert`; or nobody can be asked and `--yes` was not given.
    """
    options = _parser().parse_args(argv)
    source: Path = options.file
    target: Path = options.out or source.with_suffix(".safetensors")
    keep: tuple[str, ...] = tuple(options.keep or KEPT)
    text = WARNING.format(source=source, sha256=sha256_path(source), keep=", ".join(keep), target=target)
    sys.stdout.write(text)
    if not (options.yes or _agreed(source)):
        sys.stdout.write("not converted\n")
        return 1
    count, objects = convert(source, target, keep)
    sys.stdout.write(f"{count} tensors written; stand-ins took the place of: {', '.join(objects) or 'nothing'}\n")
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m bench convert", description=__doc__)
    parser.add_argument("file", type=Path, help="the checkpoint")
    parser.add_argument("--out", type=Path, help="where to write; FILE with the ending .safetensors unless given")
    parser.add_argument("--keep", nargs="+", metavar="PREFIX", help=f"keys to keep; {' '.join(KEPT)} unless given")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _agreed(source: Path) -> bool:
    if not sys.stdin.isatty():
        raise UserError(f"nobody to ask: python -m bench convert {source} --yes converts it without a question")
    return input("Convert? [y/N] ").strip().lower() in ("y", "yes")


def convert(source: Path, target: Path, keep: Sequence[str] = KEPT) -> tuple[int, list[str]]:
    """Write the tensors of `source` whose keys start with one of `keep`, as they are, to a safetensors file.

    The keys are those of the nested dictionaries joined by dots, without a leading "state_dict.".

    Returns:
        How many tensors, and the names of the classes and functions that were replaced by stand-ins.

    Raises:
        UserError: no such file, not a torch checkpoint, one that cannot be read without running it, no tensor
            under `keep`, or `target` exists.
    """
    from safetensors.torch import save_file

    if target.exists():
        raise UserError(f"{target} exists; remove it, or name another with --out")
    content, objects = read_inert(source)
    tensors = {key.removeprefix("state_dict."): tensor for key, tensor in flatten(content)}
    kept = {key: tensor.clone().contiguous() for key, tensor in tensors.items() if key.startswith(tuple(keep))}
    if not kept:
        found = sorted({key.split(".")[0] + "." for key in tensors})
        raise UserError(f"{source} has no tensor under {', '.join(keep)}; name with --keep one of: {' '.join(found)}")
    part = target.with_name(f"{target.name}.part")
    save_file(kept, part, metadata={"format": "pt", "converted_from_sha256": sha256_path(source)})
    os.replace(part, target)
    return len(kept), objects


def read_inert(path: Path) -> tuple[Any, list[str]]:
    """Return the content of a torch checkpoint, with an empty object for whatever it names besides plain tensors.

    Reading is torch's own `weights_only`; the names that it would refuse are given stand-ins first.

    Returns:
        The content and the names ("module.attribute") that have stand-ins.

    Raises:
        UserError: not a torch checkpoint (of torch 1.6 or later), or one that names parts of the operating system.
    """
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    if not path.is_file():
        raise UserError(f"no file at {path}")
    try:
        names = sorted(get_unsafe_globals_in_checkpoint(path))
        with safe_globals([(_stand_in(name), name) for name in names]):
            content = torch.load(path, map_location="cpu", weights_only=True)
        check_stored(content, path)
        return content, names
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, TypeError, AttributeError) as error:
        raise UserError(f"{path} can't be read without running what is in it: {cause(error)}") from error


def _stand_in(name: str) -> Any:
    return _empty_dict if name == "collections.defaultdict" else type(name, (_StandIn,), {})


def _empty_dict(*_: Any) -> dict[Any, Any]:
    return {}


class _StandIn:
    """Takes any arguments and any state, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _StandIn:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass
