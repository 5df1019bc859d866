"""Names the keys at which to split an MXNet model, also one with operators that have no converter."""

from __future__ import annotations

from collections.abc import Collection

from bridges.mxnet.attributes import Attributes
from bridges.mxnet.importer import import_supported
from bridges.mxnet.model import MXNetModel
from bridges.mxnet.model_inputs import find_model_inputs, needed_nodes, outputs_read, reads
from bridges.mxnet.registry import CONVERTERS
from bridges.mxnet.split_symbol import KeyNames
from bridges.mxnet.symbol import Entry, Symbol, SymbolNode
from mrt_torch.bridge import Shapes
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.dataflow import Dataflow
from mrt_torch.graph.editor import output_nodes
from mrt_torch.split_suggestion import NO_PRODUCT, SplitKey, SplitSuggestion, nothing_below, suggest_split

# As PRODUCTS and GATHERING of mrt_torch.split_suggestion, by MXNet's names.
PRODUCTS = frozenset({
    "Convolution", "Convolution_v1", "Deconvolution", "FullyConnected", "dot", "batch_dot", "_linalg_gemm",
    "_linalg_gemm2", "_contrib_interleaved_matmul_selfatt_qk", "_contrib_interleaved_matmul_selfatt_valatt",
    "_contrib_interleaved_matmul_encdec_qk", "_contrib_interleaved_matmul_encdec_valatt"})
GATHERING = frozenset({
    "Pooling", "Pooling_v1", "_contrib_AdaptiveAvgPooling2D", "mean", "sum", "sum_axis", "max", "max_axis", "min",
    "min_axis", "prod", "norm", "argmax", "argmin", "Embedding"})


def suggest_split_of(model: MXNetModel, input_shapes: Shapes) -> SplitSuggestion:
    """The keys at which ``model`` is best split; where shapes are not known, judged by the operators' names alone.

    Raises:
        UnsupportedOperatorError: nothing can be quantized, because unsupported operators read the model's input.
        InvalidArgumentError: the given shapes do not fit.
    """
    try:
        return _by_use(model, input_shapes)
    except InvalidArgumentError:
        if input_shapes is not None:
            raise
        return _by_name(model)


def _by_use(model: MXNetModel, input_shapes: Shapes) -> SplitSuggestion:
    """As the graph of all that can be imported tells."""
    symbol, key_names = model.symbol, KeyNames(model.symbol, model.params)
    part = import_supported(symbol, model.params, model.shapes(input_shapes))
    causes = _causes(symbol, part.refused)
    read_above = {}
    for entry, node in zip(part.entries, output_nodes(part.module.graph), strict=True):
        texts = [text for index in needed_nodes(symbol) if index in causes and entry in symbol.nodes[index].inputs
                 for text in causes[index]]
        if texts:
            read_above[node] = (*read_above.get(node, ()), *texts)
    found = suggest_split(part.module, read_above, lambda name: key_names.find(name) is not None)
    lines = tuple(f"{_where(symbol, index)}: {reason}" for index, reason in part.refused.items())
    return SplitSuggestion(found.keys, lines + found.unsupported, note=found.note)


def _causes(symbol: Symbol, refused: Collection[int]) -> dict[int, tuple[str, ...]]:
    """Of refused nodes, and of all that follow them: the refused ones they come from."""
    found: dict[int, tuple[str, ...]] = {}
    for index in needed_nodes(symbol):
        texts = [text for source, _ in symbol.nodes[index].inputs for text in found.get(source, ())]
        if index in refused:
            texts = [_where(symbol, index)]
        if texts:
            found[index] = tuple(dict.fromkeys(texts))
    return found


def _by_name(model: MXNetModel) -> SplitSuggestion:
    """As the symbol tells: operators without a converter are refused."""
    symbol, params = model.symbol, model.params
    needed, inputs = needed_nodes(symbol), find_model_inputs(symbol, params, model.inputs)
    read, names = outputs_read(symbol, needed), {}
    values: dict[Entry, list[Entry]] = {}
    for index in needed:
        node = symbol.nodes[index]
        sources = [entry for entry, (_, label, _) in zip(node.inputs, reads(symbol, index), strict=True)
                   if not label and entry in values]
        if _cuts_a_constant(node) and sources == [node.inputs[1]]:
            continue  # MXNetModel.split writes the shape out
        if not (sources or (node.is_variable and node.name in inputs)):
            continue
        several = max(read[index], default=0) > 0
        if several:
            values[index, -1] = sources  # the operator, of whose outputs each is a value
        for output in sorted(read[index]):
            values[index, output] = [(index, -1)] if several else sources
            names[index, output] = f"{node.name}_output{output}" if several else node.name
    unknown = [index for index in needed if not symbol.nodes[index].is_variable
               and symbol.nodes[index].operator not in CONVERTERS]
    lines = tuple(f"{_where(symbol, index)}: it has no converter" for index in unknown)
    causes = _causes(symbol, unknown)
    refused = {value: ", ".join(causes[value[0]]) for value, sources in values.items() if value[0] in causes
               and (value[0] in unknown or not any(source in causes for source, _ in sources))}
    if not refused:
        return SplitSuggestion((), lines, complete=False)
    flow = Dataflow(values, refused, {head for head in symbol.heads if head in values},
                    anchored={value for value in values if symbol.nodes[value[0]].operator in PRODUCTS | GATHERING},
                    nameable=set(names))
    cut = flow.narrowest_cut()
    if all(not flow.inputs[value] for value in cut):
        raise nothing_below(lines)
    has_product = any(symbol.nodes[index].operator in PRODUCTS for index, _ in flow.base(cut))
    keys = tuple(SplitKey(names[value], None, tuple(flow.because(value, cut))) for value in cut)
    return SplitSuggestion(keys, lines, False, None if has_product else NO_PRODUCT)


def _cuts_a_constant(node: SymbolNode) -> bool:
    """Whether a node asks its second input for its shape alone, without the batch, as where anchors are cut to fit."""
    if node.operator != "slice_like" or len(node.inputs) != 2:
        return False
    axes = Attributes(node.operator, node.name, node.attributes).integers("axes", ())
    return bool(axes) and 0 not in axes


def _where(symbol: Symbol, index: int) -> str:
    node = symbol.nodes[index]
    return f"node '{node.name}' ({node.operator})"
