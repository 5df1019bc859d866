"""The state of one quantization: integer nodes written so far, and the tools Transformers write them with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx

from mrt_torch.cvm import OPERATORS, Interval, analyse_node, bits_for, call_of
from mrt_torch.errors import CalibrationError, InvalidArgumentError, PrecisionError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, tensor_of
from mrt_torch.graph.facts import describe, facts_of, set_facts, source_name
from mrt_torch.quantization.discrete import is_discrete
from mrt_torch.quantization.precision import get_bit, int_realize
from mrt_torch.quantization.precision import scale as scale_of
from mrt_torch.quantization.requantize import (
    PRODUCT_BITS,
    RequantizationRule,
    Rescaling,
    check_rescaling,
    choose_rescaling,
)
from mrt_torch.quantization.settings import QuantizationSettings

WIDEST_PARAMETER = 31
LARGEST_MISMATCH = 2.0 ** -10  # of the scales of tensors that are added


class Quantized(NamedTuple):
    """An integer node and what its integers mean: float value = integer / scale.

    The scale belongs to the value, not to the node: a multiplication by a constant only changes the scale, so two
    float values may share one integer node.
    """

    node: fx.Node
    scale: float

    @property
    def precision(self) -> int:
        """Bits that the runtime infers."""
        return facts_of(self.node).precision

    @property
    def value_range(self) -> Interval:
        """Proven range of the integers."""
        return facts_of(self.node).value_range


class QuantizationContext:
    """Writes the integer graph of a float graph, one Transformer call per float node.

    Attributes:
        settings: what the user chose.
        editor: writes into the integer graph.
    """

    def __init__(self, module: fx.GraphModule, thresholds: Mapping[str, float], settings: QuantizationSettings,
                 requantization: RequantizationRule = choose_rescaling):
        self.module = module
        self.settings = settings
        self.editor = GraphEditor(empty_graph_module())
        self._thresholds = thresholds
        self._requantization = requantization
        self._values: dict[fx.Node, Quantized] = {}
        self._requantized: dict[tuple, Quantized] = {}
        self._single_constants: dict[int, fx.Node] = {}
        self._tables: dict[bytes, fx.Node] = {}

    def set_value(self, float_node: fx.Node, quantized: Quantized) -> None:
        """Record the integers that hold a float node's value."""
        self._values[float_node] = quantized

    def value(self, float_node: fx.Node) -> Quantized:
        """The integers of an activation as they stand, before any requantization."""
        return self._values[float_node]

    def is_constant(self, float_node: fx.Node) -> bool:
        """Whether a float node is a parameter."""
        return float_node.op == "get_attr"

    def tensor(self, float_node: fx.Node) -> torch.Tensor:
        """The float parameter behind a get_attr node, in float64."""
        return tensor_of(self.module, float_node).to(torch.float64)

    def threshold(self, float_node: fx.Node) -> float:
        """Calibrated threshold of an activation, or the one set for a parameter, else its largest magnitude.

        Truth values and indices count with their proven range, of which calibration may have met zeros only; a
        threshold more than twice the proven range, as of a mask that saturates, is that range.

        Raises:
            CalibrationError: the activation was not calibrated.
        """
        known, calibrated = self._values.get(float_node), self._thresholds.get(float_node.name)
        if known is not None:
            proven = known.value_range.magnitude / known.scale
            if is_discrete(float_node) or calibrated is not None and calibrated > 2 * proven > 0:
                return proven
        if calibrated is not None:
            return calibrated
        if self.is_constant(float_node):
            return float(self.tensor(float_node).abs().max())
        raise CalibrationError("a node has no threshold", where=describe(float_node),
                               why="it is an activation, and the calibration did not see it",
                               remedy="calibrate the prepared model before quantize, or use set_threshold")

    def call(self, name: str, *operands: Any, **attributes: Any) -> fx.Node:
        """Emit one CVM operator; operands are narrowed to their proven width where the runtime needs it.

        Raises:
            PrecisionError: the result cannot be held in 32 bits.
        """
        row = OPERATORS[name]
        node = self.editor.call(row.target, *operands, **attributes)
        _, call = call_of(node)
        if max(row.precisions(call)) > 32:
            self.editor.graph.erase_node(node)
            nodes = operands[0] if row.takes_list else operands
            narrowed = [n if n is None else self.narrow(n, facts_of(n).value_range.precision) for n in nodes]
            node = self.editor.call(row.target, *([narrowed] if row.takes_list else narrowed), **attributes)
            _, call = call_of(node)
            if max(row.precisions(call)) > 32:
                raise PrecisionError(
                    f"the result of {name} cannot be proven to fit 32 bits", where=describe(node),
                    why=f"operands of {[o.precision for o in call.operands]} bits give {max(row.precisions(call))}",
                    remedy="lower the operator's input precision, or split the reduction")
        analyse_node(node)
        return node

    def narrow(self, node: fx.Node, bits: int) -> fx.Node:
        """Clamp to ``bits`` bits, where the runtime believes the node to be wider."""
        return node if facts_of(node).precision <= bits else self.call("cvm_clip", node, precision=bits)

    def constant(self, name: str, values: torch.Tensor) -> fx.Node:
        """A parameter of the integer graph, with its exact range and precision; single numbers are shared.

        Raises:
            PrecisionError: a value exceeds 31 bits, the widest that all back ends load and shift alike.
        """
        if tuple(values.shape) == (1,) and int(values) in self._single_constants:
            return self._single_constants[int(values)]
        interval = Interval.of_tensor(values)
        if interval.precision > WIDEST_PARAMETER:
            raise PrecisionError(f"integer parameter '{name}' is wider than {WIDEST_PARAMETER} bits",
                                 why=f"its largest magnitude is {interval.magnitude}",
                                 remedy="lower its scale, or its precision")
        node = self.editor.constant(name, values.to(torch.int32).contiguous())
        set_facts(node, precision=interval.precision, value_range=interval)
        if tuple(values.shape) == (1,):
            self._single_constants[int(values)] = node
        return node

    def table(self, name: str, values: torch.Tensor) -> fx.Node:
        """A parameter of shape (n, 1) for a lookup; equal tables are one parameter, under the first one's name."""
        key = values.to(torch.int32).numpy().tobytes()
        if key not in self._tables:
            self._tables[key] = self.constant(name, values.reshape(-1, 1))
        return self._tables[key]

    def number(self, value: int) -> fx.Node:
        """A parameter of shape (1,): the runtime has no scalar operands."""
        return self.constant(f"const_{value}".replace("-", "minus_"), torch.tensor([value]))

    def parameter_scale(self, float_node: fx.Node, bits: int) -> float:
        """Scale that fills ``bits`` bits with a parameter."""
        return scale_of(self.threshold(float_node), bits)

    def parameter(self, float_node: fx.Node, bits: int, scale: float | None = None) -> Quantized:
        """Quantize a float parameter: ``round(w * scale)``, ties away from zero, clamped to ``bits`` bits.

        ``scale`` defaults to the top of the range over the threshold. (MRT's ``requant_parameter``.)
        """
        scale = self.parameter_scale(float_node, bits) if scale is None else scale
        integers = int_realize(self.tensor(float_node) * scale, bits)
        return Quantized(self.constant(source_name(float_node), integers), scale)

    def requantize(self, float_node: fx.Node, bits: int, scale: float | None = None) -> Quantized:
        """The activation or parameter in at most ``bits`` bits, at about ``scale`` where one is given.

        Without ``scale`` the range is filled, scale = (2**(bits-1) - 1) / threshold, and a tensor that fits already
        is left as it is. (MRT's ``requant``.)
        """
        if self.is_constant(float_node):
            return self.parameter(float_node, bits, scale)
        key = (float_node, bits, scale)
        if key not in self._requantized:
            self._requantized[key] = self.rescale(self.value(float_node), self.threshold(float_node), bits, scale)
        return self._requantized[key]

    def rescale(self, quantized: Quantized, threshold: float, bits: int, scale: float | None = None) -> Quantized:
        """``quantized``, whose float magnitude is ``threshold``, in ``bits`` bits at about ``scale``."""
        negligible = scale is not None and threshold * scale < 0.5
        if threshold == 0 or quantized.value_range.magnitude == 0 or negligible:
            return Quantized(self.narrow(quantized.node, 1), quantized.scale if scale is None else scale)
        width = min(quantized.value_range.precision, get_bit(threshold * quantized.scale))
        if scale is None:
            if width <= bits:
                return Quantized(self.narrow(quantized.node, bits), quantized.scale)
            scale = scale_of(threshold, bits)
        ratio = scale / quantized.scale
        if ratio == 1.0:
            return Quantized(self.narrow(quantized.node, bits), scale)
        rescaling = check_rescaling(self._requantization(ratio, width, bits, self.settings.shift_bits), width)
        return Quantized(self._multiply_and_shift(quantized.node, rescaling, bits), quantized.scale * rescaling.ratio)

    def _multiply_and_shift(self, node: fx.Node, rescaling: Rescaling, bits: int) -> fx.Node:
        if rescaling.pre_shift:
            node = self.call("cvm_right_shift", self.narrow(node, PRODUCT_BITS), precision=rescaling.width,
                             shift_bit=rescaling.pre_shift)
        if rescaling.frac != 1:
            if facts_of(node).precision + bits_for(rescaling.frac) > PRODUCT_BITS:
                node = self.narrow(node, rescaling.width)
            node = self.call("broadcast_mul", node, self.number(rescaling.frac))
        if rescaling.shift:
            return self.call("cvm_right_shift", self.narrow(node, PRODUCT_BITS), precision=bits,
                             shift_bit=rescaling.shift)
        return self.narrow(node, bits)

    def same_scale(self, float_nodes: Sequence[fx.Node], bits: int) -> tuple[list[fx.Node], float]:
        """All nodes at one scale that fills ``bits`` bits for the largest threshold. (MRT's ``_quantize_scale``.)

        Nodes that share a scale and fit ``bits`` bits are taken as they are. Each node's own scale differs from the
        common one by the rounding of its fraction, less than 2**-11 of it.
        """
        activations = [n for n in float_nodes if not self.is_constant(n)]
        scales = {self.value(n).scale for n in activations}
        if len(scales) == 1 and len(activations) == len(float_nodes):
            if all(self.value(n).precision <= bits for n in activations):
                return [self.value(n).node for n in float_nodes], scales.pop()
        scale = scale_of(max(self.threshold(n) for n in float_nodes), bits)
        requantized = [self.requantize(n, bits, scale) for n in float_nodes]
        for float_node, quantized in zip(float_nodes, requantized, strict=True):
            mismatch = abs(quantized.scale / scale - 1)
            largest = min(self.threshold(float_node) * scale, quantized.value_range.magnitude)
            if mismatch > LARGEST_MISMATCH and mismatch * largest > 1:
                raise InvalidArgumentError("the requantization rule misses a scale that tensors share",
                                           where=describe(float_node), why=f"wanted {scale}, saw {quantized.scale}",
                                           remedy="let the rule meet the ratio within 2**-10")
        return [quantized.node for quantized in requantized], scale
