"""Quantizes the upper half of a split model onto the integers of its quantized lower half: one integer graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx

from mrt_torch.errors import CalibrationError, MRTError, PrecisionError, UnsupportedOperatorError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import describe, facts_of
from mrt_torch.graph.runner import finish
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.registry import TRANSFORMERS
from mrt_torch.passes.prepare import prepare
from mrt_torch.passes.quantize import write_node, write_outputs
from mrt_torch.passes.split import copy_nodes
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.held import proven_magnitude
from mrt_torch.quantization.settings import QuantizationSettings

logger = logging.getLogger(__name__)
REMEDY = ("keep the upper half in floats: ModelMerger.merge() joins it as it is; or split above these nodes, so that "
          "they are calibrated with the lower half")
# Numbers that stand beside data, in its units, by the operator's name in MXNet.
NUMBERS: Mapping[str, tuple[str, ...]] = {
    **{f"_{name}_scalar": ("scalar",) for name in (
        "greater", "greater_equal", "lesser", "lesser_equal", "equal", "not_equal", "plus", "minus", "rminus",
        "maximum", "minimum")},
    "clip": ("a_min", "a_max"), "_contrib_box_nms": ("valid_thresh",)}


@dataclass(frozen=True)
class NumberScale:
    """A number among an operator's attributes, and the scale that it has in the integer graph.

    Attributes:
        where: the node, for messages.
        operators: names of its operator in MXNet: in the model, and after preparation.
        attribute: the attribute's name in MXNet.
        scale: that of the data it is compared with or added to; 1 where it only multiplies, or counts.
    """

    where: str
    operators: frozenset[str]
    attribute: str
    scale: float


@dataclass(frozen=True)
class QuantizedTop:
    """An integer graph of both halves, the scale of each output, and those of the numbers in the upper half."""

    module: fx.GraphModule
    scales: list[float]
    numbers: list[NumberScale]


class TopContext(QuantizationContext):
    """Quantization of a graph that nothing calibrated: a magnitude is what the proven range of the integers allows."""

    def __init__(self, module: fx.GraphModule, settings: QuantizationSettings):
        super().__init__(module, {}, settings)

    def threshold(self, float_node: fx.Node) -> float:
        """Proven magnitude of the integers, over their scale; of a parameter its largest magnitude.

        Raises:
            CalibrationError: an operator asks for that of its own result, which only data can tell.
        """
        if self.is_constant(float_node):
            return super().threshold(float_node)
        if not self.has_value(float_node):
            raise CalibrationError("a node has no threshold", where=describe(float_node), remedy=REMEDY,
                                   why="its range does not follow from its inputs; the upper half is not calibrated")
        return proven_magnitude(self.stored(float_node))


def operators_of(node: fx.Node) -> frozenset[str]:
    """Names of a node's operator in MXNet: as the model has it, and that of its Transformer."""
    names = {facts_of(node).source_operator}
    if node.target in TRANSFORMERS:
        names.add(TRANSFORMERS[node.target].op_name)
    return frozenset(name for name in names if name)


def quantize_top(base: fx.GraphModule, inputs: Mapping[str, tuple[fx.Node, float]], top: fx.GraphModule, prepared: bool,
                 settings: QuantizationSettings | None = None) -> QuantizedTop:
    """One integer graph of an integer base, copied as it is, and a float top, quantized on its outputs.

    The integers of base are the inputs of top, at the scales they have. Numbers that operators of top compare with
    follow the scale of what they are compared with: ``valid_thresh`` becomes floor(valid_thresh * scale of the scores).

    Args:
        base: integer graph.
        inputs: by name of each input of top: the output of base that feeds it, and its scale.
        top: float graph.
        prepared: whether top consists of operators that have an integer form; else it is prepared first.
        settings: precisions of the operators; the defaults without.

    Raises:
        UnsupportedOperatorError: lists every node of top that has no integer form, and why.
    """
    top = top if prepared else _prepared(top)
    context, named = TopContext(top, settings or QuantizationSettings()), set()
    copies = copy_nodes(base, context.editor, {})
    named.update(copies.values())
    for node in input_nodes(top.graph):
        output, scale = inputs[node.name]
        context.set_value(node, Quantized(copies[output], scale))
    _write_top(top, context, named)
    if context.weighted_sums:
        logger.warning("%s: layers of the upper half are not calibrated, so their ranges are those that are proven; "
                       "split above them where accuracy counts", ", ".join(map(describe, context.weighted_sums)))
    scales = write_outputs(context)
    numbers = [number for node in top.graph.nodes if node.op == "call_function"
               for number in _numbers_of(node, context)]
    module = context.editor.module
    finish(module, Stage.INTEGER)
    return QuantizedTop(module, scales, numbers)


def _prepared(top: fx.GraphModule) -> fx.GraphModule:
    try:
        return prepare(top, join_inputs=False)
    except UnsupportedOperatorError as error:
        raise UnsupportedOperatorError("the upper half has no integer form", where=error.where,
                                       why=error.why or error.what, remedy=REMEDY) from error


def _write_top(top: fx.GraphModule, context: QuantizationContext, named: set[fx.Node]) -> None:
    """Write the integers of all operators; those that read one that failed are left out.

    Raises:
        UnsupportedOperatorError: lists every one that failed by itself.
    """
    missing: set[fx.Node] = set()
    failures: list[tuple[fx.Node, MRTError]] = []
    for node in top.graph.nodes:
        if node.op != "call_function":
            continue
        if not missing.isdisjoint(node.all_input_nodes):
            missing.add(node)
            continue
        try:
            with context.editor.inheriting(node):
                write_node(node, context, named)
        except (UnsupportedOperatorError, CalibrationError, PrecisionError) as error:
            missing.add(node)
            failures.append((node, error))
    if failures:
        raise UnsupportedOperatorError(
            "the upper half has no integer form", where=f"first at {describe(failures[0][0])}", remedy=REMEDY,
            why="\n    ".join(f"{describe(node)}: {error.what}{f' ({error.why})' if error.why else ''}"
                              for node, error in failures)) from failures[0][1]


def _numbers_of(node: fx.Node, context: QuantizationContext) -> list[NumberScale]:
    """Scales of the numbers of one operator of top."""
    operators = operators_of(node)
    beside = {attribute for name in operators for attribute in NUMBERS.get(name, ())}
    data = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
    if data is None or context.is_constant(data):
        return []
    scale = context.number_scales[node] if node in context.number_scales else \
        context.value(data).scale if beside else 1.0
    return [NumberScale(describe(node), operators, attribute, scale if attribute in beside else 1.0)
            for attribute in attributes_of(node)]


def attributes_of(node: fx.Node) -> list[str]:
    """Names of an operator's numbers: those that MXNet gives them, and those of the arguments of its target."""
    names = {attribute for name in operators_of(node) for attribute in NUMBERS.get(name, ())}
    names |= {"scalar"} if any(name.endswith("_scalar") for name in operators_of(node)) else set()
    schema = getattr(node.target, "_schema", None)
    arguments = [] if schema is None else [argument.name for argument in schema.arguments[1:]
                                           if "Tensor" not in str(argument.type)]
    return sorted(names.union(arguments))
