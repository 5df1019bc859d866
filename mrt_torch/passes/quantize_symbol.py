"""Quantization under the signature that MRT GEN documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from mrt_torch.calibration.features import AFeature, Feature
from mrt_torch.calibration.raw_features import SYMMETRIC
from mrt_torch.configuration import DEFAULTS
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import facts_of, source_name
from mrt_torch.graph.stage import Stage
from mrt_torch.passes.calibrate import CalibratedFeatures
from mrt_torch.passes.configure import Configuration, given_configuration
from mrt_torch.passes.quantize import quantize as quantize_graph
from mrt_torch.passes.split import find_node
from mrt_torch.passes.symbol import Params, Symbol, graph_of, is_model, params_of
from mrt_torch.quantization.buffers import Buffer
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.node_buffers import buffers_of
from mrt_torch.quantization.settings import QuantizationSettings
from mrt_torch.record import QuantizationRecord

#: Key of a node's precision in ``precs``; the precision wanted of an output has the output's name as its key.
OUT_KEY = "out_key"


def quantize(symbol: Symbol, params: Params, features: Mapping[str, Feature],
             precs: MutableMapping[str, Any], buffers: MutableMapping[str, Buffer],
             cfg_dict: Mapping[Any, Mapping[str, Any]], op_input_precs: Mapping[str, int],
             restore_names: Iterable[str], shift_bits: int, softmax_lambd: float, *,
             settings: QuantizationSettings | None = None) -> tuple[Symbol, dict[str, torch.Tensor]]:
    """The integer graph and its parameters by name; ``precs`` and ``buffers`` are filled.

    Nodes that ``cfg_dict`` makes UniformSymmetric get no zero point; a UniformAffine node gets one where its range is
    worth it, see ``quantization.affine`` and ``quantization.affine_weights``; nodes without a quantizer follow the
    recipe of the settings. So does the granularity of weights, which layer-wise, the default, leaves to it. (MRT GEN,
    ``tfm_pass.quantize``; ``MRT.quantize`` is the same in fewer arguments.)

    Args:
        symbol: prepared Model or its GraphModule; the same kind is returned.
        params: tensors that replace the graph's own, by name; None or {} keeps them.
        features: by node name, as ``sym_calibrate`` returns them. A plain dict will do; it has no sample, so biases are
            not corrected.
        precs: ``{input: {"out_key": bits}}`` and ``{output: {output: bits}}`` are taken as wishes, 8 and none
            otherwise. Afterwards ``precs[name]["out_key"]`` is the precision of each node's integers.
        buffers: by node name, afterwards: ``SBuffer`` of the scale, ``SLBuffer`` where each channel has its own. That
            of an output is the scale of what the graph returns.
        cfg_dict: as ``sym_config_infos`` takes or returns it.
        op_input_precs: bits of the inputs of operators by MXNet name; others keep their default.
        restore_names: nodes to keep in float, for debugging.
        shift_bits: bits above its target that a tensor keeps until it is multiplied.
        softmax_lambd: logits more than this below the largest count as zero in a softmax.
        settings: what else there is to choose, such as the recipe.

    Raises:
        CalibrationError: an activation has no feature.
        InvalidArgumentError: features of another graph; a setting out of range; a wish in ``precs`` that is none; see
            ``sym_config_infos``.
        PrecisionError: a value cannot be proven to fit 32 bits.
    """
    module = graph_of(symbol, params)
    _check_names(module, features)
    configuration = given_configuration(module, cfg_dict or {})
    chosen = replace(settings or QuantizationSettings(), operator_precisions=dict(op_input_precs),
                     configuration=_without_defaults(module, configuration),
                     restore=frozenset(source_name(find_node(module, name)) for name in restore_names),
                     shift_bits=shift_bits, softmax_lambd=float(softmax_lambd), **_wishes(module, precs))
    calibrated = _configured(features, configuration)
    values: dict[str, Any] = {}
    integer_module, scales = quantize_graph(module, calibrated, chosen, values=values)
    buffers.update(buffers_of(module, values, scales))
    for name, quantized in values.items():
        precs[name] = {**_as_mapping(precs.get(name, {})), OUT_KEY: quantized.precision}
    for node, integers in zip(output_nodes(module.graph), output_nodes(integer_module.graph), strict=True):
        precs[node.name] = {**_as_mapping(precs.get(node.name, {})), OUT_KEY: facts_of(integers).precision}
    quantized_symbol: Any = integer_module
    if is_model(symbol):
        quantized_symbol = _model(symbol, integer_module, scales, bool(chosen.restore))
    return quantized_symbol, params_of(integer_module)


def _check_names(module: fx.GraphModule, features: Mapping[str, Feature]) -> None:
    known = {node.name for node in module.graph.nodes}
    unknown = sorted(map(str, features.keys() - known))
    if unknown:
        raise InvalidArgumentError("the features are of another graph", where="features",
                                   why=f"it has no nodes {unknown[:10]}",
                                   remedy="pass what sym_calibrate returned for this very symbol")


def _model(symbol: Any, integer_module: fx.GraphModule, scales: list[float], restored: bool) -> Any:
    record = replace(QuantizationRecord.of_graph(integer_module, symbol.output_names()), output_scales=tuple(scales))
    stage = Stage.RESTORED if restored else Stage.INTEGER
    return type(symbol)(integer_module, stage, record=record, prepared=True, joined=symbol.joined)


def _without_defaults(module: fx.GraphModule, configuration: Configuration) -> Configuration:
    """Without layer-wise granularity of parameters: it stands with all that ``sym_config_infos`` filled in."""
    parameters = {node.name for node in module.graph.nodes if node.op == "get_attr"}
    default = DEFAULTS["gn_info"]
    return {name: {key: value for key, value in attributes.items()
                   if name not in parameters or key != "gn_info" or value != default}
            for name, attributes in configuration.items()}


def _configured(features: Mapping[str, Feature], configuration: Configuration) -> Calibrated:
    """Features in the form that makes each node's quantizer what is configured: a magnitude alone is symmetric."""
    calibrated = features.calibrated() if isinstance(features, CalibratedFeatures) else Calibrated.of(features)
    symmetric = {name for name, attributes in configuration.items() if attributes.get("quant_type") == SYMMETRIC}
    return Calibrated(
        {name: AFeature(feature.get_threshold()) if name in symmetric else feature
         for name, feature in calibrated.features.items()},
        {key: feature for key, feature in calibrated.operand_features.items() if key[0] not in symmetric},
        calibrated.sample)


