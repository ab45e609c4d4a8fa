"""The official eDifFIQA(T) network as an ONNX file, from its state dict: MobileFaceNet, then two linear layers."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

STAGES = (("conv_23", 0), ("conv_3", 4), ("conv_34", 0), ("conv_4", 6), ("conv_45", 0), ("conv_5", 2))
"""Name, and units with a shortcut; 0: one unit that halves the size."""


class Graph:
    """Nodes that follow one another."""

    def __init__(self, state):
        self.state = {key: tensor.numpy() for key, tensor in state.items()}
        self.nodes = []
        self.weights = {}
        self.last = "image"

    def add(self, kind, *weights, inputs=(), **attributes):
        """One node on the last result."""
        names = []
        for weight in weights:
            names.append(f"w{len(self.weights)}")
            self.weights[names[-1]] = np.asarray(weight)
        out = f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.last, *inputs, *names], [out], **attributes))
        self.last = out
        return out

    def convolution(self, name, stride=1, padding=0, act=True):
        """Convolution, batch norm, PReLU by the keys of the official class."""
        weight = self.state[f"{name}.conv.weight"]
        groups = weight.shape[0] if weight.shape[1] == 1 else 1
        sides = {"kernel_shape": weight.shape[2:], "strides": [stride] * 2, "pads": [padding] * 4, "group": groups}
        self.add("Conv", weight, **sides)
        parts = ("weight", "bias", "running_mean", "running_var")
        self.add("BatchNormalization", *(self.state[f"{name}.bn.{part}"] for part in parts), epsilon=1e-5)
        if act:
            self.add("PRelu", self.state[f"{name}.prelu.weight"][:, None, None])

    def unit(self, name, stride):
        """Widening, depthwise convolution, projection."""
        self.convolution(f"{name}.conv")
        self.convolution(f"{name}.conv_dw", stride, 1)
        self.convolution(f"{name}.project", act=False)

    def backbone(self):
        """MobileFaceNet up to its normalised embedding."""
        self.convolution("base_model.conv1", 2, 1)
        self.convolution("base_model.conv2_dw", 1, 1)
        for name, count in STAGES:
            if not count:
                self.unit(f"base_model.{name}", 2)
            for index in range(count):
                before = self.last
                self.unit(f"base_model.{name}.model.{index}", 1)
                self.add("Add", inputs=[before])
        self.convolution("base_model.conv_6_sep")
        self.convolution("base_model.conv_6_dw", act=False)
        self.add("Flatten")
        self.add("MatMul", self.state["base_model.linear.weight"].T)
        norm = [self.state[f"base_model.bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        self.add("BatchNormalization", *norm, epsilon=1e-5)
        self.add("LpNormalization", axis=1, p=2)

    def head(self):
        """Two linear layers with a GELU between them."""
        self.add("Gemm", self.state["mlp.l1.weight"], self.state["mlp.l1.bias"], transB=1)
        self.add("Gelu")
        self.add("Gemm", self.state["mlp.l2.weight"], self.state["mlp.l2.bias"], transB=1)


def write(state, path):
    """Write the file: input (n, 3, 112, 112), output (n, 1)."""
    graph = Graph(state)
    graph.backbone()
    graph.head()
    ends = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 112, 112]),
        helper.make_tensor_value_info(graph.last, TensorProto.FLOAT, ["n", 1]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in graph.weights.items()]
    made = helper.make_graph(graph.nodes, "ediffiqa", [ends[0]], [ends[1]], initializer=tensors)
    save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path
