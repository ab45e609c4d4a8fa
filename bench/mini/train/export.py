"""Writes networks in the official formats; weights are stored in 16 bits and computed with in 32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def onnx_file(
    module: nn.Module,
    example: Tensor,
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Mapping[str, dict[int, str]],
) -> None:
    """Export `module` (eval mode, batch norms folded) to ONNX, opset 17, with weights in 16 bits.

    Args:
        module: on the CPU, in eval mode.
        example: an input of the module.
        path: of the file.
        inputs: names of the graph's inputs.
        outputs: names of its outputs.
        dynamic: names of the dynamic axes of inputs and outputs.
    """
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"opset_version": 17, "dynamo": False, "dynamic_axes": dict(dynamic)}
    module = module.to(memory_format=torch.contiguous_format)
    torch.onnx.export(module, (example,), str(path), input_names=list(inputs), output_names=list(outputs), **options)
    model = onnx.load(str(path))
    halve(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def halve(model: Any) -> None:
    """Store every large float32 initialiser of an ONNX model in float16, behind a Cast that brings it back."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 64:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], f"widen_{name}", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with its floating-point tensors in float16; statistics of batch norms stay in float32."""
    return {
        name: value.half().contiguous()
        if value.is_floating_point() and "running" not in name
        else value.contiguous().clone()
        for name, value in state.items()
    }


def torch_file(state: Mapping[str, Tensor], path: Path) -> None:
    """Save a state dict that `torch.load(weights_only=True)` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(halved(state), path)
