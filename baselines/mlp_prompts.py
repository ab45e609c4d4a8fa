"""Prompts by an MLP: what the paper's ablation puts in place of the CLIP encoder (Fig. 9).

Linear layers with an activation between them turn a unit embedding into all tokens at once. The paper says "4-layer
MLP" and no more, so depth, widths and the number of tokens are those of the file. The unconditional branch of the
guidance is the MLP of a zero vector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench import weights
from bench.errors import UserError

if TYPE_CHECKING:
    import torch

Activation = Literal["gelu", "relu", "silu"]
FILE = "projection.safetensors"
"""Name of the MLP's file in the folder of a model."""


def mlp(sizes: Sequence[int], activation: Activation) -> Any:
    """Return a `torch.nn.Sequential` of linear layers, (..., sizes[0]) to (..., sizes[-1]), an activation between."""
    from torch import nn

    kinds = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}
    layers: list[Any] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), kinds[activation]()]
    return nn.Sequential(*layers[:-1])


def tokens_of(network: Any, embeddings: torch.Tensor, width: int) -> torch.Tensor:
    """Return the prompts (n, tokens, width) of embeddings (n, d) of any length; zero stays zero."""
    import torch

    return network(torch.nn.functional.normalize(embeddings)).unflatten(-1, (-1, width))


class MlpPrompts:
    """An MLP that reads identities, several at once.

    Args:
        network: see `mlp`.
        width: of a token, as the UNet reads it.
    """

    def __init__(self, network: Any, width: int) -> None:
        self.network = network
        self.width = width

    @property
    def reads(self) -> int:
        """The length of the embeddings."""
        return int(self.network[0].in_features)

    def identities(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the prompts, (n, tokens, width), of (n, d) embeddings of any length."""
        import torch

        first = self.network[0].weight
        return tokens_of(self.network, embeddings.to(first.device, torch.float32), self.width)

    def unconditional(self) -> torch.Tensor:
        """Return the prompt of nobody, (1, tokens, width)."""
        first = self.network[0].weight
        return tokens_of(self.network, first.new_zeros(1, self.reads), self.width)


def load(path: Path, width: int, activation: Activation) -> MlpPrompts:
    """Read an MLP, in float32.

    The file holds `NAME.weight` (out, in) and `NAME.bias` (out,) of every layer, in the order of the numbers in NAME.

    Args:
        path: .safetensors or torch file.
        width: of a token; the last layer gives a multiple of it.
        activation: between layers; no file says it.

    Raises:
        UserError: the file holds anything else, or its layers do not fit together.
    """
    state = weights.read(path)
    names = sorted((name.removesuffix(".weight") for name in state if name.endswith(".weight")), key=_numbers)
    sizes = _sizes(state, names, path)
    if sizes[-1] % width:
        raise UserError(f"{path}: its last layer gives {sizes[-1]} numbers, no multiple of {width}")
    tensors = {
        f"{2 * place}.{part}": state[f"{name}.{part}"].float()
        for place, name in enumerate(names)
        for part in ("weight", "bias")
    }
    network = mlp(sizes, activation)
    weights.check_layout(tensors, {key: tuple(own.shape) for key, own in network.state_dict().items()}, path)
    network.load_state_dict(tensors)
    return MlpPrompts(network.eval(), width)


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", name))


def _sizes(state: Mapping[str, torch.Tensor], names: Sequence[str], path: Path) -> list[int]:
    """Return the widths between the layers."""
    expected = {f"{name}.{part}" for name in names for part in ("weight", "bias")}
    if not names or set(state) != expected or any(state[f"{name}.weight"].ndim != 2 for name in names):
        raise UserError(f"{path} is not an MLP: it holds more than NAME.weight and NAME.bias of linear layers")
    shapes = [tuple(state[f"{name}.weight"].shape) for name in names]
    for (given, _), (_, taken) in pairwise(shapes):
        if given != taken:
            raise UserError(f"{path}: a layer gives {given} numbers and the next one takes {taken}")
    return [shapes[0][1], *(given for given, _ in shapes)]
