"""MRT: calibration and quantization of a prepared model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from mrt_torch.calibration.cache import CalibrationCache
from mrt_torch.calibration.calibrate import Calibrator
from mrt_torch.calibration.features import AFeature, Feature
from mrt_torch.calibration.insert_observers import ObserverFactory
from mrt_torch.calibration.plan import CONVOLUTION, LINEAR
from mrt_torch.calibration.run import run_calibration
from mrt_torch.calibration.state import merge_state, state_of
from mrt_torch.configuration import CHANNEL_WISE
from mrt_torch.device import available_device
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of, source_name
from mrt_torch.graph.stage import Stage
from mrt_torch.model import Model
from mrt_torch.mrt_files import SavedState, load_state, not_of_one_save, save_state, stem_of
from mrt_torch.options import Options
from mrt_torch.passes.calibrate import ConfiguredObservers
from mrt_torch.passes.configure import given_configuration
from mrt_torch.passes.quantize import quantize as quantize_graph
from mrt_torch.passes.quantize import sensitivity_table
from mrt_torch.passes.slice_channel import sym_slice_channel
from mrt_torch.passes.split import find_node
from mrt_torch.quantization.buffers import Buffer
from mrt_torch.quantization.calibrated import Calibrated, joined, with_threshold
from mrt_torch.quantization.context import Held
from mrt_torch.quantization.node_buffers import buffers_of
from mrt_torch.quantization.recipe import recipe_named
from mrt_torch.quantization.requantize import RequantizationRule, choose_rescaling
from mrt_torch.quantization.sensitivity import SensitivityTable
from mrt_torch.quantization.settings import QuantizationSettings
from mrt_torch.record import QuantizationRecord


class MRT(Options):
    """Turns a prepared Model into a quantized one: set_data, calibrate, quantize.

    Args:
        model: a prepared Model with one input.
        input_prec: bits of the input.
        accuracy: the recipe against the loss of accuracy, see ``set_accuracy``.

    Attributes:
        features: of every activation by fx node name: what calibration met of each channel, or of the tensor.
        operand_features: by fx node name and number of channel groups: the range that an 8-bit operand keeps.
        buffers: after quantize, by fx node name: the scale, or the scales of the channels, of its integers.
    """

    def __init__(self, model: Model, input_prec: int = 8, accuracy: str = "default"):
        if not model.prepared or model.is_quantized:
            raise InvalidArgumentError("MRT takes a prepared float model", where="MRT(model)", why=f"saw {model!r}",
                                       remedy="call model.prepare(input_shape) first")
        if len(input_nodes(model.module.graph)) != 1:
            raise InvalidArgumentError("MRT takes a model with one input", where="MRT(model)",
                                       why=f"saw {model.input_names()}",
                                       remedy="call model.prepare with a shape for each input, which joins them")
        self.model = model
        self.current_model = model
        super().__init__(QuantizationSettings(input_precision=input_prec, recipe=recipe_named(accuracy)))
        self.features: dict[str, Feature] = {}
        self.operand_features: dict[tuple[str, int], Feature] = {}
        self.buffers: dict[str, Buffer] = {}
        self._whole = model  # before channel-wise nodes are sliced
        self._outdated: set[str] = set()  # nodes whose features the next calibration replaces
        self._sample: torch.Tensor | None = None
        self._calibrator: tuple[Calibrator, Any] | None = None
        self._known = Calibrated({})  # before what this calibrator met
        self._earlier: dict[str, float] = {}  # old_ths
        self._data: Any = None
        self._requantization: RequantizationRule = choose_rescaling

    def set_data(self, data: Any) -> None:
        """Calibration data: one array (N, ...), an iterable of arrays, or a DataLoader of arrays or (array, label).

        For a model of several inputs an array is what ``Model.join_inputs`` makes, or a mapping of arrays by input.
        """
        self._data = data

    def calibrate(self, ctx: str | torch.device = "cpu", lambd: float | None = None,
                  old_ths: Mapping[str, float] | None = None, progress: bool | None = None,
                  observer: ObserverFactory | None = None,
                  cache: CalibrationCache | str | os.PathLike[str] | None = None, distributed: bool | None = None
                  ) -> dict[str, float]:
        """Observe the data; what all calls and batches meet accumulates, in any order. Returns ``th_dict``.

        Every activation gets a feature; what 8-bit operands keep follows from histograms by least squared error, and 64
        examples are kept as a sample, on which quantize corrects biases.

        Args:
            ctx: torch device to run on.
            lambd: a batch's threshold is abs(mean) + lambd * std where that is below 0.95 * absmax. Such thresholds are
                magnitudes, so operands have no zero points then; None keeps the extremes of every channel.
            old_ths: thresholds of an earlier session to accumulate with, by node name; other names are ignored.
            progress: show a bar; None shows one on a terminal only.
            observer: makes the observer of each activation, such as a subclass of ``calibration.Observer``: called
                with its node, or without arguments.
            cache: folder that keeps what was observed, so that a calibration that is interrupted goes on there.
            distributed: whether the processes of torch.distributed each take a share of the batches, and all get the
                features of all of them; None where there are several.

        Raises:
            CalibrationError: no data, data of a wrong shape, or a value that is not finite; nothing is kept then.
            InvalidArgumentError: an unusable ``ctx``, ``lambd``, observer or threshold; nothing is kept then.
        """
        if self._data is None:
            raise CalibrationError("there is no calibration data", where="MRT.calibrate",
                                   why="MRT.set_data was not called", remedy="call MRT.set_data first")
        names = {node.name for node in self.model.module.graph.nodes}
        given = {name: AFeature(value).get_threshold() for name, value in (old_ths or {}).items() if name in names}
        earlier = {name: max(given.get(name, 0.0), self._earlier.get(name, 0.0)) for name in {**self._earlier, **given}}
        chosen = lambd, observer, self.settings.configuration
        configured = ConfiguredObservers(self.model.module, self.settings.configuration, lambd, observer)
        calibrator = Calibrator(self.model.module, observer=configured.make)
        data = self.model.joined.join_data(self._data) if self.model.joined else self._data
        run_calibration(calibrator, data, available_device(ctx), progress, cache, distributed)
        known = self._known
        if self._calibrator and self._calibrator[1] == chosen:
            merge_state(calibrator, state_of(self._calibrator[0]))
        else:  # observers of another kind: their features are joined with what is known by now
            known = Calibrated(self.features, self.operand_features, self._sample).without(self._outdated)
        found = joined(known, configured.features(calibrator).calibrated(),
                       facts_of(input_nodes(self.model.module.graph)[0]).batch_axis)
        self._calibrator, self._known, self._earlier, self._outdated = (calibrator, chosen), known, earlier, set()
        self.features, self.operand_features = dict(found.features), dict(found.operand_features)
        self._sample = found.sample
        self.settings = replace(self.settings, chosen_ranges=frozenset())
        for name, threshold in earlier.items():
            if threshold > self.th_dict.get(name, 0.0):
                self._cut_or_spread(name, threshold)
        return self.th_dict

    @property
    def th_dict(self) -> dict[str, float]:
        """The threshold of every activation, by fx node name: the largest magnitude its feature stands for."""
        return {name: feature.get_threshold() for name, feature in self.features.items()}

    def set_threshold(self, name: str, threshold: float) -> None:
        """Replace the threshold of one node, named as in the model or as in the graph.

        What calibration met of it is cut off beyond the threshold, or spread to a larger one; there 8-bit operands
        saturate, without the margin that calibrated ranges have. A later ``calibrate`` gives it what it met again.
        """
        key = self._key(name)
        self._cut_or_spread(key, threshold)
        self.settings = replace(self.settings, chosen_ranges=self.settings.chosen_ranges | {key})

    def _cut_or_spread(self, key: str, threshold: float) -> None:
        wanted = AFeature(threshold)
        self.features[key] = with_threshold(self.features.get(key, wanted), wanted.get_threshold())
        for entry in [entry for entry in self.operand_features if entry[0] == key]:
            self.operand_features[entry] = with_threshold(self.operand_features[entry], wanted.get_threshold())

    def set_th_dict(self, th_dict: Mapping[str, float]) -> None:
        """Replace all thresholds; nodes that are not named have none any more."""
        thresholds = {self._key(name): AFeature(value).get_threshold() for name, value in th_dict.items()}
        self.features = {name: feature for name, feature in self.features.items() if name in thresholds}
        self.operand_features = {key: feature for key, feature in self.operand_features.items()
                                 if key[0] in thresholds}
        for name, threshold in thresholds.items():
            self.set_threshold(name, threshold)

    def set_cfg_dict(self, cfg_dict: Mapping[Any, Mapping[str, Any]]) -> None:
        """Granularity, quantizer and optimizor of single nodes; replaces what was configured before. (MRT GEN.)

        Nodes that nothing is said of follow the recipe. The features of a node whose configuration changed serve until
        the next ``calibrate``, which replaces them. Channel-wise nodes are sliced: ``model`` is then a new graph, and
        all that calibration found is dropped.

        Args:
            cfg_dict: by name, expression or operator, see ``mrt_torch.passes.configure.sym_config_infos``.

        Raises:
            InvalidArgumentError: see there, and ``sym_slice_channel``.
        """
        model, configuration = self._whole, given_configuration(self._whole.module, cfg_dict)
        if any(own.get("gn_info", {}).get("gn_type") == CHANNEL_WISE for own in configuration.values()):
            model, _ = sym_slice_channel(model, None, configuration)
        known = self.settings.configuration
        self.settings = replace(self.settings, configuration=configuration)
        self._outdated |= {name for name in known.keys() | configuration if known.get(name) != configuration.get(name)}
        if model is not self.model:
            self.model = self.current_model = model
            self.features, self.operand_features, self.buffers = {}, {}, {}
            self._calibrator, self._sample, self._earlier = None, None, {}

    def set_node_input_prec(self, name: str, prec: int) -> None:
        """Bits of the data operand of one convolution or dense layer, 2 to 15; more than 8 cost it once more."""
        node = find_node(self.model.module, name)
        if node.target not in (CONVOLUTION, LINEAR):
            raise InvalidArgumentError(f"'{name}' is no convolution or dense layer", where="MRT.set_node_input_prec",
                                       remedy="print MRT.sensitivity(), which lists them")
        self.settings = replace(self.settings, node_precisions={**self.settings.node_precisions, node.name: prec})

    def set_requantization(self, rule: RequantizationRule | None) -> None:
        """How tensors are brought to another scale: a rule in place of ``choose_rescaling``, None for that again.

        ``rule(ratio, width, target_bits, guard_bits)`` returns a ``Rescaling``; see ``RequantizationRule``. A rule is
        code, so ``save`` does not keep it: set it again after ``load``.
        """
        self._requantization = choose_rescaling if rule is None else rule

    def set_restore(self, name: str) -> None:
        """Keep one node in float: a debugging aid; the result cannot be exported."""
        node = find_node(self.model.module, name)
        self.settings = replace(self.settings, restore=self.settings.restore | {source_name(node)})

    def quantize(self) -> Model:
        """The quantized model; this MRT keeps it as ``current_model``.

        Raises:
            CalibrationError: calibrate was not called.
            PrecisionError: a value cannot be proven to fit 32 bits.
        """
        values: dict[str, Held] = {}
        module, scales = quantize_graph(self.model.module, self._calibrated(), self.settings, self._requantization,
                                        values)
        self.buffers = buffers_of(self.model.module, values, scales)
        record = replace(QuantizationRecord.of_graph(module, self.model.output_names()), output_scales=tuple(scales))
        stage = Stage.RESTORED if self.settings.restore else Stage.INTEGER
        self.current_model = Model(module, stage, record=record, prepared=True, joined=self.model.joined)
        return self.current_model

    def sensitivity(self) -> SensitivityTable:
        """What the quantization of each convolution and dense layer costs at the outputs, worst first.

        Measured on the sample of the calibration data, each node by itself (isolated) and in the quantized network
        (cumulative). ``print`` it.

        Raises:
            CalibrationError: calibrate was not called.
        """
        return sensitivity_table(self.model.module, self._calibrated(), self.settings, self._requantization)

    def _calibrated(self) -> Calibrated:
        if not self.features:
            raise CalibrationError("the model was not calibrated", where="MRT.quantize", why="no node has a threshold",
                                   remedy="call set_data and calibrate before quantize")
        return Calibrated(self.features, self.operand_features, self._sample)

    def get_output_scales(self) -> list[float]:
        """Scale of each output: its float value is the integer divided by it."""
        return list(self._record().output_scales)

    def get_maps(self) -> dict[str, str]:
        """Name of each output now, to its name before quantization."""
        return dict(self._record().maps)

    def get_inputs_ext(self) -> dict[str, dict[str, float]]:
        """``{'data': {'scale': s, 'target_bit': b}}``."""
        return {name: dict(values) for name, values in self._record().inputs.items()}

    def save(self, model_name: str, datadir: str | os.PathLike[str] = "./data") -> None:
        """Write the state into ``<datadir>/<model_name>.mrt.*``: model, features, settings and the quantized model.

        ``.mrt.ext`` holds, a line each: output names, features, operand features, settings, output scales, buffers,
        digest of the sample; ``.mrt.sample.safetensors`` the sample of the data.
        """
        save_state(stem_of(model_name, datadir), self.state())

    def state(self) -> SavedState:
        """What ``save`` writes."""
        quantized = self.current_model if self.current_model.is_quantized else None
        return SavedState(self.model, quantized, self.settings, self.features, self.operand_features, self._sample,
                          self.buffers)

    @classmethod
    def load(cls, model_name: str, datadir: str | os.PathLike[str] = "./data") -> MRT:
        """Read what ``save`` wrote.

        Raises:
            InvalidFileError: a file is missing or corrupt.
        """
        return cls.of_state(load_state(stem_of(model_name, datadir)), stem_of(model_name, datadir))

    @classmethod
    def of_state(cls, state: SavedState, source: str = "the state") -> MRT:
        """The MRT that ``state`` was taken from; errors name ``source``, such as the beginning of its files' names.

        Raises:
            InvalidFileError: features are of other nodes than the model's.
        """
        try:
            mrt = cls(state.model)
            for name in {*state.features, *(name for name, _ in state.operand_features)}:
                mrt._key(name)
        except InvalidArgumentError as error:
            raise not_of_one_save(source, error) from error
        mrt.settings, mrt.buffers, mrt._sample = state.settings, dict(state.buffers), state.sample
        mrt.features, mrt.operand_features = dict(state.features), dict(state.operand_features)
        mrt.current_model = state.quantized or mrt.model
        return mrt

    def _record(self) -> QuantizationRecord:
        if self.current_model.record is None:
            raise InvalidArgumentError("the model is not quantized yet", remedy="call MRT.quantize first")
        return self.current_model.record

    def _key(self, name: str) -> str:
        """The fx name of the node, or parameter, that a user names."""
        for node in self.model.module.graph.nodes:
            if node.op == "get_attr" and name in (node.name, source_name(node)):
                return node.name
        return find_node(self.model.module, name).name
