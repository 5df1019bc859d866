"""A float network as ONNX, for tools that read only that: the operators of the networks of the tables, batch free.

Written from the graph as imported or captured, so that each tool meets batch normalization, LeakyReLU and PReLU whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import fx

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import input_nodes, output_nodes, shape_of, tensor_of

aten = torch.ops.aten
OPSET, IR_VERSION = 17, 8
ONE_TO_ONE = {aten.relu.default: "Relu", aten.neg.default: "Neg", aten.add.Tensor: "Add", aten.sub.Tensor: "Sub",
              aten.mul.Tensor: "Mul", aten.adaptive_avg_pool2d.default: "GlobalAveragePool"}


class OnnxWriter:
    """Collects the nodes and initializers of a graph with one input."""

    def __init__(self, module: fx.GraphModule):
        self._module = module
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, torch.Tensor] = {}
        self._prelus = {node: found for node in module.graph.nodes if (found := prelu_of(node))}

    def write(self) -> onnx.ModelProto:
        """The model.

        Raises:
            UnsupportedOperatorError: an operator that the networks of the tables do not have.
        """
        graph = self._module.graph
        absorbed = {part for node in self._prelus for part in _parts(node)}
        for node in graph.nodes:
            if node.op == "get_attr":
                self._tensors[node.name] = tensor_of(self._module, node)
            elif node.op == "call_function" and node not in absorbed:
                self._write(node)
        read = {name for node in self._nodes for name in node.input}
        initializers = [numpy_helper.from_array(tensor.detach().contiguous().numpy(), name)
                        for name, tensor in self._tensors.items() if name in read]
        onnx_graph = helper.make_graph(self._nodes, "network", [_described(node) for node in input_nodes(graph)],
                                       [_described(node) for node in output_nodes(graph)], initializers)
        model = helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _write(self, node: fx.Node) -> None:
        if node in self._prelus:
            x, slope = self._prelus[node]
            self._tensors[f"{node.name}_slope"] = self._tensors[slope.name].reshape(_without_batch(slope))
            self._add("PRelu", node, [x.name, f"{node.name}_slope"])
        elif node.target in ONE_TO_ONE:
            self._add(ONE_TO_ONE[node.target], node, [operand.name for operand in node.all_input_nodes])
        elif node.target in WRITERS:
            WRITERS[node.target](self, node)
        else:
            raise UnsupportedOperatorError("the ONNX form of an operator is not known", where=node.name,
                                           why=str(node.target), remedy="add it to tests/benchmarks/onnx_graph.py")

    def _add(self, operator: str, node: fx.Node, inputs: list[str], **attributes: object) -> None:
        self._nodes.append(helper.make_node(operator, inputs, [node.name], name=node.name, **attributes))

    def _integers(self, node: fx.Node, **values: list[int]) -> list[str]:
        """Operands that ONNX takes as tensors of integers."""
        for label, value in values.items():
            self._tensors[f"{node.name}_{label}"] = torch.tensor(value)
        return [f"{node.name}_{label}" for label in values]

    def convolution(self, node: fx.Node) -> None:
        x, weight, bias, stride, padding, dilation, groups = node.args
        self._add("Conv", node, [x.name, weight.name] + ([bias.name] if bias is not None else []), strides=stride,
                  pads=[*padding, *padding], dilations=dilation, group=groups, kernel_shape=shape_of(weight)[2:])

    def dense(self, node: fx.Node) -> None:
        self._add("Gemm", node, [operand.name for operand in node.args if operand is not None], transB=1)

    def batch_normalization(self, node: fx.Node) -> None:
        self._add("BatchNormalization", node, [operand.name for operand in node.args[:5]], epsilon=node.args[7])

    def leaky_relu(self, node: fx.Node) -> None:
        self._add("LeakyRelu", node, [node.args[0].name], alpha=node.args[1])

    def max_pool(self, node: fx.Node) -> None:
        x, kernel, stride, padding, dilation, ceil_mode = node.args
        self._add("MaxPool", node, [x.name], kernel_shape=kernel, strides=stride, pads=[*padding, *padding],
                  dilations=dilation, ceil_mode=int(ceil_mode))

    def average_pool(self, node: fx.Node) -> None:
        x, kernel, stride, padding, ceil_mode, count_include_pad, _ = node.args
        self._add("AveragePool", node, [x.name], kernel_shape=kernel, strides=stride, pads=[*padding, *padding],
                  ceil_mode=int(ceil_mode), count_include_pad=int(count_include_pad))

    def flatten(self, node: fx.Node) -> None:
        self._add("Flatten", node, [node.args[0].name], axis=1)

    def slice(self, node: fx.Node) -> None:
        x, axis, start, end, step = node.args
        self._add("Slice", node, [x.name, *self._integers(node, start=[start], end=[end], axis=[axis], step=[step])])

    def pad(self, node: fx.Node) -> None:
        x, amounts, value = node.args
        pairs = list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]   # ATen begins with the last axis
        pairs = [(0, 0)] * (len(shape_of(node)) - len(pairs)) + pairs
        self._tensors[f"{node.name}_value"] = torch.tensor(float(value))
        self._add("Pad", node, [x.name, *self._integers(node, pads=[before for before, _ in pairs] +
                                                        [after for _, after in pairs]), f"{node.name}_value"])


WRITERS: dict[object, Callable[[OnnxWriter, fx.Node], None]] = {
    aten.conv2d.default: OnnxWriter.convolution, aten.linear.default: OnnxWriter.dense,
    aten.batch_norm.default: OnnxWriter.batch_normalization, aten.leaky_relu.default: OnnxWriter.leaky_relu,
    aten.max_pool2d.default: OnnxWriter.max_pool, aten.avg_pool2d.default: OnnxWriter.average_pool,
    aten.flatten.using_ints: OnnxWriter.flatten, aten.slice.Tensor: OnnxWriter.slice,
    aten.constant_pad_nd.default: OnnxWriter.pad,
}


def prelu_of(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """Input and slope of a PReLU, which the MXNet importer writes as relu(x) - relu(-x) * slope."""
    if node.target is not aten.sub.Tensor:
        return None
    positive, product = node.args
    if positive.target is not aten.relu.default or product.target is not aten.mul.Tensor:
        return None
    negative, slope = product.args
    flipped = negative.args[0] if negative.target is aten.relu.default else None
    same = flipped is not None and flipped.target is aten.neg.default and flipped.args[0] is positive.args[0]
    return (positive.args[0], slope) if same and slope.op == "get_attr" else None


def _parts(node: fx.Node) -> Iterator[fx.Node]:
    """The nodes that a PReLU stands for, but the last."""
    positive, product = node.args
    yield from (positive, product, product.args[0], product.args[0].args[0])


def _without_batch(slope: fx.Node) -> tuple[int, ...]:
    shape = shape_of(slope)
    return shape[1:] if shape[:1] == (1,) and len(shape) > 1 else shape


def _described(node: fx.Node) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(node.name, TensorProto.FLOAT, ["batch", *shape_of(node)[1:]])


def onnx_model(module: fx.GraphModule) -> onnx.ModelProto:
    """The ONNX form of a float graph with one input; see ``OnnxWriter.write``."""
    return OnnxWriter(module).write()
