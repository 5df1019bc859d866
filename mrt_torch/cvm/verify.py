"""The certificate of an integer graph: all that the deployed runtime would refuse or compute otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import fx

from mrt_torch.cvm.analysis import call_of, constant_of, selected_output
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.limits import precision_limits, tensor_limits
from mrt_torch.cvm.operator import OPERATORS, Shape
from mrt_torch.errors import ExportError, MRTError
from mrt_torch.graph.facts import describe, facts_of


def verify(graph_module: fx.GraphModule, *, deployable: bool = True) -> None:
    """Raise unless both back ends of the runtime compute the graph, for every input, as torch.ops.cvm does.

    Checked at every node: the target, int32, the shape against the operator's rule and the runtime's limits,
    the recorded precision against the runtime's rule, the recorded value range against the range proven from
    the operands' (so by induction every range is proven), constants against their declared precision, and the
    operator's limits.

    Args:
        graph_module: integer graph with current facts.
        deployable: False also accepts what ``prepare_for_compile`` has yet to expand, and operators that the CPU
            back end does not compute as FORMAL does: the facts alone are checked.

    Raises:
        ExportError: lists every reason, node by node.
    """
    problems = [(node, reason) for node in graph_module.graph.nodes for reason in reasons_against(node, deployable)]
    if problems:
        raise ExportError(f"the integer graph is not deployable, for {len(problems)} reason(s)",
                          where=f"first at {describe(problems[0][0])}",
                          why="\n    ".join(f"{describe(node)}: {reason}" for node, reason in problems),
                          remedy="quantize with the passes of mrt_torch, which keep these limits")


def reasons_against(node: fx.Node, deployable: bool = True) -> Iterator[str]:
    """All reasons why one node cannot be deployed; without ``deployable`` only those against its own facts."""
    if node.op == "output":
        yield from _output_reasons(node)
    elif node.op in ("placeholder", "get_attr", "call_function"):
        row = OPERATORS.of_target(node.target)
        several = row is not None and row.outputs > 1  # whose facts are those of the getitem nodes
        fact_reasons = [] if several else list(_tensor_reasons(node))
        yield from fact_reasons
        if node.op == "get_attr":
            yield from _constant_reasons(node)
        elif node.op == "call_function":
            yield from _call_reasons(node, complete=not fact_reasons and not several, deployable=deployable)
    else:
        yield f"'{node.op}' nodes are not part of the integer stage"


def _tensor_reasons(node: fx.Node) -> Iterator[str]:
    value, facts = node.meta.get("val"), facts_of(node)
    if not isinstance(value, torch.Tensor):
        yield "it is not exactly one tensor, or its shape is not known"
    else:
        if value.dtype is not torch.int32:
            yield f"it is {value.dtype}, not int32"
        yield from tensor_limits(tuple(value.shape))
    if facts.precision is None or facts.value_range is None:
        yield "its precision or value range is not known"
        return
    yield from precision_limits(facts.precision)
    if facts.value_range.precision > facts.precision:
        yield (f"its values {facts.value_range.minimum}..{facts.value_range.maximum} need "
               f"{facts.value_range.precision} bits, recorded are {facts.precision}")


def _constant_reasons(node: fx.Node) -> Iterator[str]:
    try:
        value = constant_of(node)
    except MRTError as error:
        yield error.why or error.what
        return
    recorded, facts = node.meta.get("val"), facts_of(node)
    if value.dtype is not torch.int32 or value.numel() == 0:
        yield f"the constant is {value.dtype} of shape {tuple(value.shape)}, not int32 with elements"
        return
    if isinstance(recorded, torch.Tensor) and recorded.shape != value.shape:
        yield f"the constant's shape is {tuple(value.shape)}, recorded is {tuple(recorded.shape)}"
    measured = Interval.of_tensor(value)
    if facts.precision is not None and measured.precision > facts.precision:
        yield f"the constant needs {measured.precision} bits, declared are {facts.precision}"
    if facts.value_range is not None and not facts.value_range.contains(measured):
        yield f"the constant has values {measured.minimum}..{measured.maximum} outside its recorded range"


def _call_reasons(node: fx.Node, complete: bool, deployable: bool) -> Iterator[str]:
    try:
        source, index = selected_output(node) or (node, 0)
        row, call = call_of(source)
        shapes = row.output_shapes(call.shapes, call.attributes)
    except MRTError as error:
        yield f"{error.what}{': ' + error.why if error.why else ''}"
        return
    values, shapes = node.meta.get("val"), shapes if source is node else shapes[index:index + 1]
    values = values if isinstance(values, tuple) else (values,)
    recorded = tuple(tuple(value.shape) for value in values if isinstance(value, torch.Tensor))
    if recorded != shapes and len(recorded) == len(values):  # else it is reported as missing
        yield f"the operator gives shape {_text(shapes)}, recorded is {_text(recorded)}"
        return
    if source is node:
        if row.composite and deployable:
            yield f"the CVM has no {row.name}: fix the batch with prepare_for_compile, which expands it"
        yield from row.limits(call)
        yield from row.divergences(call) if deployable else ()
    if complete:
        yield from _stale_fact_reasons(node, row.precisions(call)[index], row.value_ranges(call)[index])


def _text(shapes: Sequence[Shape]) -> str:
    return str(shapes[0] if len(shapes) == 1 else tuple(shapes))


def _stale_fact_reasons(node: fx.Node, inferred: int, proven: Interval) -> Iterator[str]:
    facts = facts_of(node)
    if facts.precision != inferred:
        yield f"the runtime infers {inferred} bits, recorded are {facts.precision}"
    if not facts.value_range.contains(proven):
        yield (f"values of {proven.minimum}..{proven.maximum} are possible, recorded are "
               f"{facts.value_range.minimum}..{facts.value_range.maximum}")
    if proven.precision > inferred:
        yield f"its values need {proven.precision} bits, the runtime infers {inferred}"


def _output_reasons(node: fx.Node) -> Iterator[str]:
    heads = node.args[0] if node.args else None
    if not isinstance(heads, (tuple, list)) or not heads:
        yield "the output is not a tuple of nodes"
        return
    yield from (f"the output holds {head!r}, not a node" for head in heads if not isinstance(head, fx.Node))
