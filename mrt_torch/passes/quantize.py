"""Turns a prepared and calibrated float graph into an integer graph."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping, MutableMapping
from dataclasses import replace

import torch
from torch import fx

from mrt_torch.calibration.features import Feature
from mrt_torch.errors import CalibrationError
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import facts_of, set_facts, source_name
from mrt_torch.graph.runner import finish
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.registry import apply_pass
from mrt_torch.passes.equalize_calibrated import equalize_calibrated
from mrt_torch.passes.names import claim_name
from mrt_torch.quantization.bias_correction import correct_biases
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.columns import output_of_columns
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.discrete import is_discrete
from mrt_torch.quantization.held import AnyHeld, ColumnQuantized
from mrt_torch.quantization.precision import int_realize
from mrt_torch.quantization.precision import scale as scale_of
from mrt_torch.quantization.requantize import RequantizationRule, choose_rescaling
from mrt_torch.quantization.restore import restore_node
from mrt_torch.quantization.sensitivity import SensitivityTable, cumulative_noise, sensitivities
from mrt_torch.quantization.settings import WIDEST_IN_PARTS, QuantizationSettings
from mrt_torch.quantization.weight_rounding import WeightRounding
from mrt_torch.quantization.wide_operands import choose_wide_operands, may_be_wider

logger = logging.getLogger(__name__)
SENSITIVITY_EXAMPLES = 16  # of the sample: the order of the nodes does not move with more


def quantize(module: fx.GraphModule, calibrated: Calibrated | Mapping[str, Feature | float],
             settings: QuantizationSettings,
             requantization: RequantizationRule = choose_rescaling,
             values: MutableMapping[str, AnyHeld] | None = None
             ) -> tuple[fx.GraphModule, list[float]]:
    """Integer graph of a float graph, and the scale of each output.

    Args:
        module: prepared float graph.
        calibrated: the feature of every activation, or its largest magnitude, by fx node name; a ``Calibrated`` has
            a sample besides, without which biases are not corrected.
        settings: precisions and the rest.
        requantization: how tensors are brought to another scale.
        values: is told the integers of every input and operator, by fx node name, before outputs are requantized.

    Raises:
        CalibrationError: an activation has no threshold.
        PrecisionError: a value cannot be proven to fit 32 bits.
    """
    module, calibrated = _equalized(module, Calibrated.of(calibrated), settings)
    context = _context(module, calibrated, settings, requantization)
    scales = write_integers(context)
    if values is not None:
        values.update((node.name, context.stored(node)) for node in module.graph.nodes
                      if node.op in ("placeholder", "call_function"))
    integer_module = context.editor.module
    finish(integer_module, Stage.RESTORED if _restored(context) else Stage.INTEGER)
    _check_inputs(integer_module, module)
    _correct_biases(context, integer_module)
    _report_maps(context)
    return integer_module, scales


def sensitivity_table(module: fx.GraphModule, calibrated: Calibrated, settings: QuantizationSettings,
                      requantization: RequantizationRule = choose_rescaling) -> SensitivityTable:
    """What each convolution and dense layer costs at the outputs, worst first; see ``sensitivities``.

    Raises:
        CalibrationError: an activation has no threshold, or calibration kept no sample.
        PrecisionError: a value cannot be proven to fit 32 bits.
    """
    module, calibrated = _equalized(module, calibrated, settings)
    context = _context(module, calibrated, settings, requantization)
    if context.sample is None:
        raise CalibrationError("there is no sample to measure sensitivities on", why="calibrate kept none, or an "
                               "operator fixes the batch", remedy="calibrate in this session, on a graph of free batch")
    write_integers(context)
    integer_module = context.editor.module
    finish(integer_module, Stage.RESTORED if _restored(context) else Stage.INTEGER)
    _correct_biases(context, integer_module)
    sample = _examples(context)
    noise = cumulative_noise(module, integer_module, {op: context.held(op) for op in context.weighted_sums}, sample,
                             _input_integers(integer_module, sample))
    return sensitivities(module, context.weighted_sums, sample, noise)


def _equalized(module: fx.GraphModule, calibrated: Calibrated, settings: QuantizationSettings
               ) -> tuple[fx.GraphModule, Calibrated]:
    return equalize_calibrated(module, calibrated, settings.weight_precision) if settings.recipe.equalization \
        else (module, calibrated)


def _context(module: fx.GraphModule, calibrated: Calibrated, settings: QuantizationSettings,
             requantization: RequantizationRule) -> QuantizationContext:
    """A context that knows which operands are wide and how weights are rounded."""
    context = QuantizationContext(module, calibrated, settings, requantization)
    if context.recipe.extra_operations and context.sample is not None:
        wide = {**_wide_operands(context), **settings.node_precisions}
        context = QuantizationContext(module, calibrated, replace(settings, node_precisions=wide), requantization)
    if context.recipe.rounding != "nearest" and context.sample is not None:
        context.rounding = WeightRounding(module, context.sample, context.recipe.rounding)
    return context


def _examples(context: QuantizationContext) -> torch.Tensor:
    """The part of the sample that sensitivities are measured on."""
    axis = facts_of(input_nodes(context.module.graph)[0]).batch_axis
    return context.sample.narrow(axis, 0, min(SENSITIVITY_EXAMPLES, context.sample.shape[axis]))


def _report_maps(context: QuantizationContext) -> None:
    """Say what zero points cost where a padded convolution's border sees fewer of them."""
    maps = [sums.offset.numel() for sums in context.weighted_sums.values()
            if sums.offset is not None and sums.offset.dim() > 1]
    weights = sum(sums.kernel.numel() for sums in context.weighted_sums.values())
    logger.info("zero points: %d convolutions add a constant map, %d numbers together beside %d weights", len(maps),
                sum(maps), weights)


