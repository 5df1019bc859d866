"""Readers of the MXNet nodes that `exporters.integer` writes, by MXNet operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import fx

from bridges.mxnet.attributes import Attributes
from mrt_torch.cvm.operator import OPERATORS
from mrt_torch.errors import InvalidFileError
from mrt_torch.graph.editor import shape_of

TO_THE_END = 2 ** 31 - 1


@dataclass(frozen=True)
class IntegerNode:
    """One MXNet node: its parameters and the nodes of its inputs."""

    operator: str
    name: str
    attributes: Attributes
    inputs: Sequence[fx.Node]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first input."""
        return shape_of(self.inputs[0])

    def expect(self, condition: bool, why: str) -> None:
        """Raise unless the node is as an export writes it."""
        if not condition:
            self.refuse(why)

    def refuse(self, why: str) -> NoReturn:
        """Raise InvalidFileError."""
        raise InvalidFileError(
            "a node is not as an integer export writes it", where=f"node '{self.name}' "
            f"({self.operator})", why=why,
            remedy="read a symbol that export_integer wrote; import float models with import_symbol")


@dataclass(frozen=True)
class CvmCall:
    """The CVM operator a node stands for."""

    operator: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class IntegerReader:
    """Attributes a node may have, and how it is read; ``inputs`` is None for any number."""

    read: Callable[[IntegerNode], CvmCall]
    known: tuple[str, ...] = ()
    inputs: tuple[int, ...] | None = (1,)


def _plain(operator: str, *inputs: int) -> IntegerReader:
    return IntegerReader(lambda node: CvmCall(operator, {}), (), inputs)


def _pair(node: IntegerNode, name: str) -> list[int]:
    values = node.attributes.integers(name)
    node.expect(len(values) == 2, f"{name} is {values}; two numbers are expected")
    return list(values)


def _check_weights(node: IntegerNode, channels: str, bias: bool) -> None:
    node.expect(len(node.inputs) == 3 - bias, f"it has {len(node.inputs)} inputs, with no_bias={bias}")
    count, weight = node.attributes.integer(channels), shape_of(node.inputs[1])
    node.expect(weight[:1] == (count,), f"{channels} is {count}, the weight's shape {weight}")


def _read_convolution(node: IntegerNode) -> CvmCall:
    node.attributes.choice("layout", ("NCHW",))
    _check_weights(node, "num_filter", node.attributes.boolean("no_bias"))
    node.expect(shape_of(node.inputs[1])[2:] == tuple(_pair(node, "kernel")), "kernel is not the weight's")
    return CvmCall("conv2d", {"strides": _pair(node, "stride"), "padding": _pair(node, "pad"),
                              "dilation": _pair(node, "dilate"),
                              "groups": node.attributes.integer("num_group")})


def _read_dense(node: IntegerNode) -> CvmCall:
    node.expect(not node.attributes.boolean("flatten"), "flatten is True")
    _check_weights(node, "num_hidden", node.attributes.boolean("no_bias"))
    return CvmCall("dense", {})


def _read_batch_dot(node: IntegerNode) -> CvmCall:
    node.expect(node.attributes.boolean("transpose_b"), "transpose_b is False")
    return CvmCall("batch_dot", {})


def _read_pooling(node: IntegerNode) -> CvmCall:
    node.attributes.choice("pool_type", ("max",))
    ceil = node.attributes.choice("pooling_convention", ("full", "valid")) == "full"
    return CvmCall("max_pool2d", {"pool_size": _pair(node, "kernel"), "strides": _pair(node, "stride"),
                                  "padding": _pair(node, "pad"), "ceil_mode": ceil})


def _read_upsampling(node: IntegerNode) -> CvmCall:
    node.attributes.choice("sample_type", ("nearest",))
    node.expect(node.attributes.integer("num_args") == 1, "num_args is not 1")
    return CvmCall("upsampling", {"scale": node.attributes.integer("scale")})


def _read_clip(node: IntegerNode) -> CvmCall:
    bounds = {name: node.attributes.real(name) for name in ("a_min", "a_max")}
    node.expect(all(bound.is_integer() for bound in bounds.values()), f"the bounds {bounds} are no integers")
    return CvmCall("clip", {name: int(bound) for name, bound in bounds.items()})


# Attributes of the Custom operators, and how many inputs each has.
_CUSTOM: Mapping[str, tuple[tuple[str, ...], int]] = {
    "cvm_clip": (("precision",), 1), "cvm_right_shift": (("precision", "shift_bit"), 1),
    "cvm_left_shift": (("precision", "shift_bit"), 1), "cvm_lut": (("in_dim",), 2),
    "cvm_get_valid_counts": (("score_threshold",), 1),
    "cvm_non_max_suppression": (("iou_threshold", "force_suppress", "top_k", "max_output_size"), 2)}
_CUSTOM_ATTRIBUTES = tuple(dict.fromkeys(name for names, _ in _CUSTOM.values() for name in names))


