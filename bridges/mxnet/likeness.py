"""Operators that only ask another tensor for its shape, with that shape written out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from torch import fx

from bridges.mxnet.attributes import Attributes
from bridges.mxnet.registry import CONVERTERS
from bridges.mxnet.split_symbol import below
from bridges.mxnet.symbol import Symbol, SymbolNode
from mrt_torch.errors import MRTError
from mrt_torch.graph.editor import output_nodes, shape_of
from mrt_torch.graph.free_axis import free_axis, free_shape


def write_out_shapes(symbol: Symbol, import_part: Callable[[Symbol], fx.GraphModule]) -> Symbol:
    """The symbol in which slice_like, reshape_like and broadcast_like read one tensor, wherever that is possible.

    That is where the extents they ask for are fixed or follow the batch of the tensor itself, as those of anchors that
    are cut to a feature map. Else they would tie the upper half of a split to the lower one. Nodes keep their indices.

    Args:
        symbol: the graph.
        import_part: imports a part of it that holds only operators with a converter.
    """
    found = [index for index in _importable(symbol) if symbol.nodes[index].operator in _WRITERS
             and len(symbol.nodes[index].inputs) == 2]
    if not found:
        return symbol
    heads = [entry for index in found for entry in ((index, 0), *symbol.nodes[index].inputs)]
    try:
        imported = output_nodes(import_part(below(symbol, heads)).graph)
    except MRTError:
        return symbol
    nodes = list(symbol.nodes)
    for position, index in enumerate(found):
        written = _WRITERS[nodes[index].operator](nodes[index], *imported[3 * position:3 * position + 3])
        if written is not None:
            operator, attributes = written
            nodes[index] = replace(nodes[index], operator=operator, attributes=attributes,
                                   inputs=nodes[index].inputs[:1])
    return replace(symbol, nodes=tuple(nodes))


def _importable(symbol: Symbol) -> Collection[int]:
    """The nodes that no operator without a converter stands before, in order."""
    found: dict[int, None] = {}
    for index, node in enumerate(symbol.nodes):
        if (node.is_variable or node.operator in CONVERTERS) and all(source in found for source, _ in node.inputs):
            found[index] = None
    return found


Written = tuple[str, dict[str, str]] | None


def _slice(node: SymbolNode, result: fx.Node, x: fx.Node, like: fx.Node) -> Written:
    rank = len(shape_of(x))
    axes = Attributes(node.operator, node.name, node.attributes).integers("axes", ())
    ends: list[int | None] = [None] * rank
    for axis in sorted(axis % rank for axis in axes) or range(rank):
        if free_axis(like) != axis:
            ends[axis] = shape_of(like)[axis]
        elif free_axis(x) != axis:
            return None
    if ends == [None] * rank:
        return "_copy", {}
    return "slice", {"begin": str(tuple(None if end is None else 0 for end in ends)), "end": str(tuple(ends))}


def _reshape(node: SymbolNode, result: fx.Node, x: fx.Node, like: fx.Node) -> Written:
    return "Reshape", {"shape": str(tuple(free_shape(result)))}


def _broadcast(node: SymbolNode, result: fx.Node, x: fx.Node, like: fx.Node) -> Written:
    if free_axis(result) != free_axis(x):
        return None
    return "broadcast_to", {"shape": str(tuple(0 if axis == free_axis(x) else extent
                                               for axis, extent in enumerate(shape_of(result))))}


_WRITERS = {"slice_like": _slice, "reshape_like": _reshape, "broadcast_like": _broadcast}
