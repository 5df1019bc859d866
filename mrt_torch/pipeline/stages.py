"""The stages of the pipeline, in order. (MRT main2.)"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from mrt_torch.atomic_file import remove_leftovers
from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.evaluation import evaluate
from mrt_torch.extension_file import save_ext
from mrt_torch.model import Model
from mrt_torch.mrt import MRT
from mrt_torch.pipeline.blamed_option import blamed
from mrt_torch.pipeline.checkpoint import EXTENSION, GRAPH
from mrt_torch.pipeline.float_model import load_float_model
from mrt_torch.pipeline.input_shape import set_batch
from mrt_torch.pipeline.restored_nodes import restored_nodes
from mrt_torch.pipeline.run_configuration import QuantizationSection, StartPoint
from mrt_torch.pipeline.run_data import FirstBatches, dataset_of
from mrt_torch.pipeline.stage import Stage

logger = logging.getLogger(__name__)


class Prepare(Stage):
    """Rewrites the float model."""

    name, point = StartPoint.PREPARE.name, StartPoint.PREPARE

    @property
    def dumps(self) -> bool:
        return self.configuration.prepare.dump

    def make(self, progress: bool | None) -> None:
        """With keys, what has no integer form may stand above them: then the split comes first, and base is prepared.

        Raises:
            UnsupportedOperatorError: something has no integer form, and there are no keys.
        """
        self.results.model = load_float_model(self.configuration)
        try:
            with blamed("DEFAULT", "Input_shape"):
                self.results.model.prepare(self.configuration.input_shape)
        except UnsupportedOperatorError as error:
            if not self.configuration.split.keys:
                raise
            logger.info("only what stands below the keys will be prepared: %s", error)

    def write(self) -> None:
        model = self.results.model
        if not model.prepared:
            with contextlib.suppress(UnsupportedOperatorError):  # which is kept as its file has it
                model = model.with_input_shape(self.configuration.input_shape)
        self.results.files += self.checkpoint("prepare").write_model(model)

    def read(self) -> None:
        self.results.model = self.checkpoint("prepare").read_model()


class Split(Stage):
    """Cuts the model in two."""

    name, point = StartPoint.SPLIT_MODEL.name, StartPoint.SPLIT_MODEL

    @property
    def applies(self) -> bool:
        return bool(self.configuration.split.keys)

    @property
    def dumps(self) -> bool:
        return self.configuration.split.dump

    def make(self, progress: bool | None) -> None:
        model, shape = self.results.model, self.configuration.input_shape
        with blamed(self.name, "Keys"):
            base, top = model.split(self.configuration.split.keys, None if model.prepared else shape)
        if not base.prepared:
            base.prepare(shape)
        self.results.base, self.results.top = base, top

    def write(self) -> None:
        self.results.files += self.checkpoint("top").write_model(self.results.top)
        self.results.files += self.checkpoint("base").write_model(self.results.base)

    def read(self) -> None:
        self.results.base, self.results.top = (self.checkpoint(half).read_model() for half in ("base", "top"))


class Calibrate(Stage):
    """Observes the base on the first batches of the data set."""

    name, point = StartPoint.CALIBRATION.name, StartPoint.CALIBRATION

    @property
    def dumps(self) -> bool:
        return self.configuration.calibration.dump

    def make(self, progress: bool | None) -> None:
        section = self.configuration.calibration
        mrt = (self.results.base or self.results.model).get_mrt()
        if section.cfg_groups:
            with blamed(self.name, "Cfg_groups"):
                mrt.set_cfg_dict(section.cfg_groups)
        mrt.set_data(FirstBatches(dataset_of(self.configuration, section.batch), section.calibrate_num))
        mrt.calibrate(ctx=section.devices[0], lambd=section.lambd, progress=progress)
        self.results.mrt = mrt

    def write(self) -> None:
        self.results.files += self.checkpoint("mrt.calibrate").write_mrt(self.results.mrt)

    def read(self) -> None:
        self.results.mrt = self.checkpoint("mrt.calibrate").read_mrt()
        self.results.top = self.read_top()


class Quantize(Stage):
    """Turns the base into integers."""

    name, point = StartPoint.QUANTIZATION.name, StartPoint.QUANTIZATION

    @property
    def dumps(self) -> bool:
        return self.configuration.quantization.dump

    def make(self, progress: bool | None) -> None:
        section, mrt = self.configuration.quantization, self.results.mrt
        apply_settings(mrt, section)
        self.results.quantized = mrt.quantize()

    def write(self) -> None:
        """What ``all.quantize`` held belonged to another quantized base, so its graph goes."""
        record, whole = self.results.quantized.record, self.checkpoint("all.quantize")
        whole.remove()
        self.results.files += self.checkpoint("mrt.quantize").write_model(
            self.results.quantized, dict(record.maps), list(record.output_scales), dict(record.inputs))
        save_ext(whole.file(EXTENSION), *self.extension_of(self.results.quantized))
        self.results.files.append(whole.file(EXTENSION))

    def read(self) -> None:
        self.results.quantized = self.checkpoint("mrt.quantize").read_quantized()
        self.results.top = self.read_top()


class Merge(Stage):
    """Puts the float top, or its integers, on the quantized base."""

    name, point = StartPoint.MERGE_MODEL.name, StartPoint.MERGE_MODEL

    @property
    def applies(self) -> bool:
        return bool(self.configuration.split.keys)

    @property
    def dumps(self) -> bool:
        return self.configuration.merge.dump

    def make(self, progress: bool | None) -> None:
        """Without compilation, a top that has no integer form stays in float.

        Raises:
            UnsupportedOperatorError: it has none, and the run compiles; or operators of it are not known here.
        """
        section, quantized, top = self.configuration.merge, self.results.quantized, self.results.top
        _check_top(top, self.checkpoint("top").file(GRAPH))
        merger = Model.merger(quantized, top, quantized.record.maps)
        try:
            with blamed(self.name, "Attribute_deps", "Oscale_maps"):
                self.results.merged = merger.merge_integers(section.attribute_deps, section.oscale_maps)
        except UnsupportedOperatorError as error:
            if self.configuration.compilation is not None:
                raise UnsupportedOperatorError(
                    "the model above the keys cannot be compiled", where="section `MERGE_MODEL`", why=str(error),
                    remedy="leave the section COMPILATION out: the top then stays in float") from error
            logger.info("the model above the keys stays in float: %s", error)
            self.results.merged = merger.merge()

    def write(self) -> None:
        self.results.files += self.checkpoint("all.quantize").write_model(self.results.merged,
                                                                          *self.extension_of(self.results.merged))

    def read(self) -> None:
        self.results.merged = self.checkpoint("all.quantize").read_quantized()


def _check_top(top: Model, kept: Path) -> None:
    """Raise unless the operators above the keys are known, so that they can run here at all."""
    try:
        top.to_graph()
    except UnsupportedOperatorError as error:
        raise UnsupportedOperatorError(
            "the model above the keys cannot be merged", where="section `MERGE_MODEL`", why=str(error),
            remedy=f"run it in its own framework, on what the quantized base gives; SPLIT_MODEL leaves {kept} with "
                   "Dump=True") from error


class Evaluate(Stage):
    """Compares the float and the quantized model on the first ``Iter_num`` batches of the data set."""

    name = "EVALUATION"

    @property
    def applies(self) -> bool:
        return self.configuration.evaluation is not None and self.configuration.evaluation.iter_num > 0

    def make(self, progress: bool | None) -> None:
        section = self.configuration.evaluation
        original = load_float_model(self.configuration).with_input_shape(self.configuration.input_shape)
        self.results.evaluation = evaluate(
            {"float": original, "quantized": self.results.final}, dataset_of(self.configuration, section.batch),
            batches=section.iter_num, devices=section.devices, progress=progress)


class Compile(Stage):
    """Writes ``<Dump_dir>/<Model_name>_cvm``: ``symbol``, ``params``, ``ext`` and the first batch as ``data.npy``."""

    name = "COMPILATION"

    @property
    def applies(self) -> bool:
        return self.configuration.compilation is not None

    def make(self, progress: bool | None) -> None:
        section = self.configuration.compilation
        folder = section.dump_dir / f"{self.configuration.model_name}_cvm"
        remove_leftovers(folder)
        inputs, _ = dataset_of(self.configuration, section.batch).batch(0)
        with blamed(self.name, "Batch"):
            self.results.files.append(self.results.final.to_cvm(
                folder.name, section.dump_dir, set_batch(self.configuration.input_shape, section.batch),
                section.device_type, section.device_ids, data=inputs))


def apply_settings(mrt: MRT, section: QuantizationSection) -> None:
    """Set what the section gives; the rest stays as the library has it.

    Raises:
        InvalidArgumentError: a value is out of range, or a name is no node.
    """
    chosen = ((mrt.set_accuracy, section.accuracy), (mrt.set_weight_precision, section.weight_precision),
              (mrt.set_input_prec, section.input_precision), (mrt.set_output_prec, section.output_precision),
              (mrt.set_softmax_lambd, section.softmax_lambd), (mrt.set_shift_bits, section.shift_bits))
    for setter, value in chosen:
        if value is not None:
            setter(value)
    with blamed("QUANTIZATION", "Thresholds"):
        for name, threshold in section.thresholds.items():
            mrt.set_threshold(name, threshold)
    with blamed("QUANTIZATION", "Restore_name"):
        for name in restored_nodes(mrt.model.module, section.restore_name):
            mrt.set_restore(name)


#: All of them, in order.
STAGES = (Prepare, Split, Calibrate, Quantize, Merge, Evaluate, Compile)