def _read_custom(node: IntegerNode) -> CvmCall:
    operator = node.attributes.choice("op_type", tuple(_CUSTOM))
    required, inputs = _CUSTOM[operator]
    for name in _CUSTOM_ATTRIBUTES:
        node.expect((name in node.attributes) == (name in required), f"{operator} has the attributes {required}")
    node.expect(len(node.inputs) == inputs, f"it has {len(node.inputs)} inputs")
    values = {name: node.attributes.boolean(name) if name == "force_suppress" else node.attributes.integer(name)
              for name in required}
    if operator == "cvm_lut":
        length = values.pop("in_dim")
        node.expect(shape_of(node.inputs[1]) == (length, 1),
                    f"in_dim is {length}, the table's shape {shape_of(node.inputs[1])}")
    return CvmCall(operator if operator in OPERATORS else operator.removeprefix("cvm_"), values)


def _reduction(operator: str) -> IntegerReader:
    return IntegerReader(lambda node: CvmCall(operator, {
        "axis": list(node.attributes.integers("axis")), "keepdims": node.attributes.boolean("keepdims"),
        "exclude": False}), ("axis", "keepdims"))


def _read_slice(node: IntegerNode) -> CvmCall:
    bounds = [node.attributes.bounds(name) for name in ("begin", "end", "step")]
    node.expect(len({len(bound) for bound in bounds}) == 1 and len(bounds[0]) <= len(node.shape) and
                None not in bounds[2] and 0 not in bounds[2], f"begin, end and step are {bounds}")
    begins, ends = [], []
    for begin, end, step in zip(*bounds):
        begins.append((0 if step > 0 else -1) if begin is None else begin)
        ends.append((TO_THE_END if step > 0 else -TO_THE_END) if end is None else end)
    return CvmCall("strided_slice", {"begin": begins, "end": ends, "stride": list(bounds[2])})


def _read_concat(node: IntegerNode) -> CvmCall:
    count = node.attributes.integer("num_args")
    node.expect(count == len(node.inputs), f"num_args is {count}; it has {len(node.inputs)} inputs")
    return CvmCall("concatenate", {"axis": node.attributes.integer("dim")})


def _read_take(node: IntegerNode) -> CvmCall:
    node.attributes.choice("mode", ("clip",))
    return CvmCall("take", {"axis": node.attributes.integer("axis")})


def _read_slice_like(node: IntegerNode) -> CvmCall:
    return CvmCall("slice_like", {"axis": list(node.attributes.integers("axes", ()))})


def _read_expand_dims(node: IntegerNode) -> CvmCall:
    return CvmCall("expand_dims", {"axis": node.attributes.integer("axis"), "num_newaxis": 1})


def _read_repeat(node: IntegerNode) -> CvmCall:
    return CvmCall("repeat", {name: node.attributes.integer(name) for name in ("repeats", "axis")})


def _integers(operator: str, attribute: str, required: bool = True) -> IntegerReader:
    def read(node: IntegerNode) -> CvmCall:
        given = required or attribute in node.attributes
        return CvmCall(operator, {attribute: list(node.attributes.integers(attribute)) if given else []})
    return IntegerReader(read, (attribute,))


INTEGER_READERS: Mapping[str, IntegerReader] = {
    **{name: _plain(name, 1) for name in ("relu", "abs", "negative")},
    **{name: _plain(name, 2) for name in ("elemwise_add", "elemwise_sub", "broadcast_add", "broadcast_sub",
                                          "broadcast_mul", "broadcast_greater")},
    "broadcast_maximum": _plain("broadcast_max", 2),
    "Flatten": _plain("flatten", 1),
    "where": _plain("where", 3),
    "Convolution": IntegerReader(
        _read_convolution,
        ("kernel", "stride", "dilate", "pad", "num_filter", "num_group", "no_bias", "layout"), (2, 3)),
    "FullyConnected": IntegerReader(_read_dense, ("num_hidden", "no_bias", "flatten"), (2, 3)),
    "batch_dot": IntegerReader(_read_batch_dot, ("transpose_b",), (2,)),
    "Pooling": IntegerReader(_read_pooling, ("kernel", "stride", "pad", "pool_type", "pooling_convention")),
    "UpSampling": IntegerReader(_read_upsampling, ("scale", "sample_type", "num_args")),
    "clip": IntegerReader(_read_clip, ("a_min", "a_max")),
    "Custom": IntegerReader(_read_custom, ("op_type", *_CUSTOM_ATTRIBUTES), (1, 2)),
    "sum": _reduction("sum"),
    "max": _reduction("max"),
    "Reshape": _integers("reshape", "shape"),
    "squeeze": _integers("squeeze", "axis", required=False),
    "transpose": _integers("transpose", "axes"),
    "tile": _integers("tile", "reps"),
    "slice_like": IntegerReader(_read_slice_like, ("axes",), (2,)),
    "expand_dims": IntegerReader(_read_expand_dims, ("axis",)),
    "repeat": IntegerReader(_read_repeat, ("repeats", "axis")),
    "slice": IntegerReader(_read_slice, ("begin", "end", "step")),
    "Concat": IntegerReader(_read_concat, ("dim", "num_args"), None),
    "take": IntegerReader(_read_take, ("axis", "mode"), (2,)),
}
