"""The state of one quantization: what holds each float value, and how it is brought to a precision and a scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import fx

from mrt_torch.calibration.features import AFeature
from mrt_torch.calibration.raw_features import AFFINE, SYMMETRIC
from mrt_torch.cvm import bits_for
from mrt_torch.errors import CalibrationError
from mrt_torch.graph.editor import input_nodes, tensor_of
from mrt_torch.graph.facts import describe, facts_of, source_name
from mrt_torch.graph.free_axis import is_batch_free
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.channels import SMALLEST_VALUE, ChannelQuantized, rescale_channels
from mrt_torch.quantization.columns import uniform_columns
from mrt_torch.quantization.discrete import is_discrete
from mrt_torch.quantization.held import AnyHeld, ColumnQuantized, Held, Quantized, proven_magnitude
from mrt_torch.quantization.integer_writer import IntegerWriter
from mrt_torch.quantization.precision import get_bit, get_range, int_realize
from mrt_torch.quantization.precision import scale as scale_of
from mrt_torch.quantization.requantize import (
    PRODUCT_BITS,
    RequantizationRule,
    Rescaling,
    check_rescaling,
    check_shared_scale,
    choose_rescaling,
)
from mrt_torch.quantization.rounding import round_weights
from mrt_torch.quantization.settings import QuantizationSettings

if TYPE_CHECKING:
    from mrt_torch.calibration.features import Feature
    from mrt_torch.quantization.bias_correction import CorrectedBias
    from mrt_torch.quantization.operands import Operand
    from mrt_torch.quantization.weight_rounding import WeightRounding, Windows
    from mrt_torch.quantization.weighted_sum import WeightedSum

UNIFORM_PRECISION = 16         # of a tensor whose channels had scales of their own, for operators that want one
USUAL_EXAMPLES = 64            # where no sample tells how many calibration met
HEADROOM = 2                   # bits beyond the calibrated range, where nothing forces a tensor into it


class QuantizationContext(IntegerWriter):
    """The integer graph of a float graph while it is written, one Transformer call per float node.

    Attributes:
        settings: what the user chose.
        recipe: the means against the loss of accuracy. A requantization rule of the user works on one scale for each
            tensor, so with one the recipe has neither scales for each channel nor zero points; nodes that are
            configured to have them do not follow the rule.
        calibrated: features of the activations.
        operands: those of convolutions and dense layers, so that readers of one tensor share them.
        corrected: the biases that bias correction may adjust.
        weighted_sums: what was chosen for each convolution and dense layer.
        rounding: how weights are rounded; None takes the nearest integers.
        number_scales: scale of what a number of an operator is compared with, where that is not its whole input.
    """

    def __init__(self, module: fx.GraphModule, calibrated: Calibrated | Mapping[str, Feature | float],
                 settings: QuantizationSettings, requantization: RequantizationRule = choose_rescaling):
        super().__init__()
        self.module = module
        self.settings = settings
        self.recipe = settings.recipe if requantization is choose_rescaling else replace(
            settings.recipe, weights_by_channel=False, inputs_by_group=False, zero_points=False)
        self.calibrated = Calibrated.of(calibrated)
        self.operands: dict[tuple, Operand] = {}
        self.corrected: list[CorrectedBias] = []
        self.weighted_sums: dict[fx.Node, WeightedSum] = {}
        self.rounding: WeightRounding | None = None
        self.number_scales: dict[fx.Node, float] = {}
        self._batch_is_free = is_batch_free(module, on_any_axis=True)
        self._requantization = requantization
        self._values: dict[fx.Node, AnyHeld] = {}
        self._uniform: dict[fx.Node, Quantized] = {}
        self._requantized: dict[tuple, Quantized] = {}

    def set_value(self, float_node: fx.Node, quantized: AnyHeld) -> None:
        """Record the integers that hold a float node's value."""
        self._values[float_node] = quantized

    def has_value(self, float_node: fx.Node) -> bool:
        """Whether the integers of a float node are known."""
        return float_node in self._values

    def held(self, float_node: fx.Node) -> Held:
        """The integers of an activation with one scale or one for each channel; ``stored`` knows columns too."""
        held = self._values[float_node]
        return self.value(float_node) if isinstance(held, ColumnQuantized) else held

    def stored(self, float_node: fx.Node) -> AnyHeld:
        """The integers of an activation as they stand, also those whose columns have scales of their own."""
        return self._values[float_node]

    def value(self, float_node: fx.Node) -> Quantized:
        """The integers of an activation with one scale: as they stand, or rescaled where there were several.

        The scale then fills 16 bits with the calibrated range, and two more hold what lies beyond it.
        """
        held = self._values[float_node]
        if isinstance(held, Quantized):
            return held
        if float_node not in self._uniform:
            scale = scale_of(self.threshold(float_node), UNIFORM_PRECISION)
            self._uniform[float_node] = self._uniform_of(float_node, held, UNIFORM_PRECISION + HEADROOM, scale)
        return self._uniform[float_node]

    def quantizer(self, float_node: fx.Node) -> str:
        """Name of the quantizer of an activation or a parameter: the configured one, or that of the recipe."""
        configured = self.settings.configuration.get(float_node.name, {}).get("quant_type")
        affine = self.recipe.zero_points and not self.is_constant(float_node)
        return configured or (AFFINE if affine else SYMMETRIC)

    def round_weights(self, op: fx.Node, weights: torch.Tensor, scales: torch.Tensor, data: Operand, windows: Windows
                      ) -> torch.Tensor:
        """Integers of the weights (O, ...) of ``op`` at ``scales`` (O,): int32. See ``WeightRounding.round``."""
        bits = self.settings.weight_precision
        if self.rounding is None:
            return round_weights(weights, scales, bits, None, "nearest")
        return self.rounding.round(op, weights, scales, bits, data, windows)

    @property
    def sample(self) -> torch.Tensor | None:
        """Examples of the float input to measure on; None without, and where the graph takes one batch only."""
        return self.calibrated.sample if self._batch_is_free else None

    @property
    def examples(self) -> int:
        """How many examples the ranges stand for: those of the sample, on the axis of the batch."""
        if self.sample is None:
            return USUAL_EXAMPLES
        return self.sample.shape[facts_of(input_nodes(self.module.graph)[0]).batch_axis]

    @property
    def corrects(self) -> bool:
        """Whether bias correction follows."""
        return self.recipe.bias_correction and self.sample is not None

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
        known, feature = self._values.get(float_node), self.calibrated.features.get(float_node.name)
        calibrated = None if feature is None else feature.get_threshold()
        if known is not None:
            proven = proven_magnitude(known)
            if is_discrete(float_node) or calibrated is not None and calibrated > 2 * proven > 0:
                return proven
        if calibrated is not None:
            return calibrated
        if self.is_constant(float_node):
            return float(self.tensor(float_node).abs().max())
        raise CalibrationError("a node has no threshold", where=describe(float_node),
                               why="it is an activation, and the calibration did not see it",
                               remedy="calibrate the prepared model before quantize, or use set_threshold")

    def channel_magnitudes(self, float_node: fx.Node, count: int) -> torch.Tensor:
        """Largest calibrated magnitude of each of ``count`` channels, (count,) float64; of all of them for 1."""
        threshold = self.threshold(float_node)
        feature = self.calibrated.features.get(float_node.name)
        ranges = None if feature is None or count == 1 else feature.get_channel_ranges()
        if ranges is None or len(ranges[0]) != count:
            return torch.full((count,), threshold, dtype=torch.float64)
        lows, highs = (torch.tensor(values, dtype=torch.float64) for values in ranges)
        return torch.maximum(lows.abs(), highs.abs()).clamp(max=threshold)

    def operand_range(self, float_node: fx.Node, groups: int, clipped: bool = True
                      ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Calibrated ``(lows, highs)`` of each of ``groups`` groups of channels, float64; None where it has none.

        ``clipped`` to the least squared error where calibration chose that, else the extremes.
        """
        chosen = self.calibrated.operand_features.get((float_node.name, groups)) if clipped else None
        feature = chosen or self.calibrated.features.get(float_node.name)
        if feature is None or isinstance(feature, AFeature):
            return None
        ranges = ([feature.get_range()[0]], [feature.get_range()[1]]) if groups == 1 else feature.get_channel_ranges()
        if ranges is None or len(ranges[0]) % groups:
            return None
        lows, highs = (torch.tensor(values, dtype=torch.float64).reshape(groups, -1) for values in ranges)
        return lows.amin(1), highs.amax(1)

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
            held = self._values[float_node]
            if isinstance(held, Quantized):
                self._requantized[key] = self.rescale(held, self.threshold(float_node), bits, scale)
            else:
                wanted = scale_of(self.threshold(float_node), bits) if scale is None else scale
                self._requantized[key] = self._uniform_of(float_node, held, bits, wanted)
        return self._requantized[key]

    def _uniform_of(self, float_node: fx.Node, held: ChannelQuantized | ColumnQuantized, bits: int, scale: float
                    ) -> Quantized:
        if isinstance(held, ColumnQuantized):
            return uniform_columns(self, held, bits, scale)
        return self._of_channels(float_node, held, bits, scale)

    def _of_channels(self, float_node: fx.Node, held: ChannelQuantized, bits: int, scale: float) -> Quantized:
        """A tensor whose channels had scales of their own, in ``bits`` bits at one ``scale``."""
        magnitudes = self.channel_magnitudes(float_node, len(held.scales))
        room = bits - bits_for(round(float(magnitudes.max()) * scale))
        magnitudes = magnitudes * 2.0 ** max(room, 0)
        if held.value_range.magnitude == 0 or float(magnitudes.max()) * scale < SMALLEST_VALUE:
            return Quantized(self.narrow(held.node, 1), scale)
        targets, room = torch.full_like(held.scales, scale), get_range(bits) / (float(magnitudes.max()) * scale)
        node, _ = rescale_channels(self, held, magnitudes, targets, bits, headroom=min(max(room, 1.0), 2.0 ** HEADROOM))
        return Quantized(node, scale)

    def rescale(self, quantized: Quantized, threshold: float, bits: int, scale: float | None = None) -> Quantized:
        """``quantized``, whose float magnitude is ``threshold``, in ``bits`` bits at about ``scale``."""
        negligible = scale is not None and threshold * scale < SMALLEST_VALUE
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
        uniform = all(isinstance(self.held(n), Quantized) for n in activations)
        scales = {self.value(n).scale for n in activations} if uniform else ()
        if len(scales) == 1 and len(activations) == len(float_nodes):
            if all(self.value(n).precision <= bits for n in activations):
                return [self.value(n).node for n in float_nodes], scales.pop()
        scale = scale_of(max(self.threshold(n) for n in float_nodes), bits)
        requantized = [self.requantize(n, bits, scale) for n in float_nodes]
        for float_node, quantized in zip(float_nodes, requantized, strict=True):
            largest = min(self.threshold(float_node) * scale, quantized.value_range.magnitude)
            check_shared_scale(quantized.scale, scale, largest, describe(float_node))
        return [quantized.node for quantized in requantized], scale
