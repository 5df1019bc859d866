"""Turns a prepared and calibrated float graph into an integer graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import fx

from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import facts_of, set_facts, source_name
from mrt_torch.graph.runner import finish
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.registry import apply_pass
from mrt_torch.passes.names import claim_name
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.discrete import is_discrete
from mrt_torch.quantization.precision import scale as scale_of
from mrt_torch.quantization.requantize import RequantizationRule, choose_rescaling
from mrt_torch.quantization.restore import restore_node
from mrt_torch.quantization.settings import QuantizationSettings


def quantize(module: fx.GraphModule, thresholds: Mapping[str, float], settings: QuantizationSettings,
             requantization: RequantizationRule = choose_rescaling) -> tuple[fx.GraphModule, list[float]]:
    """Integer graph of a float graph, and the scale of each output.

    Args:
        module: prepared float graph.
        thresholds: calibrated magnitude of every activation, by fx node name.
        settings: precisions and the rest.
        requantization: how tensors are brought to another scale.

    Raises:
        CalibrationError: an activation has no threshold.
        PrecisionError: a value cannot be proven to fit 32 bits.
    """
    context = QuantizationContext(module, thresholds, settings, requantization)
    restored, named = False, set()
    for node in module.graph.nodes:
        if node.op in ("get_attr", "output"):
            continue
        with context.editor.inheriting(node):
            if node.op == "call_function" and source_name(node) in settings.restore:
                quantized, restored = restore_node(node, context), True
            else:
                quantized = apply_pass("quantize", node, context=context)
        context.set_value(node, quantized)
        _name_after(quantized.node, node, named)
    float_outputs = output_nodes(module.graph)
    outputs = _own_nodes([_output(node, context) for node in float_outputs], context)
    for quantized, name in zip(outputs, _unique(map(source_name, float_outputs)), strict=True):
        set_facts(quantized.node, scale=quantized.scale, source_name=name)
    context.editor.output([quantized.node for quantized in outputs])
    integer_module = context.editor.module
    finish(integer_module, Stage.RESTORED if restored else Stage.INTEGER)
    _check_inputs(integer_module, module)
    return integer_module, [quantized.scale for quantized in outputs]


def _name_after(integer_node: fx.Node, float_node: fx.Node, named: set[fx.Node]) -> None:
    """The node that holds a float node's value carries its name; the first owner of a shared node keeps it."""
    if integer_node.op == "call_function" and integer_node not in named:
        named.add(integer_node)
        claim_name(integer_node, float_node.name)
        set_facts(integer_node, source_name=source_name(float_node))


def _output(node: fx.Node, context: QuantizationContext) -> Quantized:
    """An output at the requested precision; without one it stays as it is, at whatever scale it has.

    Truth values and indices always stay: rescaled to fill a precision they would no longer be what they are. So do
    other whole numbers, at scale 1, that the precision holds.
    """
    bits = context.settings.output_precision
    if context.is_constant(node):
        return context.parameter(node, bits or 16)
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
