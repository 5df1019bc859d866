"""Precision and value range of every node of an integer graph, from its inputs to its outputs in one pass.

Two facts are kept for each tensor. ``precision`` is what the deployed runtime infers from the operands'
precisions: it knows nothing else. ``value_range`` is the interval proven from the operands' intervals and the
real constants. The proven interval must fit the inferred precision, or the runtime's own guarantees would not
hold.
"""

from __future__ import annotations

import operator

import torch
from torch import fx

from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator, Operand
from mrt_torch.errors import InvalidGraphError, PrecisionError
from mrt_torch.graph.facts import describe, facts_of, set_facts


def constant_of(node: fx.Node) -> torch.Tensor:
    """The tensor a get_attr node reads.

    Raises:
        InvalidGraphError: the module has no tensor of that name.
    """
    owner = node.graph.owning_module
    for name in node.target.split("."):
        owner = getattr(owner, name, None)
    if not isinstance(owner, torch.Tensor):
        raise InvalidGraphError("a constant is missing", where=describe(node),
                                why=f"the module has no tensor '{node.target}'",
                                remedy="build the graph with GraphEditor.constant")
    return owner


def selected_output(node: fx.Node) -> tuple[fx.Node, int] | None:
    """The call and the number of its output that a getitem node stands for; None for any other node.

    Raises:
        InvalidGraphError: it does not read an output of a CVM operator of several outputs.
    """
    if node.op != "call_function" or node.target is not operator.getitem:
        return None
    source, index = node.args
    row = OPERATORS.of_target(source.target) if isinstance(source, fx.Node) else None
    if row is None or row.outputs == 1 or not isinstance(index, int) or not 0 <= index < row.outputs:
        raise InvalidGraphError("getitem reads no output of an operator", where=describe(node),
                                why=f"its arguments are {node.args}",
                                remedy="use getitem on CVM operators of several outputs only")
    return source, index


def call_of(node: fx.Node) -> tuple[CvmOperator, Call]:
    """The row of the table behind a call_function node, and its operands, attributes and output shape.

    Operands take their precision and value range from the facts of the nodes they come from; constants bring
    their tensor. The output shape is that of ``meta["val"]``, or follows from the operands where that is
    missing.

    Raises:
        InvalidGraphError: the target is no CVM operator, an attribute is missing, or an operand has no shape,
            precision or value range yet.
    """
    row = OPERATORS.of_target(node.target) if node.op == "call_function" else None
    if row is None:
        raise InvalidGraphError("not a CVM operator", where=describe(node),
                                why=f"the integer stage allows torch.ops.cvm.* only, not {node.target}",
                                remedy="quantize the model first; only integer graphs are analysed")
    low, high = row.argument_counts
    if not low <= len(node.args) <= high or set(node.kwargs) != set(row.attribute_names):
        raise InvalidGraphError(f"the arguments of {row.name} do not match its schema", where=describe(node),
                                why=f"saw {len(node.args)} by position and {sorted(node.kwargs)} by name; "
                                    f"the schema is {row.schema}",
                                remedy="give tensors by position and every attribute by name")
    arguments = node.args[0] if row.takes_list else node.args
    operands = tuple(_operand(node, argument) for argument in arguments if argument is not None)
    value = node.meta.get("val")
    value = value[0] if isinstance(value, tuple) else value
    shape = (tuple(value.shape) if isinstance(value, torch.Tensor)
             else row.output_shapes([operand.shape for operand in operands], node.kwargs)[0])
    return row, Call(operands, dict(node.kwargs), shape, node)


def _operand(node: fx.Node, argument: object) -> Operand:
    if not isinstance(argument, fx.Node):
        raise InvalidGraphError("operators of the integer stage take tensors by position",
                                where=describe(node), why=f"saw {argument!r}",
                                remedy="give constants as int32 buffers")
    facts, value = facts_of(argument), argument.meta.get("val")
    if facts.precision is None or facts.value_range is None or not isinstance(value, torch.Tensor):
        raise InvalidGraphError("an operand has not been analysed", where=describe(node),
                                why=f"{describe(argument)} lacks its shape, precision or value range",
                                remedy="run mrt_torch.cvm.analyse on the graph")
    constant = constant_of(argument) if argument.op == "get_attr" else None
    return Operand(tuple(value.shape), facts.precision, facts.value_range, constant)


def analyse_node(node: fx.Node) -> None:
    """Set precision and value range of a call_function node from its inputs' facts, and ``val`` if missing.

    The facts of an operator of several outputs are those of the getitem nodes that read them.

    Raises:
        InvalidGraphError: as ``call_of`` and ``selected_output``.
        PrecisionError: the runtime infers fewer bits than the proven range needs.
    """
    selected = selected_output(node)
    source, index = selected or (node, 0)
    row, call = call_of(source)
    if "val" not in source.meta:
        values = tuple(torch.empty(shape, dtype=torch.int32, device="meta")
                       for shape in row.output_shapes(call.shapes, call.attributes))
        source.meta["val"] = values if row.outputs > 1 else values[0]
    if selected is None and row.outputs > 1:
        return
    if "val" not in node.meta:
        node.meta["val"] = source.meta["val"][index]
    precision, value_range = row.precisions(call)[index], row.value_ranges(call)[index]
    if value_range.precision > precision:
        raise PrecisionError(
            "the runtime would infer too few bits", where=describe(node),
            why=f"{row.name} gives {value_range.minimum}..{value_range.maximum}, {value_range.precision} "
                f"bits; the runtime infers {precision} from {[o.precision for o in call.operands]}",
            remedy="widen the operand that the runtime's rule looks at")
    set_facts(node, precision=precision, value_range=value_range)


def analyse(graph_module: fx.GraphModule) -> None:
    """Set precision and value range of every node of an integer graph.

    Placeholders must carry their precision; one without a value range gets the symmetric range. Constants are
    measured.

    Raises:
        InvalidGraphError: a target is no CVM operator, a constant is missing, or an input has no precision.
        PrecisionError: the runtime infers fewer bits than a proven range needs.
    """
    for node in graph_module.graph.nodes:
        if node.op == "placeholder":
            _analyse_input(node)
        elif node.op == "get_attr":
            _measure(node)
        elif node.op != "output":
            analyse_node(node)


def _analyse_input(node: fx.Node) -> None:
    facts = facts_of(node)
    if facts.precision is None:
        raise InvalidGraphError("an input has no precision", where=describe(node),
                                remedy="declare the precision of every input, in bits")
    value_range = facts.value_range or Interval.symmetric(facts.precision)
    if value_range.precision > facts.precision:
        raise PrecisionError("an input's value range exceeds its precision", where=describe(node),
                             why=f"{value_range.minimum}..{value_range.maximum} needs "
                                 f"{value_range.precision} bits, declared are {facts.precision}",
                             remedy="declare the precision that the range needs")
    set_facts(node, value_range=value_range)


def _measure(node: fx.Node) -> None:
    value = constant_of(node)
    if value.dtype is not torch.int32 or value.numel() == 0:
        raise InvalidGraphError("a constant of the integer stage is int32 and not empty",
                                where=describe(node), why=f"saw {value.dtype} of shape {tuple(value.shape)}",
                                remedy="convert the constant to int32")
    if "val" not in node.meta:
        node.meta["val"] = torch.empty_like(value, device="meta")
    value_range = Interval.of_tensor(value)
    set_facts(node, precision=value_range.precision, value_range=value_range)
