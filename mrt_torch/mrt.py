"""MRT: calibration and quantization of a prepared model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mrt_torch.calibration.calibrate import Calibrator
from mrt_torch.calibration.features import AFeature
from mrt_torch.calibration.observers import Observer
from mrt_torch.device import available_device
from mrt_torch.errors import CalibrationError, InvalidArgumentError, InvalidFileError
from mrt_torch.extension_file import load_ext, save_ext
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.stage import Stage
from mrt_torch.model import Model
from mrt_torch.passes.quantize import quantize as quantize_graph
from mrt_torch.passes.split import find_node
from mrt_torch.quantization.requantize import RequantizationRule, choose_rescaling
from mrt_torch.quantization.settings import QuantizationSettings
from mrt_torch.record import QuantizationRecord


class MRT:
    """Turns a prepared Model into a quantized one: set_data, calibrate, quantize.

    Args:
        model: a prepared Model with one input.
        input_prec: bits of the input.
    """

    def __init__(self, model: Model, input_prec: int = 8):
        if not model.prepared or model.is_quantized:
            raise InvalidArgumentError("MRT takes a prepared float model", where="MRT(model)", why=f"saw {model!r}",
                                       remedy="call model.prepare(input_shape) first")
        if len(input_nodes(model.module.graph)) != 1:
            raise InvalidArgumentError("MRT takes a model with one input", where="MRT(model)",
                                       why=f"saw {model.input_names()}",
                                       remedy="call model.prepare with a shape for each input, which joins them")
        self.model = model
        self.current_model = model
        self.settings = QuantizationSettings(input_precision=input_prec)
        self.th_dict: dict[str, float] = {}
        self._data: Any = None
        self._requantization: RequantizationRule = choose_rescaling

    def set_data(self, data: Any) -> None:
        """Calibration data: one array (N, ...), an iterable of arrays, or a DataLoader of arrays or (array, label).

        For a model of several inputs an array is what ``Model.join_inputs`` makes, or a mapping of arrays by input.
        """
        self._data = data

    def calibrate(self, ctx: str | torch.device = "cpu", lambd: float | None = None,
                  old_ths: Mapping[str, float] | None = None, progress: bool | None = None,
                  observer: Callable[[], Observer] | None = None) -> dict[str, float]:
        """Observe the data; thresholds of all calls and batches accumulate by maximum. Returns ``th_dict``.

        Args:
            ctx: torch device to run on.
            lambd: a batch's threshold is abs(mean) + lambd * std where that is below 0.95 * absmax; None takes absmax.
            old_ths: thresholds of an earlier session to accumulate with, by node name; other names are ignored.
            progress: show a bar; None shows one on a terminal only.
            observer: makes the observer of each activation, such as a subclass of ``calibration.Observer``, in
                place of the largest magnitude.

        Raises:
            CalibrationError: no data, data of a wrong shape, or a value that is not finite; nothing is kept then.
            InvalidArgumentError: an unusable ``ctx``, ``lambd``, observer or threshold; nothing is kept then.
        """
        if self._data is None:
            raise CalibrationError("there is no calibration data", where="MRT.calibrate",
                                   why="MRT.set_data was not called", remedy="call MRT.set_data first")
        names = {node.name for node in self.model.module.graph.nodes}
        earlier = {name: AFeature(value).get_threshold() for name, value in (old_ths or {}).items() if name in names}
        calibrator = Calibrator(self.model.module, lambd, observer)
        data = self.model.joined.join_data(self._data) if self.model.joined else self._data
        calibrator.run(data, available_device(ctx), progress)
        for thresholds in (calibrator.thresholds(), earlier):
            for name, threshold in thresholds.items():
                self.th_dict[name] = max(threshold, self.th_dict.get(name, 0.0))
        return self.th_dict

    @property
    def features(self) -> dict[str, AFeature]:
        """The calibrated feature of every activation."""
        return {name: AFeature(threshold) for name, threshold in self.th_dict.items()}

    def set_threshold(self, name: str, threshold: float) -> None:
        """Replace the threshold of one node, named as in the model or as in the graph."""
        self.th_dict[self._key(name)] = AFeature(threshold).get_threshold()

    def set_th_dict(self, th_dict: Mapping[str, float]) -> None:
        """Replace all thresholds."""
        self.th_dict = {self._key(name): AFeature(value).get_threshold() for name, value in th_dict.items()}

    def set_input_prec(self, prec: int) -> None:
        """Bits of the input."""
        self.settings = replace(self.settings, input_precision=prec)

    def set_output_prec(self, prec: int) -> None:
        """Bits to which every output is requantized."""
        self.settings = replace(self.settings, output_precision=prec)

    def set_op_input_prec(self, operator: str, prec: int) -> None:
        """Bits to which the inputs of an operator, by its MXNet name, are requantized."""
        precisions = {**self.settings.operator_precisions, operator: prec}
        self.settings = replace(self.settings, operator_precisions=precisions)

    def set_softmax_lambd(self, value: float) -> None:
        """Logits more than this below the largest count as zero in a softmax."""
        self.settings = replace(self.settings, softmax_lambd=float(value))

    def set_shift_bits(self, value: int) -> None:
        """Bits above its target that a tensor keeps until it is multiplied."""
        self.settings = replace(self.settings, shift_bits=value)

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
        if not self.th_dict:
            raise CalibrationError("the model was not calibrated", where="MRT.quantize", why="no node has a threshold",
                                   remedy="call set_data and calibrate before quantize")
        module, scales = quantize_graph(self.model.module, self.th_dict, self.settings, self._requantization)
        record = replace(QuantizationRecord.of_graph(module, self.model.output_names()), output_scales=tuple(scales))
        stage = Stage.RESTORED if self.settings.restore else Stage.INTEGER
        self.current_model = Model(module, stage, record=record, prepared=True, joined=self.model.joined)
        return self.current_model

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
        """Write the state into ``<datadir>/<model_name>.mrt.*``: model, thresholds, settings and the quantized model.

        ``.mrt.ext`` holds, a line each: output names, thresholds, settings, output scales.
        """
        Path(datadir).mkdir(parents=True, exist_ok=True)
        stem = _stem(model_name, datadir)
        quantized = self.current_model if self.current_model.is_quantized else None
        self.model.save(stem + ".json", stem + ".safetensors")
        if quantized:
            quantized.save(stem + ".quantized.json", stem + ".quantized.safetensors")
        scales = list(quantized.record.output_scales) if quantized else None
        save_ext(stem + ".ext", self.model.output_names(), self.th_dict, self.settings.to_json(), scales)

    @classmethod
    def load(cls, model_name: str, datadir: str | os.PathLike[str] = "./data") -> MRT:
        """Read what ``save`` wrote.

        Raises:
            InvalidFileError: a file is missing or corrupt.
        """
        stem = _stem(model_name, datadir)
        lines = load_ext(stem + ".ext")
        if len(lines) != 4:
            raise InvalidFileError("the ext file is not one of MRT.save", where=stem + ".ext",
                                   why=f"it has {len(lines)} lines, expected 4",
                                   remedy="load a name that MRT.save wrote")
        _, thresholds, settings, scales = lines
        try:
            mrt = cls(Model.load(stem + ".json", stem + ".safetensors"))
            mrt.settings = QuantizationSettings.from_json(settings)
            mrt.set_th_dict(thresholds)
        except (InvalidArgumentError, AttributeError) as error:
            raise InvalidFileError("the files are not of one MRT.save", where=stem + ".ext", why=str(error),
                                   remedy="keep the files of one save together, or save again") from error
        if scales is not None:
            mrt.current_model = Model.load(stem + ".quantized.json", stem + ".quantized.safetensors")
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


def _stem(model_name: str, datadir: str | os.PathLike[str]) -> str:
    return str(Path(datadir) / f"{model_name}.mrt")
