"""Comparisons, logical operators and choices. MXNet gives floats 0 and 1 for truth values, so a cast follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_shape

aten = torch.ops.aten
CAST = aten._to_copy.default

# The names of one shape also in the spellings of MXNet 0.8 and older; the last name is that of MXNet's numpy interface.
_COMPARISONS = {
    aten.gt: ("greater", ("_greater", "_Greater"), ("_greater_scalar", "_GreaterScalar"), "_npi_greater"),
    aten.ge: ("greater_equal", ("_greater_equal", "_Greater_Equal"), ("_greater_equal_scalar", "_GreaterEqualScalar"),
              "_npi_greater_equal"),
    aten.lt: ("lesser", ("_lesser", "_Lesser"), ("_lesser_scalar", "_LesserScalar"), "_npi_less"),
    aten.le: ("lesser_equal", ("_lesser_equal", "_Lesser_Equal"), ("_lesser_equal_scalar", "_LesserEqualScalar"),
              "_npi_less_equal"),
    aten.eq: ("equal", ("_equal", "_Equal"), ("_equal_scalar", "_EqualScalar"), "_npi_equal"),
    aten.ne: ("not_equal", ("_not_equal", "_Not_Equal"), ("_not_equal_scalar", "_NotEqualScalar"), "_npi_not_equal"),
}
_LOGIC = {"and": aten.logical_and.default, "or": aten.logical_or.default, "xor": aten.logical_xor.default}


def truth(view: NodeView, node: fx.Node) -> fx.Node:
    """Where a tensor is not 0; of one that was cast from truth values, these."""
    if node.target is CAST and node.args[0].meta["val"].dtype is torch.bool:
        return node.args[0]
    return view.step(aten.ne.Scalar, node, 0.0)


def floats(view: NodeView, node: fx.Node) -> fx.Node:
    """Truth values or indices in the type of the graph, as the result."""
    return view.call(CAST, node, dtype=view.dtype)


def check_shapes(view: NodeView, broadcast: bool) -> None:
    """MXNet broadcasts only where asked."""
    view.expect_inputs(2)
    first, second = view.shape(0), view.shape(1)
    fits = all(a == b or 1 in (a, b) for a, b in zip(reversed(first), reversed(second)))
    if not (fits if broadcast else first == second):
        raise view.invalid(f"the inputs have shapes {first} and {second}")


def _register_comparison(packet: Any, name: str, same_shape: tuple[str, ...], scalar: tuple[str, ...],
                         numpy: str) -> None:
    @register_converter(f"broadcast_{name}", numpy, *same_shape)
    def convert_comparison(view: NodeView) -> fx.Node:
        check_shapes(view, view.operator.startswith(("broadcast_", "_npi_")))
        return floats(view, view.step(packet.Tensor, *view.inputs))

    @register_converter(*scalar, f"{numpy}_scalar")
    def convert_comparison_with_number(view: NodeView) -> fx.Node:
        return floats(view, view.step(packet.Scalar, view.inputs[0], view.attributes.real("scalar")))


def _register_logic(name: str, target: Callable) -> None:
    @register_converter(f"broadcast_logical_{name}", f"_logical_{name}")
    def convert_logic(view: NodeView) -> fx.Node:
        check_shapes(view, view.operator.startswith("broadcast_"))
        return floats(view, view.step(target, *(truth(view, node) for node in view.inputs)))

    @register_converter(f"_logical_{name}_scalar")
    def convert_logic_with_number(view: NodeView) -> fx.Node:
        number = bool(view.attributes.real("scalar"))
        condition = truth(view, view.inputs[0])
        if name == "xor":
            return floats(view, view.step(aten.logical_not.default, condition) if number else condition)
        if number == (name == "and"):
            return floats(view, condition)
        decided = view.step(aten.mul.Scalar, view.inputs[0], 0.0)
        return view.call(aten.add.Scalar, decided, float(number))


for _packet, (_name, _same_shape, _scalar, _numpy) in _COMPARISONS.items():
    _register_comparison(_packet, _name, _same_shape, _scalar, _numpy)
for _name, _target in _LOGIC.items():
    _register_logic(_name, _target)


@register_converter("logical_not")
def convert_logical_not(view: NodeView) -> fx.Node:
    """1 where the input is 0."""
    return floats(view, view.step(aten.logical_not.default, truth(view, view.inputs[0])))


@register_converter("where")
def convert_where(view: NodeView) -> fx.Node:
    """x where the condition is not 0, else y; a condition of one axis chooses along axis 0."""
    view.expect_inputs(3)
    condition, x, y = view.inputs
    view.expect_shape(2, view.shape(1), "the second choice")
    if shape_of(condition) not in (shape_of(x), shape_of(x)[:1]):
        raise view.invalid(f"the condition has shape {shape_of(condition)}, the choices {shape_of(x)}")
    holds = truth(view, condition)
    if len(shape_of(holds)) < len(shape_of(x)):
        holds = view.step(aten.reshape.default, holds, [*free_shape(holds), *(1,) * (len(shape_of(x)) - 1)])
    return view.call(aten.where.self, holds, x, y)


@register_converter("_npi_where")
def convert_numpy_where(view: NodeView) -> fx.Node:
    """where of numpy: all three are broadcast."""
    view.expect_inputs(3)
    return view.call(aten.where.self, truth(view, view.inputs[0]), *view.inputs[1:])


@register_converter("_npi_where_rscalar")
def convert_numpy_where_else_number(view: NodeView) -> fx.Node:
    """x where the condition is not 0, else a number."""
    view.expect_inputs(2)
    number = view.attributes.real("scalar")
    return view.call(aten.where.ScalarOther, truth(view, view.inputs[0]), view.inputs[1], number)


@register_converter("_npi_where_lscalar")
def convert_numpy_where_number(view: NodeView) -> fx.Node:
    """A number where the condition is not 0, else y."""
    view.expect_inputs(2)
    number = view.attributes.real("scalar")
    return view.call(aten.where.ScalarSelf, truth(view, view.inputs[0]), number, view.inputs[1])
