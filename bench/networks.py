"""What every torch network of ours needs: a checkpoint's tensors, put in strictly, and pixels as tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.weights import listed, read

if TYPE_CHECKING:
    from torch import Tensor, nn

State = dict[str, "Tensor"]
"""Dotted key -> tensor; floating point tensors are float32."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""RGB, for values in [0, 1]."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""OpenAI CLIP's; RGB, for values in [0, 1]."""

UNUSED_IN_EVAL = "num_batches_tracked"
"""What batch norms count in training: may be missing, is not read."""


def load_state(path: Path) -> State:
    """Return all tensors of a checkpoint: safetensors, or a torch file of plain tensors in nested dictionaries.

    Keys of nested dictionaries are joined by dots, so that `{"E_flame": {"encoder.conv1.weight": t}}` answers
    `E_flame.encoder.conv1.weight`. Files in half precision come back as float32. Nothing in the file is executed.

    Raises:
        UserError: see `bench.weights.read`.
    """
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in flatten(read(path))}


def flatten(content: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in nested dictionaries, with their dotted keys; anything else is passed over.

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
    """Return the part of a state under the first of `prefixes` that occurs in it, without the prefix.

    >>> select({"deca.E_flame.x": 1, "deca.y": 2}, "E_flame.", "deca.E_flame.")
    {'x': 1}
    """
    for prefix in prefixes:
        if part := group(state, prefix):
            return part
    return {}


def group(state: Mapping[str, Tensor], prefix: str) -> State:
    """Return the part of a state under a prefix, without it.

    >>> group({"a.b": 1, "c": 2}, "a.")
    {'b': 1}
    """
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def beside(state: State, stem: str, source: str) -> State:
    """Return the tensors under the same prefix as the only key that ends in `stem`, without that prefix.

    Checkpoints of whole trainings hold a network under a prefix, which differs from file to file, next to other parts.

    Args:
        state: a checkpoint.
        stem: a key of the network that no other part has.
        source: the file, for the message.

    Raises:
        UserError: no key or several end in `stem`.

    >>> beside({"model.a": 1, "model.b.c": 2, "head.x": 3}, "b.c", "file")
    {'a': 1, 'b.c': 2}
    """
    prefixes = [key.removesuffix(stem) for key in state if key.endswith(stem)]
    if len(prefixes) != 1:
        raise UserError(f"{source} holds {len(prefixes)} tensors named ...{stem}; expected one")
    return {key.removeprefix(prefixes[0]): tensor for key, tensor in state.items() if key.startswith(prefixes[0])}


def fill(network: nn.Module, state: State, source: str, unused: Sequence[str] = ()) -> None:
    """Put a state into a network, in evaluation mode and without gradients: every parameter comes from the file.

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
            yield listed(keys, what)


def pixels(crops: NDArray[Any], device: str) -> Tensor:
    """Turn (b, H, W, 3) RGB, uint8 or float32 in [0, 1], into (b, 3, H, W) float32 RGB in [0, 1]; as ToTensor does.

    Raises:
        TypeError: something else than RGB images of one size.
    """
    import torch

    _must_be_crops(crops)
    images = torch.tensor(np.ascontiguousarray(crops)).to(device).permute(0, 3, 1, 2).contiguous()
    return images if crops.dtype == np.float32 else images.float().div(255)


def channels_last(network: nn.Module, device: str) -> nn.Module:
    """Return the network on its device; on the CPU in channels-last layout, in which most convolutions are faster.

    Measured with one thread: on crops of 512 SqueezeNet 2.4 times, Inception 1.5, VGG-16 and AlexNet 1.35 times; the
    IResNet-101 1.2 and the 2DFAN-4 1.1 times; ResNet-50 and MobileNetV3 not at all. Results move by rounding, 2e-6 to
    8e-6 of the maximum. BiSeNet would be 1.3 times as fast, but its labels must stay facexlib's to the last pixel.
    """
    import torch

    placed = network.to(device)
    return placed.to(memory_format=torch.channels_last) if torch.device(device).type == "cpu" else placed


def assemble(
    make: Callable[[], nn.Module], state: State, source: str, device: str, unused: Sequence[str] = ()
) -> nn.Module:
    """Return a network that was made without memory, filled from a state and put on its device.

    Args:
        make: builds the network; all its buffers must be in the state.
        state: by the network's keys.
        source: the file and what of it, for the message.
        device: where it shall lie.
        unused: prefixes of keys that official files hold and this network does not need.

    Raises:
        UserError: keys missing, of another shape, or unexpected.
    """
    import torch

    with torch.device("meta"):
        network = make()
    fill(network, state, source, unused)
    return channels_last(network, device)


def require_side(crops: NDArray[Any], side: int, network: str) -> None:
    """Refuse crops of another size than a network was trained on, where it would take any without complaint.

    Raises:
        UserError: the crops are not `side` pixels high and wide.
    """
    if crops.shape[1:3] != (side, side):
        height, width = crops.shape[1:3]
        raise UserError(f"{network} reads crops of {side} x {side} pixels, not {height} x {width}; check its `view`")


def _must_be_crops(crops: NDArray[Any]) -> None:
    if crops.dtype not in (np.uint8, np.float32) or crops.ndim != 4 or crops.shape[3] != 3:
        raise TypeError(f"expected (b, H, W, 3) uint8 or float32, got {crops.shape} {crops.dtype}")


def standardise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return (x - mean) / std for each of the three channels of (b, 3, H, W)."""
    shift = images.new_tensor(mean)[:, None, None]
    return (images - shift) / images.new_tensor(std)[:, None, None]


def bicubic(crops: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize (b, H, W, 3) uint8 to (b, size, size, 3) uint8 by Pillow's bicubic filter, which is antialiased.

    Raises:
        TypeError: something else than uint8 RGB images of one size.
    """
    from PIL import Image

    _must_be_crops(crops)
    filter_ = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(crop).resize((size, size), filter_)) for crop in crops])
