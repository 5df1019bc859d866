"""Names the keys at which a model with parts that have no integer form is best split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import fx

from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from mrt_torch.graph.dataflow import Dataflow
from mrt_torch.graph.editor import GraphEditor, output_nodes, shape_of
from mrt_torch.graph.facts import describe, set_facts, source_name
from mrt_torch.graph.runner import copy_graph_module, run_passes
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.adaptive_pooling import AdaptiveAveragePooling
from mrt_torch.ops.convolution import Convolution
from mrt_torch.ops.deconvolution import Deconvolution
from mrt_torch.ops.detection_nms import BoxNms
from mrt_torch.ops.embedding import Embedding
from mrt_torch.ops.extremes import Argmax
from mrt_torch.ops.likeness import ReshapeLike
from mrt_torch.ops.linear import FullyConnected
from mrt_torch.ops.matrix_product import BatchDot
from mrt_torch.ops.pooling import AveragePooling, Pooling
from mrt_torch.ops.reduction import Reduction
from mrt_torch.ops.registry import TRANSFORMERS
from mrt_torch.ops.repetition import BroadcastTo, Tile
from mrt_torch.ops.shape import ShapeTransformer
from mrt_torch.ops.slicing import Concat, Slice, SliceAxis
from mrt_torch.ops.transposition import SwapAxis, Transpose
from mrt_torch.ops.vector_norm import Norm
from mrt_torch.ops.volumes import VolumeConvolution, VolumePooling
from mrt_torch.passes.fuse_functions import fuse_functions
from mrt_torch.passes.prepare import SOURCE_PASSES
from mrt_torch.passes.split import erase_unread, only_takes_batch, settle_shapes, split
from mrt_torch.passes.validate import Refusal, find_refusals

PRODUCTS = (Convolution, Deconvolution, VolumeConvolution, FullyConnected, BatchDot)
# What reads many numbers for each that it gives: below a cut through its input nothing would become smaller.
GATHERING = (Pooling, AveragePooling, AdaptiveAveragePooling, VolumePooling, Reduction, Norm, Argmax, Embedding)
MOVEMENT = (ShapeTransformer, ReshapeLike, Transpose, SwapAxis, Tile, BroadcastTo, Slice, SliceAxis)
NO_PRODUCT = "below the keys is no convolution, dense layer or matrix product: there is little to gain"


@dataclass(frozen=True)
class SplitKey:
    """A key; ``shape`` is None where it is not known, ``because`` names the operators that make it necessary."""

    name: str
    shape: tuple[int, ...] | None
    because: tuple[str, ...]


@dataclass(frozen=True)
class SplitSuggestion:
    """Where to split a model.

    Attributes:
        keys: in topological order; none where no split is needed.
        unsupported: one line for each operator, or use of one, that has no integer form.
        complete: whether the use of the operators was judged too, which needs the input shapes.
        note: what else the user should know.
    """

    keys: tuple[SplitKey, ...] = ()
    unsupported: tuple[str, ...] = ()
    complete: bool = True
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"needed": bool(self.keys), **asdict(self)}


def suggest_split(module: fx.GraphModule, read_above: Mapping[fx.Node, Sequence[str]] | None = None,
                  is_name: Callable[[str], bool] = lambda name: True) -> SplitSuggestion:
    """The keys at which ``split`` gives a base that ``prepare`` accepts.

    The top takes the operators without an integer form and all that follows them. Of the others it takes those that
    make the cut narrow, see ``Dataflow.narrowest_cut``: the fewest keys, then the fewest numbers, then the most
    operators below. Convolutions, dense layers, products, poolings and reductions that have an integer form, and what
    they read, are never taken for that. Outputs of the model that are not above the cut are keys too, or depend on
    keys alone. Constants, and what is computed of them alone, are no keys: each half has its own. The rows of a
    refused non-maximum suppression are taken apart, because classes, scores and corners that are joined in the base
    share one scale.

    A base may be refused where the whole was not, as a mask that was part of a softmax; it is judged as prepare does,
    and cut again, until nothing is refused.

    Args:
        module: float graph of the source stage.
        read_above: nodes that operators outside the graph read, with texts about these.
        is_name: whether a key may have a name.

    Raises:
        UnsupportedOperatorError: nothing can be quantized, because the unsupported operators read the model's input.
    """
    refused, read_above = _refused_nodes(module, module), read_above or {}
    if not refused and not read_above:
        return SplitSuggestion()
    batch_of_any = not read_above  # whether the top may take the batch of any key: split does that, no bridge does
    while True:
        flow, names = _flow_of(module, refused, read_above, is_name, batch_of_any)
        cut = flow.narrowest_cut()
        unsupported = tuple(dict.fromkeys(str(refusal) for refusal in refused.values()))
        if all(not flow.inputs[node] for node in cut):
            raise nothing_below(unsupported or dict.fromkeys(text for texts in read_above.values() for text in texts))
        keys = tuple(SplitKey(names[node], shape_of(node), tuple(flow.because(node, cut))) for node in cut)
        try:
            base, _ = split(module, [key.name for key in keys], Stage.SOURCE)
        except InvalidArgumentError:
            if not batch_of_any:
                raise
            batch_of_any = False
            continue
        found = {name: refusal for name, refusal in _refused_nodes(base, module).items() if name not in refused}
        if not found:
            note = None if any(_is_one_of(node, PRODUCTS) for node in flow.base(cut)) else NO_PRODUCT
            return SplitSuggestion(keys, unsupported, note=note)
        refused.update(found)


def nothing_below(reasons: Iterable[str]) -> UnsupportedOperatorError:
    """The error of a model whose unsupported operators leave no base."""
    return UnsupportedOperatorError(
        "no split leaves anything to quantize", where="the inputs of the model",
        why="nothing that is worth it stands between them and what has no integer form:\n    " + "\n    ".join(reasons),
        remedy="compute these before the model, on what is fed to it, or register a Transformer for them")


def _refused_nodes(base: fx.GraphModule, module: fx.GraphModule) -> dict[str, Refusal]:
    """What ``prepare`` would refuse of a graph, by the names of the nodes of ``module`` that it stems from."""
    judged = copy_graph_module(base)
    origins = {node.name: node for node in module.graph.nodes}
    for node in judged.graph.nodes:
        set_facts(node, source_name=node.name)  # which every node that a pass makes of it inherits
    judged = run_passes(judged, (*SOURCE_PASSES, (fuse_functions, Stage.SOURCE))).module
    found: dict[str, Refusal] = {}
    for refusal in find_refusals(judged):
        nodes = tuple(dict.fromkeys(origins[source_name(node)] for node in refusal.nodes
                                    if source_name(node) in origins))
        if nodes:
            found.update(dict.fromkeys((node.name for node in nodes), replace(refusal, nodes=nodes)))
    return found


def _flow_of(module: fx.GraphModule, refused: Mapping[str, Refusal], read_above: Mapping[fx.Node, Sequence[str]],
             is_name: Callable[[str], bool], batch_of_any: bool) -> tuple[Dataflow, dict[fx.Node, str]]:
    """The values of a graph as far as they depend on its inputs, and the names that ``split`` knows them by."""
    settled = copy_graph_module(module)
    copies = dict(zip(module.graph.nodes, settled.graph.nodes, strict=True))
    read = {copies[node].name: texts for node, texts in read_above.items()}
    settle_shapes(GraphEditor(settled))
    erase_unread(settled.graph)
    inputs: dict[fx.Node, list[fx.Node]] = {}
    for node in settled.graph.nodes:
        loose = batch_of_any and node.op == "call_function" and only_takes_batch(node)
        sources = [source for source in (node.args[:1] if loose else node.all_input_nodes) if source in inputs]
        if node.op == "placeholder" or (node.op == "call_function" and sources):
            inputs[node] = sources
    meant = {source_name(node): node for node in inputs} | {node.name: node for node in inputs}  # as find_node does
    names = {node: source_name(node) if meant[source_name(node)] is node else node.name for node in inputs}
    groups = {source_name(node) for node in module.graph.nodes if node.name in refused}  # all steps of an operator
    texts = {node: describe(node) for node in inputs if source_name(node) in groups and node.op == "call_function"}
    tensors = {node for node in inputs if isinstance(node.meta["val"], torch.Tensor)}
    outputs = {node for node in output_nodes(settled.graph) if node in inputs}
    above = {node: read[node.name] for node in inputs if node.name in read}
    return Dataflow(
        inputs, texts, outputs - set(above), above,
        {node for node in inputs if _is_one_of(node, PRODUCTS + GATHERING)}, _mixing(texts),
        {node: math.prod(shape_of(node)) for node in tensors},
        {node for node in tensors if source_name(node) == names[node] and is_name(names[node])}), names


def _mixing(refused: Iterable[fx.Node]) -> set[fx.Node]:
    """The concatenations that make the rows of suppressions, and what moves their values afterwards."""
    found: set[fx.Node] = set()

    def mixes(node: fx.Node) -> bool:
        if _is_one_of(node, (Concat,)):
            for source in node.all_input_nodes:
                mixes(source)
        elif not _is_one_of(node, MOVEMENT) or not mixes(node.args[0]):
            return False
        found.add(node)
        return True

    for node in refused:
        if _is_one_of(node, (BoxNms,)):
            mixes(node.args[0])
    return found


def _is_one_of(node: fx.Node, kinds: tuple[type, ...]) -> bool:
    return node.op == "call_function" and node.target in TRANSFORMERS and isinstance(TRANSFORMERS[node.target], kinds)
