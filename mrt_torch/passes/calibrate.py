"""Calibration with the quantizer and the optimizor that a configuration gives each node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from mrt_torch.calibration.cache import CalibrationCache
from mrt_torch.calibration.calibrate import Calibrator
from mrt_torch.calibration.features import Feature
from mrt_torch.calibration.insert_observers import ObserverFactory
from mrt_torch.calibration.observers import Observer
from mrt_torch.calibration.optimizors import Optimizor, get_optimizor
from mrt_torch.calibration.plan import chosen_observers
from mrt_torch.calibration.raw_features import raw_feature
from mrt_torch.calibration.run import run_calibration
from mrt_torch.configuration import CHANNEL_WISE, DEFAULTS
from mrt_torch.device import available_device
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import tensor_of
from mrt_torch.graph.facts import describe
from mrt_torch.passes.configure import Configuration, given_configuration
from mrt_torch.passes.symbol import Params, Symbol, graph_of
from mrt_torch.quantization.calibrated import Calibrated


class CalibratedFeatures(dict[str, Feature]):
    """Features by node name, and what the defaults know besides: ranges of operands, and a sample of the data.

    What is known besides of a node counts as long as the node's feature is not replaced.
    """

    def __init__(self, calibrated: Calibrated):
        super().__init__(calibrated.features)
        self._calibrated = calibrated

    def calibrated(self) -> Calibrated:
        """All of it, for ``mrt_torch.passes.quantize``."""
        observed = self._calibrated.features
        kept = {key: feature for key, feature in self._calibrated.operand_features.items()
                if key[0] in self and self[key[0]] is observed.get(key[0])}
        return Calibrated(dict(self), kept, self._calibrated.sample)


class ConfiguredObservers:
    """The observers of a graph: of each node its configured optimizor's, else those of ``default_observers``.

    ``Calibrator(module, observer=configured.make)`` runs them all in one pass over the data.

    Args:
        module: prepared float graph.
        configuration: attributes by node name, as ``given_configuration`` returns them; a node is left to the
            defaults unless it has a quantizer or an optimizor.
        lambd, observer: of the other nodes, as in ``Calibrator``.

    Raises:
        InvalidArgumentError: both ``lambd`` and ``observer``; an optimizor that does not support its quantizer.
    """

    def __init__(self, module: fx.GraphModule, configuration: Configuration, lambd: float | None = None,
                 observer: ObserverFactory | None = None):
        self._module = module
        self._default = chosen_observers(module, lambd, observer)
        self._configured: dict[str, tuple[Optimizor, str, int | None]] = {}
        for name, attributes in configuration.items():
            if "quant_type" in attributes or "opt_info" in attributes:
                filled = {**DEFAULTS, **attributes}
                groups = filled["gn_info"].get("num_groups")
                self._configured[name] = get_optimizor(filled["opt_info"]), filled["quant_type"], groups

    def make(self, node: fx.Node) -> Observer:
        """The observer of a node."""
        if node.name not in self._configured:
            return self._default(node)
        optimizor, quant_type, _ = self._configured[node.name]
        return optimizor.make_observer(quant_type, node)

    def features(self, calibrator: Calibrator) -> CalibratedFeatures:
        """What the optimizors, and the defaults, make of all that was observed.

        Raises:
            CalibrationError: nothing was observed.
        """
        features = calibrator.features()
        for name in features.keys() & self._configured.keys():
            optimizor, quant_type, groups = self._configured[name]
            features[name] = optimizor.optimize(calibrator.observers[name], quant_type, groups)
        features |= self._of_parameters()
        operands = {key: feature for key, feature in calibrator.operand_features().items()
                    if key[0] not in self._configured}
        return CalibratedFeatures(Calibrated(features, operands, calibrator.sample.tensor()))


    def _of_parameters(self) -> dict[str, Feature]:
        """What optimizors make of parameters; the default one would keep them whole, so it is not asked."""
        found: dict[str, Feature] = {}
        for node in self._module.graph.nodes:
            optimizor, quant_type, groups = self._configured.get(node.name, (None, None, None))
            if node.op == "get_attr" and optimizor is not None and optimizor.key != DEFAULTS["opt_info"]:
                tensor = tensor_of(self._module, node)
                tensor = tensor.movedim(0, 1) if tensor.dim() > 1 else tensor  # groups are of output channels
                raw = raw_feature(tensor, quant_type, groups)
                found[node.name] = optimizor.get_opt(raw, tensor, hist_ft=None, name=node.name)
        return found


def sym_calibrate(symbol: Symbol, params: Params, data: Any, cfg_dict: Mapping[Any, Mapping[str, Any]] | None, *,
                  ctx: str | torch.device = "cpu", progress: bool | None = None,
                  cache: CalibrationCache | str | os.PathLike[str] | None = None,
                  distributed: bool | None = None) -> CalibratedFeatures:
    """The feature of every activation by node name, from one pass over the data.

    A node that ``cfg_dict`` gives a quantizer or an optimizor is calibrated by these; others as ``MRT.calibrate`` does
    it by default. After ``sym_config_infos`` every node has both. (MRT GEN, ``tfm_pass.sym_calibrate``, of which each
    call forgot the batches before: here all of ``data`` counts.)

    Args:
        symbol: prepared Model or its GraphModule.
        params: tensors that replace the graph's own, by name; None or {} keeps them.
        data: an array, an iterable of arrays or a DataLoader, as for ``MRT.set_data``.
        cfg_dict: as ``sym_config_infos`` takes or returns it; None or {} calibrates all nodes by default.
        ctx: torch device.
        progress: show a bar; None shows one on a terminal only.
        cache, distributed: see ``mrt_torch.calibration.run.run_calibration``.

    Raises:
        CalibrationError: no data, data of a wrong shape, or a value that is not finite.
        InvalidArgumentError: see ``sym_config_infos``; a node that is still channel-wise.
    """
    module = graph_of(symbol, params)
    configuration = given_configuration(module, cfg_dict or {})
    for node in module.graph.nodes:
        if configuration.get(node.name, {}).get("gn_info", {}).get("gn_type") == CHANNEL_WISE:
            raise InvalidArgumentError("channel-wise nodes are sliced before calibration", where=describe(node),
                                       why=f"saw {configuration[node.name]['gn_info']!r}",
                                       remedy="call symbol, params = sym_slice_channel(symbol, params, cfg_dict) first")
    observers = ConfiguredObservers(module, configuration)
    calibrator = Calibrator(module, observer=observers.make)
    joined = getattr(symbol, "joined", None)
    run_calibration(calibrator, joined.join_data(data) if joined else data, available_device(ctx), progress, cache,
                    distributed)
    return observers.features(calibrator)
