"""Official checkpoints, read from local folders, with proof that every weight arrived.

Libraries load a file of the wrong network, or with keys that a new version renamed, with a printed warning and
random weights. Here that is an error: after a load, each parameter equals the file's, none is left over on either
side, and all are finite. Nothing is unpickled but tensors, and nothing is downloaded.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
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
    """Checks that a folder has the official layout.

    Raises:
        UserError: `root` lacks one of the relative `names`.
    """
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        command = f"python -m bench fetch method={method}"
        raise UserError(f"{root} lacks {', '.join(missing)}: not the official layout; `{command}` gets it")


def read(path: Path) -> dict[str, Any]:
    """All tensors of a .safetensors, .bin, .ckpt or .pt file, on the CPU; nested as they lie in the file.

    Raises:
        UserError: no such file, not a file of tensors, or a pickle that needs more than tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"no weights at {path}; `python -m bench fetch` gets them")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} holds more than tensors; `python -m bench convert {path}` makes it safe") from error
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise UserError(f"{path} cannot be read as weights ({_first_line(error)}); fetch it again") from error


def config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """A JSON file of a checkpoint folder.

    Raises:
        UserError: it is missing or broken.
    """
    try:
        return json.loads((folder / name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / name} cannot be read ({_first_line(error)}); fetch it again") from error


def load(network: type, folder: Path, dtype: torch.dtype) -> Any:
    """A diffusers or transformers network from its official folder, in evaluation mode, on the CPU.

    Args:
        network: its class, with `from_pretrained`; never a subclass of the library's (that would load nothing).
        folder: holds config.json and the weights, in one file or in shards.
        dtype: the parameters' type, whatever the file's.

    Raises:
        UserError: wrong folder, wrong class, missing shard, weights that did not all arrive, or are not finite.
    """
    _quiet()
    _check_class(network, folder)
    variant, files = weight_files(folder)
    kind = "torch_dtype" if network.__module__.startswith("diffusers") else "dtype"
    given: dict[str, Any] = {kind: dtype, "local_files_only": True, "variant": variant}
    try:
        model = network.from_pretrained(folder, **given).eval()  # type: ignore[attr-defined]
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise UserError(f"{folder} does not load as {network.__name__}: {_first_line(error)}") from error
    landed(model.state_dict(), _items(files), folder)
    return model.requires_grad_(False)


def tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer from its official folder.

    Raises:
        UserError: it does not load.
    """
    from transformers import CLIPTokenizer

    if not isinstance(config(folder, "vocab.json"), dict):
        raise UserError(f"{folder / 'vocab.json'} is not a vocabulary; fetch it again")
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder} is not a CLIP tokenizer: {_first_line(error)}") from error


def weight_files(folder: Path) -> tuple[str | None, list[Path]]:
    """The variant (None or "fp16") and the files that hold a folder's weights; full precision and safetensors first.

    Raises:
        UserError: there is none, or a shard of the index is missing.
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
    """Proves that a loaded network holds exactly the file's weights.

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
    """A state-dict key in today's names.

    >>> canonical("text_model.final_layer_norm.bias"), canonical("mid_block.attentions.0.proj_attn.bias")
    ('final_layer_norm.bias', 'mid_block.attentions.0.to_out.0.bias')
    """
    match = re.fullmatch(r"(.*)\.(query|key|value|proj_attn)\.(weight|bias)", key)
    if match:
        key = f"{match[1]}.{_OLD_ATTENTION[match[2]]}.{match[3]}"
    return key.removeprefix("text_model.")


def check_finite(tensors: Mapping[str, torch.Tensor], source: Path) -> None:
    """Checks a flat group of tensors of a checkpoint.

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
    """Checks one tensor's shape.

    Raises:
        UserError: another shape: the checkpoint is made for another base.
    """
    if tuple(tensor.shape) != expected:
        raise UserError(
            f"{source}: {key!r} is {tuple(tensor.shape)}, this base needs {expected}: made for another base"
        )


def same_mass(mine: Iterable[torch.Tensor], theirs: Iterable[torch.Tensor], source: Path) -> None:
    """Proves that renamed, split or merged tensors arrived: the sum of absolute values, at the network's precision.

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
    """Turns a loader's complaint about keys and shapes into one line, and keeps its advice on other loaders back."""
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{source} does not fit this base: {_first_line(error)}") from error
    finally:
        logging.set_verbosity(level)


def _check_class(network: type, folder: Path) -> None:
    known = config(folder)
    names = [known["_class_name"]] if "_class_name" in known else known.get("architectures") or []
    if names and network.__name__ not in names and not _compatible(network.__name__, names):
        raise UserError(f"{folder} holds a {names[0]}, not a {network.__name__}")


def _compatible(wanted: str, names: list[str]) -> bool:
    # Arc2Face's encoder was saved under its wrapper's name; CLIP folders often name the whole model.
    return wanted.startswith("CLIP") and any(
        n.startswith("CLIP") and ("Text" in n) == ("Text" in wanted) for n in names
    )


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


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _quiet() -> None:
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
