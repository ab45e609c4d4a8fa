"""What stands next to every torch network: a checkpoint read safely, put in strictly, and pixels as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

State = dict[str, "Tensor"]
"""Dotted key -> tensor; floating point tensors are float32."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""RGB, for values in [0, 1]."""

UNUSED_IN_EVAL = "num_batches_tracked"
"""What batch norms count in training: may be missing, is not read."""


def load_state(path: Path) -> State:
    """All tensors of a checkpoint: safetensors, or a torch file of plain tensors in nested dictionaries.

    Keys of nested dictionaries are joined by dots, so that `{"E_flame": {"encoder.conv1.weight": t}}` answers
    `E_flame.encoder.conv1.weight`. Files in half precision come back as float32. Nothing in the file is executed.

    Raises:
        UserError: no such file, not a checkpoint, or one that holds more than tensors and must be converted first.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights at {path}")
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in flatten(content)}


def _safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from error


def _torch(path: Path) -> Any:
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        if "GLOBAL" in str(error):
            raise UserError(
                f"{path} holds Python objects beside its tensors, which would be executed by loading it; "
                f"convert it once: python -m bench convert {path}"
            ) from error
        raise UserError(f"{path} is not a checkpoint that torch can read: {cause(error)}") from error


def cause(error: Exception) -> str:
    """The line of an exception's message that says what happened: the first, but where `torch.load` gives advice first.

    >>> cause(ValueError("Weights only load failed. Advice.\\n\\nUnsupported operand 60\\n\\nCheck the documentation."))
    'Unsupported operand 60'
    """
    lines = str(error).partition("\n\nCheck the documentation")[0].strip().splitlines() or [type(error).__name__]
    return lines[-1 if lines[0].startswith("Weights only load failed") else 0].strip()


def flatten(content: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested dictionaries, with their dotted keys; anything else is passed over.

    >>> import torch
    >>> [key for key, _ in flatten({"a": {"b.c": torch.zeros(1)}, "step": 3})]
    ['a.b.c']
    """
    import torch

    if isinstance(content, torch.Tensor):
        yield prefix.removesuffix("."), content.detach()
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from flatten(value, f"{prefix}{key}.")


def select(state: State, *prefixes: str) -> State:
    """The part of a state under the first of `prefixes` that occurs in it, without the prefix.

    >>> select({"deca.E_flame.x": 1, "deca.y": 2}, "E_flame.", "deca.E_flame.")
    {'x': 1}
    """
    for prefix in prefixes:
        part = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
        if part:
            return part
    return {}


def fill(network: nn.Module, state: State, source: str, unused: Sequence[str] = ()) -> None:
    """Puts a state into a network, in evaluation mode and without gradients: every parameter comes from the file.

    Args:
        network: may lie on the device "meta": its tensors are replaced.
        state: by the network's keys.
        source: the file and what of it, for the message.
        unused: prefixes of keys that official files hold and this network does not need.

    Raises:
        UserError: keys missing, of another shape, or unexpected.
    """
    import torch

    wanted = network.state_dict()
    counters = {key: torch.zeros((), dtype=torch.long) for key in wanted if key.endswith(UNUSED_IN_EVAL)}
    state = {key: tensor for key, tensor in state.items() if key in wanted or not key.startswith(tuple(unused))}
    state = counters | {key: tensor for key, tensor in state.items() if not key.endswith(UNUSED_IN_EVAL)}
    faults = list(_faults(wanted, state))
    if faults:
        raise UserError(f"{source} does not fit the network: " + "; ".join(faults))
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)


def _faults(wanted: State, state: State) -> Iterator[str]:
    missing = [f"{key} {tuple(wanted[key].shape)}" for key in wanted if key not in state]
    shared = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    shapes = [f"{key} {tuple(state[key].shape)}, expected {tuple(wanted[key].shape)}" for key in shared]
    extra = [key for key in state if key not in wanted]
    for what, keys in (("missing", missing), ("of another shape", shapes), ("unexpected", extra)):
        if keys:
            yield _some(keys, what)


def _some(keys: Sequence[str], what: str) -> str:
    return f"{len(keys)} keys {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"