def _wide_operands(context: QuantizationContext) -> dict[str, int]:
    """What ``choose_wide_operands`` finds for the recipe's budget; the integers written for it are thrown away."""
    write_integers(context)
    table = sensitivities(context.module, context.weighted_sums, _examples(context))
    return choose_wide_operands(table, may_be_wider(context), context.recipe.extra_operations, WIDEST_IN_PARTS)


def _restored(context: QuantizationContext) -> set[fx.Node]:
    """The operators that stay in float."""
    return {node for node in context.module.graph.nodes
            if node.op == "call_function" and source_name(node) in context.settings.restore}


def write_integers(context: QuantizationContext) -> list[float]:
    """Write the integer graph into the context's editor; returns the scales of its outputs."""
    named, restored = set(), _restored(context)
    for node in context.module.graph.nodes:
        if node.op not in ("get_attr", "output"):
            with context.editor.inheriting(node):
                write_node(node, context, named, restored)
    return write_outputs(context)


def write_node(node: fx.Node, context: QuantizationContext, named: set[fx.Node], restored: Container[fx.Node] = ()
               ) -> None:
    """Write the integers of one float node; ``named`` are the integer nodes that carry the name of theirs already."""
    quantized = restore_node(node, context) if node in restored else apply_pass("quantize", node, context=context)
    context.set_value(node, quantized)
    if isinstance(quantized, ColumnQuantized):
        for index, part in enumerate(quantized.parts):
            _name_after(part.quantized.node, f"{node.name}_part{index}", f"{source_name(node)}_part{index}", named)
    else:
        _name_after(quantized.node, node.name, source_name(node), named)


def write_outputs(context: QuantizationContext) -> list[float]:
    """Write the outputs of a graph whose nodes are all written; returns their scales."""
    float_outputs = output_nodes(context.module.graph)
    outputs = _own_nodes([_output(node, context) for node in float_outputs], context)
    for quantized, name in zip(outputs, _unique(map(source_name, float_outputs)), strict=True):
        set_facts(quantized.node, scale=quantized.scale, source_name=name)
    context.editor.output([quantized.node for quantized in outputs])
    return [quantized.scale for quantized in outputs]


def _correct_biases(context: QuantizationContext, integer_module: fx.GraphModule) -> None:
    if context.corrected and not _restored(context):
        correct_biases(context.module, integer_module, context.corrected, context.sample,
                       _input_integers(integer_module, context.sample),
                       facts_of(input_nodes(integer_module.graph)[0]).batch_axis)


def _input_integers(integer_module: fx.GraphModule, sample: torch.Tensor) -> torch.Tensor:
    facts = facts_of(input_nodes(integer_module.graph)[0])
    return int_realize(sample.to(torch.float64) * facts.scale, facts.precision)


def _name_after(integer_node: fx.Node, name: str, source: str, named: set[fx.Node]) -> None:
    """The node that holds a float node's value carries its name; the first owner of a shared node keeps it."""
    if integer_node.op == "call_function" and integer_node not in named:
        named.add(integer_node)
        claim_name(integer_node, name)
        set_facts(integer_node, source_name=source)


def _output(node: fx.Node, context: QuantizationContext) -> Quantized:
    """An output at the requested precision; without one it stays as it is, at whatever scale it has.

    Truth values and indices always stay: rescaled to fill a precision they would no longer be what they are. So do
    other whole numbers, at scale 1, that the precision holds.
    """
    bits = context.settings.output_precision
    if context.is_constant(node):
        return context.parameter(node, bits or 16)
    if isinstance(context.stored(node), ColumnQuantized):
        return output_of_columns(context, node, bits)
    quantized = context.value(node)
    if bits is None or is_discrete(node) or quantized.scale == 1.0 and quantized.value_range.precision <= bits:
        return quantized
    return context.requantize(node, bits, scale_of(context.threshold(node), bits))


def _unique(names: Iterable[str]) -> list[str]:
    """Names of outputs, ``_1``, ``_2``, ... added where a node is returned more than once."""
    unique: list[str] = []
    for name in names:
        candidate, counter = name, 0
        while candidate in unique:
            counter += 1
            candidate = f"{name}_{counter}"
        unique.append(candidate)
    return unique


def _own_nodes(outputs: list[Quantized], context: QuantizationContext) -> list[Quantized]:
    """Outputs that each have a node of their own, because a node carries one scale: a lossless clip where needed."""
    seen: set[fx.Node] = set()
    owned = []
    for node, scale in outputs:
        if node.op != "call_function" or node in seen:
            node = context.call("cvm_clip", node, precision=facts_of(node).precision)
        seen.add(node)
        owned.append(Quantized(node, scale))
    return owned


def _check_inputs(integer_module: fx.GraphModule, module: fx.GraphModule) -> None:
    names = [node.name for node in input_nodes(module.graph)]
    assert [node.name for node in input_nodes(integer_module.graph)] == names, "quantize lost or reordered inputs"