def _wishes(module: fx.GraphModule, precs: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that ``precs`` asks for."""
    found: dict[str, Any] = {}
    inputs, outputs = input_nodes(module.graph), output_nodes(module.graph)
    for name, entry in precs.items():
        for key, bits in _as_mapping(entry).items():
            if key != OUT_KEY and key != name:
                raise InvalidArgumentError("a precision for one reader of a node cannot be set",
                                           where=f"precs['{name}']", why=f"saw the key {key!r}",
                                           remedy="set those of an operator's inputs with op_input_precs")
            option = "input_precision" if key == OUT_KEY and name in _names(inputs) else \
                "output_precision" if key == name and name in _names(outputs) else None
            if option is None and key == name:
                raise InvalidArgumentError("a precision can be wanted of inputs and outputs", where=f"precs['{name}']",
                                           why=f"'{name}' is no output of the graph",
                                           remedy=f"the outputs are {_names(outputs)}")
            if option is not None and found.setdefault(option, bits) != bits:
                raise InvalidArgumentError("all outputs have one precision", where=f"precs['{name}']",
                                           why=f"saw {bits!r} and {found[option]!r}", remedy="ask for the same bits")
    return found


def _names(nodes: Iterable[fx.Node]) -> list[str]:
    return [name for node in nodes for name in dict.fromkeys((node.name, source_name(node)))]


def _as_mapping(entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise InvalidArgumentError("precs maps names to precisions by key", why=f"saw {entry!r:.200}",
                                   remedy=f'write {{"data": {{"{OUT_KEY}": 8}}}}')
    return entry