def pixels(crops: NDArray[Any], device: str) -> Tensor:
    """(b, H, W, 3) RGB, uint8 or float32 in [0, 1] -> (b, 3, H, W) float32 RGB in [0, 1]; uint8 as ToTensor does it.

    Raises:
        TypeError: something else than RGB images of one size.
    """
    import torch

    _must_be_crops(crops)
    images = torch.tensor(np.ascontiguousarray(crops)).to(device).permute(0, 3, 1, 2).contiguous()
    return images if crops.dtype == np.float32 else images.float().div(255)


def channels_last(network: nn.Module, device: str) -> nn.Module:
    """The network on its device; on the CPU in channels-last layout, in which most convolutions are faster.

    Measured with one thread: on crops of 512 SqueezeNet 2.4 times, Inception 1.5, VGG-16 and AlexNet 1.35 times; the
    IResNet-101 1.2 and the 2DFAN-4 1.1 times; ResNet-50 and MobileNetV3 not at all. Results move by rounding, 2e-6 to
    8e-6 of the maximum. BiSeNet would be 1.3 times as fast, but its labels must stay facexlib's to the last pixel.
    """
    import torch

    placed = network.to(device)
    return placed.to(memory_format=torch.channels_last) if torch.device(device).type == "cpu" else placed


def _must_be_crops(crops: NDArray[Any]) -> None:
    if crops.dtype not in (np.uint8, np.float32) or crops.ndim != 4 or crops.shape[3] != 3:
        raise TypeError(f"expected (b, H, W, 3) uint8 or float32, got {crops.shape} {crops.dtype}")


def standardise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x - mean) / std for each of the three channels of (b, 3, H, W)."""
    shift = images.new_tensor(mean)[:, None, None]
    return (images - shift) / images.new_tensor(std)[:, None, None]


def bicubic(crops: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(b, H, W, 3) uint8 -> (b, size, size, 3) uint8 by Pillow's bicubic filter, which is antialiased.

    Raises:
        TypeError: something else than uint8 RGB images of one size.
    """
    from PIL import Image

    _must_be_crops(crops)
    filter_ = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(crop).resize((size, size), filter_)) for crop in crops])


def from_folder(architecture: Any, folder: Path, unused: Sequence[str] = (), dtype: torch.dtype | None = None) -> Any:
    """Return a transformers model from a local folder in Hugging Face layout (config.json beside the weights).

    Args:
        architecture: a model class of transformers.
        folder: holds config.json and safetensors (or a torch file of plain tensors).
        unused: prefixes of keys that the folder may hold and this model does not need.
        dtype: of the parameters, whatever the file's; None: float32.

    Raises:
        UserError: no such folder, no config or weights in it, or those of another model.
    """
    import pickle

    import torch
    from safetensors import SafetensorError

    if not (Path(folder) / "config.json").is_file():
        raise UserError(f"no config.json in {folder}: expected a folder in Hugging Face layout")
    try:
        with quiet_transformers():
            model, report = architecture.from_pretrained(
                str(folder),
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below
                dtype=dtype or torch.float32,
            )
    except (OSError, RuntimeError, ValueError, AttributeError, SafetensorError, pickle.UnpicklingError) as error:
        raise UserError(f"{folder} does not hold a {architecture.__name__}: {cause(error)}") from error
    faults = list(_reported(report, tuple(unused)))
    if faults:
        raise UserError(f"{folder} does not hold a {architecture.__name__}: " + "; ".join(faults))
    return model.eval().requires_grad_(False)


def _reported(report: Mapping[str, Any], unused: tuple[str, ...]) -> Iterator[str]:
    shapes = [f"{key} {tuple(found)}, expected {tuple(wanted)}" for key, found, wanted in report["mismatched_keys"]]
    extra = [key for key in report["unexpected_keys"] if not key.startswith(unused)]
    for what, keys in (("missing", report["missing_keys"]), ("of another shape", shapes), ("unexpected", extra)):
        if keys:
            yield _some(sorted(keys), what)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without progress bars and without the table of unused keys: what matters of it is checked and raised."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
