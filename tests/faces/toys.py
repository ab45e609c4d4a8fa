"""Small networks in the formats of the real ones, with weights that make their answers known."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

STRIDES = (8, 16, 32)
BOX = 1.5  # half a toy face, in cells


def _save(path: Path, nodes: list, inputs: dict, outputs: dict, weights: dict) -> Path:
    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    ends = [[info(name, shape) for name, shape in part.items()] for part in (inputs, outputs)]
    graph = helper.make_graph(nodes, "toy", *ends, initializer=tensors)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), path)
    return path


def scrfd(path: Path, keypoints: bool = True, size: int | str = "?") -> Path:
    """A SCRFD that sees a face where a cell of 32 pixels is full of red, at its upper left corner, 96 pixels wide."""
    parts = (("score", 1), ("box", 4), ("point", 10)) if keypoints else (("score", 1), ("box", 4))
    nodes, weights = [], {}
    for stride in STRIDES:
        sides = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
        nodes.append(helper.make_node("AveragePool", ["image"], [f"mean{stride}"], **sides))
        for name, width in parts:
            nodes += _head(name, width, stride)
            weights |= _values(name, width, stride)
    outputs = {f"{name}{stride}": [None, width] for name, width in parts for stride in STRIDES}
    return _save(path, nodes, {"image": [1, 3, size, size]}, outputs, weights)


def _head(name: str, width: int, stride: int) -> list:
    at = f"{name}{stride}"
    nodes = [
        helper.make_node("Conv", [f"mean{stride}", f"{at}_w", f"{at}_b"], [f"{at}_map"]),
        helper.make_node("Transpose", [f"{at}_map"], [f"{at}_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{at}_last", f"{at}_shape"], [f"{at}_raw" if name == "score" else at]),
    ]
    return [*nodes, helper.make_node("Sigmoid", [f"{at}_raw"], [at])] if name == "score" else nodes


def _values(name: str, width: int, stride: int) -> dict:
    """Two anchors in each cell, of which the first is a little surer."""
    weight = np.zeros((2 * width, 3, 1, 1), np.float32)
    if name == "score" and stride == 32:
        weight[:, :, 0, 0] = [[40, -20, -20], [39, -20, -20]]
        bias = [-60.0, -60.0]
    elif name == "score":
        bias = [-100.0, -100.0]
    elif name == "box":
        bias = [BOX] * 8
    else:
        bias = (np.array([[-0.5, -0.5], [0.5, -0.5], [0, 0], [-0.4, 0.5], [0.4, 0.5]]).ravel().tolist()) * 2
    at = f"{name}{stride}"
    return {f"{at}_w": weight, f"{at}_b": np.float32(bias), f"{at}_shape": np.array([-1, width], np.int64)}


def regressor(path: Path, side: int, width: int, batch: int | str = "n", first: str = "", seed: int = 0) -> Path:
    """A linear network: means over a grid of 8 x 8 cells in three channels -> `width` numbers.

    `first` names two nodes that change nothing at its head ("Sub", "Mul"): insightface reads from them that the file
    takes raw grey levels.
    """
    rng = np.random.default_rng(seed)
    names = ["Sub", "Mul"] if first else []
    chain = ["image", *names, "mean", "flat", "out"]
    nodes = [
        helper.make_node(name, [a, f"{name}_c"], [name], name=f"{name}_0")
        for name, a in zip(names, chain, strict=False)
    ]
    cell = [side // 8] * 2
    nodes += [
        helper.make_node("AveragePool", [chain[len(names)]], ["mean"], kernel_shape=cell, strides=cell),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["out"]),
    ]
    scale = 0.002 if first else 0.2
    weights = {"weight": (rng.standard_normal((192, width)) * scale).astype(np.float32)}
    weights |= {f"{name}_c": np.float32([value]) for name, value in zip(names, (0, 1), strict=False)}
    return _save(path, nodes, {"image": [batch, 3, side, side]}, {"out": [batch, width]}, weights)
