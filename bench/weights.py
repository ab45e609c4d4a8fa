"""Official checkpoints, read from local folders, with proof that every weight arrived.

Libraries load a file of the wrong network, or with keys that a new version renamed, with a printed warning and
random weights. Here that is an error: after a load, each parameter equals the file's, none is left over on either
side, and all are finite. Nothing is unpickled but tensors, and nothing is downloaded.
"""

from __future__ import annotations

import importlib
import json
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError

if TYPE_CHECKING:
    import torch

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
ENDINGS = ("safetensors", "bin")
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def demand(root: Path, names: Iterable[str], method: str) -> None:
    """Check that a folder has the official layout.

    Raises:
        UserError: `root` lacks one of the relative `names`.
    """
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        command = f"python -m bench fetch method={method}"
        raise UserError(f"{root} lacks {', '.join(missing)}: not the official layout; `{command}` gets it")


def read(path: Path) -> dict[str, Any]:
    """Return all tensors of a .safetensors or torch file, on the CPU, nested as they lie in the file.

    Nothing in the file is executed.

    Raises:
        UserError: no such file, not a checkpoint, or one that holds more than tensors and must be converted first.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights at {path}; `python -m bench fetch` gets them")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        check_stored(content, path)
        return content
    except pickle.UnpicklingError as error:
        if _names_objects(path):
            raise UserError(
                f"{path} holds Python objects next to its tensors, which loading it would execute; "
                f"convert it once: python -m bench convert {path}"
            ) from error
        raise _unreadable(path, error) from error
    except (SafetensorError, RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        raise _unreadable(path, error) from error


def check_stored(content: Any, source: Path) -> None:
    """Check that a file holds every number of its tensors: one with stride 0 names billions and holds one.

    Args:
        content: what `torch.load` gave: tensors, in dictionaries and lists.
        source: named in the message.

    Raises:
        UserError: a tensor has more numbers than the file.
    """
    import torch

    if isinstance(content, torch.Tensor):
        if content.layout == torch.strided and content.nbytes > content.untyped_storage().nbytes():
            raise UserError(
                f"{source} holds a tensor of shape {tuple(content.shape)} without its numbers; fetch it again"
            )
    elif isinstance(content, (Mapping, list, tuple)):
        for value in content.values() if isinstance(content, Mapping) else content:
            check_stored(value, source)


def _names_objects(path: Path) -> bool:
    """Return whether a torch file names classes or functions that are not part of a plain tensor."""
    from torch.serialization import get_unsafe_globals_in_checkpoint

    return zipfile.is_zipfile(path) and bool(get_unsafe_globals_in_checkpoint(path))


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read as weights ({cause(error)}); fetch it again")


def cause(error: BaseException) -> str:
    """Return the line of an exception's message that says what happened.

    It is the first line. `torch.load` puts advice first and has no other mark of it than its words.

    >>> cause(ValueError("Weights only load failed. Advice.\\n\\nUnsupported operand 60\\n\\nCheck the documentation."))
    'Unsupported operand 60'
    """
    lines = str(error).partition("\n\nCheck the documentation")[0].strip().splitlines() or [type(error).__name__]
    return lines[-1 if lines[0].startswith("Weights only load failed") else 0].strip()


def config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """Read a JSON file of a checkpoint folder.

    Raises:
        UserError: it is missing or broken.
    """
    try:
        return json.loads((folder / name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / name} cannot be read ({cause(error)}); fetch it again") from error


def load(network: type, folder: Path, dtype: torch.dtype) -> Any:
    """Return a network of diffusers or transformers from its official folder, in evaluation mode, on the CPU.

    Args:
        network: its class, with `from_pretrained`; never a subclass of the library's (that would load nothing).
        folder: holds config.json and the weights, in one file or in shards.
        dtype: the parameters' type, whatever the file's.

    Raises:
        UserError: wrong folder, wrong class, missing shard, weights that did not all arrive, or are not finite.
    """
    model = _from_pretrained(network, folder, dtype)
    landed(model.state_dict(), _items(weight_files(folder)[1]), folder)
    return model.eval().requires_grad_(False)


def load_renamed(network: type, folder: Path, unused: Sequence[str] = (), dtype: torch.dtype | None = None) -> Any:
    """Return a network of transformers whose keys the library may rename, so that its own report is the proof.

    Args:
        network: its class, as for `load`.
        folder: as for `load`.
        unused: prefixes of keys that official folders hold and this network does not need.
        dtype: the parameters' type, whatever the file's; None: float32.

    Raises:
        UserError: wrong folder, wrong class, or weights that are missing, left over or of another shape.
    """
    import torch

    # Tensors of another shape are reported below, by name.
    given = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    model, report = _from_pretrained(network, folder, dtype or torch.float32, **given)
    if faults := list(_reported(report, tuple(unused))):
        raise UserError(f"{folder} does not hold a {network.__name__}: " + "; ".join(faults))
    return model.eval().requires_grad_(False)


def _from_pretrained(network: type, folder: Path, dtype: torch.dtype, **more: Any) -> Any:
    from safetensors import SafetensorError

    _check_class(network, folder)
    variant, _ = weight_files(folder)
    library = network.__module__.partition(".")[0]
    kind = "torch_dtype" if library == "diffusers" else "dtype"
    given: dict[str, Any] = {kind: dtype, "local_files_only": True, "variant": variant, **more}
    try:
        with quiet(library):
            return network.from_pretrained(folder, **given)  # type: ignore[attr-defined]
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        AttributeError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        raise UserError(f"{folder} does not load as {network.__name__}: {cause(error)}") from error


def _reported(report: Mapping[str, Any], unused: tuple[str, ...]) -> Iterator[str]:
    shapes = [f"{key} {tuple(found)}, expected {tuple(wanted)}" for key, found, wanted in report["mismatched_keys"]]
    extra = [key for key in report["unexpected_keys"] if not key.startswith(unused)]
    for what, keys in (("missing", report["missing_keys"]), ("of another shape", shapes), ("unexpected", extra)):
        if keys:
            yield listed(sorted(keys), what)


def listed(keys: Sequence[str], what: str) -> str:
    """Return how many keys have a fault, and the first three.

    >>> listed(["a", "b", "c", "d"], "missing")
    '4 keys missing (a, b, c, ...)'
    """
    return f"{len(keys)} keys {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"


def tokenizer(folder: Path) -> Any:
    """Load a CLIP tokenizer from its official folder.

    Raises:
        UserError: it does not load.
    """
    from transformers import CLIPTokenizer

    if not isinstance(config(folder, "vocab.json"), dict):
        raise UserError(f"{folder / 'vocab.json'} is not a vocabulary; fetch it again")
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder} is not a CLIP tokenizer: {cause(error)}") from error


def weight_files(folder: Path) -> tuple[str | None, list[Path]]:
    """Return the variant (None or "fp16") and the files of a folder's weights; full precision and safetensors first.

    Raises:
        UserError: the folder has none, or a shard of the index is missing.
    """
    for variant in (None, "fp16"):
        for name in (f"{stem}.{ending}" for ending in ENDINGS for stem in STEMS):
            stem, ending = name.split(".")
            full = f"{stem}.{variant}.{ending}" if variant else name
            if (folder / full).is_file():
                return variant, [folder / full]
            index = f"{stem}.{ending}.index.{variant}.json" if variant else f"{name}.index.json"
            if (folder / index).is_file():
                return variant, _shards(folder, index)
    raise UserError(f"{folder} holds no weights (looked for {', '.join(STEMS)} as .safetensors or .bin)")


def landed(state: Mapping[str, torch.Tensor], items: Iterable[tuple[str, torch.Tensor]], source: Path) -> None:
    """Prove that a loaded network holds exactly the file's weights.

    Args:
        state: the network's state dict.
        items: the file's (key, tensor); old names of attention layers and text encoders are understood.
        source: named in the message.

    Raises:
        UserError: a tensor is missing, left over, different or not finite.
    """
    mine = {canonical(key): value for key, value in state.items()}
    arrived: set[int] = set()
    for key, tensor in items:
        if key.endswith("position_ids"):
            continue
        own = mine.pop(canonical(key), None)
        if own is None:
            raise UserError(f"{source} holds {key!r}, which this network lacks: a checkpoint of another method or base")
        _check_equal(own, tensor, key, source)
        arrived.add(own.data_ptr())
    # Files name tied tensors once (T5's embedding): a second name of what arrived is not missing.
    rest = {key: own for key, own in mine.items() if own.data_ptr() not in arrived}
    left = sorted(key for key in rest if not key.endswith("position_ids"))
    if left:
        raise UserError(
            f"{source} lacks {len(left)} tensors, the first is {left[0]!r}: incomplete or another network's"
        )


def canonical(key: str) -> str:
    """Return a state-dict key in today's names.

    >>> canonical("text_model.final_layer_norm.bias"), canonical("mid_block.attentions.0.proj_attn.bias")
    ('final_layer_norm.bias', 'mid_block.attentions.0.to_out.0.bias')
    """
    match = re.fullmatch(r"(.*)\.(query|key|value|proj_attn)\.(weight|bias)", key)
    if match:
        key = f"{match[1]}.{_OLD_ATTENTION[match[2]]}.{match[3]}"
    return key.removeprefix("text_model.")


def check_finite(tensors: Mapping[str, torch.Tensor], source: Path) -> None:
    """Check a flat group of tensors of a checkpoint.

    Raises:
        UserError: one has a NaN or an infinity.
    """
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{source}: {key!r} is not finite; fetch it again")


def check_layout(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]], source: Path) -> None:
    """Check that a flat group of tensors of a checkpoint is exactly the one expected, and finite.

    Args:
        tensors: the group; `position_ids` may be in it or not.
        expected: key -> shape.
        source: named in messages.

    Raises:
        UserError: a tensor is missing, left over, of another shape or not finite.
    """
    have = {key for key in tensors if not key.endswith("position_ids")}
    missing, extra = sorted(set(expected) - have), sorted(have - set(expected))
    if missing or extra:
        what = f"lacks {len(missing)} tensors ({missing[0]!r})" if missing else f"holds {extra[0]!r}"
        raise UserError(f"{source} {what}: not the expected layout, a checkpoint of another method or version")
    for key, shape in expected.items():
        check_shape(key, tensors[key], shape, source)
    check_finite({key: tensors[key] for key in expected}, source)


def check_shape(key: str, tensor: torch.Tensor, expected: tuple[int, ...], source: Path) -> None:
    """Check one tensor's shape.

    Raises:
        UserError: another shape: the checkpoint is made for another base.
    """
    if tuple(tensor.shape) != expected:
        raise UserError(
            f"{source}: {key!r} is {tuple(tensor.shape)}, this base needs {expected}: made for another base"
        )


def same_mass(mine: Iterable[torch.Tensor], theirs: Iterable[torch.Tensor], source: Path) -> None:
    """Prove that renamed, split or merged tensors arrived: the sum of absolute values, at the network's precision.

    Raises:
        UserError: the sums differ.
    """
    mine = list(mine)
    here = sum(float(t.detach().double().abs().sum()) for t in mine)
    there = sum(float(t.to(mine[0].dtype if mine else t.dtype).double().abs().sum()) for t in theirs)
    if abs(here - there) > 1e-9 * max(here, there):
        raise UserError(f"{source}: not every weight arrived in the network; made for another base or version?")


@contextmanager
def wrong_base(source: Path) -> Iterator[None]:
    """Turn a loader's complaint about keys and shapes into one line, and keep its advice on other loaders back."""
    try:
        with quiet("diffusers"):
            yield
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{source} does not fit this base: {cause(error)}") from error


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Hold back the progress bars and the advice of diffusers or transformers: what matters is checked and raised."""
    logging = importlib.import_module(f"{library}.utils.logging")
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _check_class(network: type, folder: Path) -> None:
    known = config(folder)
    names = [known["_class_name"]] if "_class_name" in known else known.get("architectures") or []
    if names and network.__name__ not in names and not _compatible(network.__name__, names):
        raise UserError(f"{folder} holds a {names[0]}, not a {network.__name__}")


def _compatible(wanted: str, names: list[str]) -> bool:
    # Arc2Face's encoder was saved under its wrapper's name; folders of CLIP and SigLIP often name the whole model.
    family = next((name for name in ("CLIP", "Siglip") if wanted.startswith(name)), None)
    return family is not None and any(n.startswith(family) and ("Text" in n) == ("Text" in wanted) for n in names)


def _shards(folder: Path, index: str) -> list[Path]:
    names = sorted(set(config(folder, index)["weight_map"].values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} lacks the shard {missing[0]}; fetch it again")
    return [folder / name for name in names]


def _items(files: Iterable[Path]) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import safe_open

    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as handle:
                for key in handle.keys():  # noqa: SIM118
                    yield key, handle.get_tensor(key)
        else:
            yield from read(file).items()


def _check_equal(own: torch.Tensor, tensor: torch.Tensor, key: str, source: Path) -> None:
    import torch

    check_finite({key: tensor}, source)
    check_shape(key, tensor, tuple(own.shape), source)
    if not torch.equal(own, tensor.to(own.dtype)):
        raise UserError(f"{source}: {key!r} did not arrive in the network; are diffusers and transformers too new?")
