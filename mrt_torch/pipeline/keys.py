"""Every section and key of a configuration, one row each: what is read, refused and documented follows this table.

The names are those of MRT's configuration files; those that MRT has not are marked "new".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline.run_configuration import StartPoint
from mrt_torch.pipeline.value_types import ARRAY, BOOL, DEVICE, FLOAT, INT, JSON, PAIR, PATH, STR, TUPLE, described
from mrt_torch.pipeline.values import INVALID, refusal
from mrt_torch.quantization.recipe import RECIPES

#: Default of a key that must be given.
REQUIRED = object()
MODEL_DIR = "~/mrt_model"


@dataclass(frozen=True)
class Key:
    """One option of one section.

    Attributes:
        dtype: of ``value_types``.
        default: the value where it is absent or empty; ``REQUIRED``: there is none.
        meaning: one line for readers.
        derived: what the default is, where other values decide.
        minimum, maximum: least and largest number, also of the numbers of a list or map.
        above: what a number exceeds.
        choices: the texts that are allowed, where not all are.
    """

    section: str
    name: str
    dtype: str
    default: Any
    meaning: str
    derived: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: Sequence[str] = ()

    def check(self, value: Any, where: str) -> Any:
        """The value, which has the type of the key, if it is within bounds.

        Raises:
            InvalidArgumentError: it is not.
        """
        numbers = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
        if self._bounds and not all(self._within_bounds(number) for number in numbers):
            raise refusal(INVALID, where, value, f"write {self._bounds}")
        if self.choices and value not in self.choices:
            raise refusal(f"Please choose a value from `{', '.join(self.choices)}`", where, value, "write one of them")
        return value

    def _within_bounds(self, number: float) -> bool:
        return ((self.minimum is None or number >= self.minimum) and (self.maximum is None or number <= self.maximum)
                and (self.above is None or number > self.above))

    @property
    def _bounds(self) -> str:
        if self.above is not None:
            return f"a number above {self.above}"
        if self.minimum is None:
            return ""
        return f"{self.minimum} or more" if self.maximum is None else f"{self.minimum} to {self.maximum}"

    @property
    def shown_default(self) -> str:
        """The default for readers."""
        if self.derived or self.default is REQUIRED:
            return self.derived or "required"
        if isinstance(self.default, tuple):
            return ", ".join(map(str, self.default)) or "none"
        return "none" if self.default is None or self.default == {} else str(self.default)


def _device_keys(section: str, of: str) -> list[Key]:
    return [Key(section, "Device_type", DEVICE, None, "cpu or gpu", derived=of),
            Key(section, "Device_ids", ARRAY(INT), None, "numbers of the gpus", derived=of, minimum=0)]


def _dump(section: str, meaning: str) -> Key:
    return Key(section, "Dump", BOOL, False, meaning)


KEYS: tuple[Key, ...] = (
    Key("DEFAULT", "Model_dir", PATH, MODEL_DIR, "existing folder of the model and of all files of the run"),
    Key("DEFAULT", "Model_name", STR, REQUIRED, "what the names of those files begin with"),
    Key("DEFAULT", "Symbol_file", PATH, None, "new: graph of the float model, if elsewhere",
        derived="<Model_dir>/<Model_name>.json"),
    Key("DEFAULT", "Params_file", PATH, None, "new: parameters of the float model, with Symbol_file",
        derived="<Model_dir>/<Model_name>.params"),
    Key("DEFAULT", "Input_shape", TUPLE, REQUIRED, "shape of the input, -1 for the batch"),
    Key("DEFAULT", "Device_type", DEVICE, "cpu", "cpu or gpu, for sections that do not say"),
    Key("DEFAULT", "Device_ids", ARRAY(INT), (), "numbers of the gpus; required for gpu", minimum=0),
    Key("DEFAULT", "Verbosity", INT, 0, "least level that is logged: 10 debug, 20 info, 30 warning, 40 error",
        minimum=0),
    Key("DEFAULT", "Log_file", PATH, None, "new: file of the log", derived="<Model_dir>/<Model_name>.log"),
    Key("DEFAULT", "Start", STR, StartPoint.DEFAULT.name, "last stage that is read from its files, by name or number",
        choices=[name for stage in StartPoint for name in (stage.name, str(stage.value))]),
    _dump("PREPARE", "write .prepare.json and .params"),
    Key("SPLIT_MODEL", "Keys", ARRAY(STR), (), "nodes to split at; none: no split"),
    _dump("SPLIT_MODEL", "write .base and .top, each .json and .params"),
    Key("CALIBRATION", "Dataset", STR, REQUIRED, "name of a registered data set"),
    Key("CALIBRATION", "Dataset_dir", PATH, None, "folder of data sets, for all sections",
        derived="~/.mxnet/datasets"),
    Key("CALIBRATION", "Batch", INT, 16, "examples in a batch", minimum=1),
    Key("CALIBRATION", "Calibrate_num", INT, 1, "batches that calibrate, together", minimum=1),
    Key("CALIBRATION", "Lambda", FLOAT, None, "threshold is abs(mean) + Lambda * std instead of the extremes",
        minimum=0),
    Key("CALIBRATION", "Cfg_groups", PAIR(STR, STR, JSON), {},
        "[nodes]: gn_info, quant_type or opt_info: value; granularity, quantizer and optimizor of nodes"),
    *_device_keys("CALIBRATION", "that of DEFAULT"),
    _dump("CALIBRATION", "write .mrt.calibrate.json, .params and .ext"),
    Key("QUANTIZATION", "Restore_name", ARRAY(STR), (),
        "nodes to keep in float; _OP_<operator>: all of it; with _ALL_EXCEPT_: all but those"),
    Key("QUANTIZATION", "Input_precision", INT, None, "bits of the input", derived="8", minimum=2, maximum=31),
    Key("QUANTIZATION", "Output_precision", INT, None, "bits of the outputs", derived="as they come", minimum=2,
        maximum=31),
    Key("QUANTIZATION", "Weight_precision", INT, None, "new: bits of weights", derived="8", minimum=2, maximum=8),
    Key("QUANTIZATION", "Accuracy", STR, None, "new: recipe against the loss of accuracy", derived="default",
        choices=tuple(RECIPES)),
    Key("QUANTIZATION", "Softmax_lambd", FLOAT, None, "logits so far below the largest count as zero", derived="10",
        above=0),
    Key("QUANTIZATION", "Shift_bits", INT, None, "bits above its target that a tensor keeps until it is multiplied",
        derived="8", minimum=1, maximum=16),
    Key("QUANTIZATION", "Thresholds", PAIR(STR, FLOAT), {}, "node: threshold; in place of what calibration found",
        minimum=0),
    *_device_keys("QUANTIZATION", "that of CALIBRATION"),
    _dump("QUANTIZATION", "write .mrt.quantize.json, .params and .ext, and .all.quantize.ext"),
    Key("MERGE_MODEL", "Attribute_deps", PAIR(STR, STR, STR), None,
        "operator: attribute: base output; the attribute is scaled as that output", derived="found out"),
    Key("MERGE_MODEL", "Oscale_maps", PAIR(STR, STR), None, "output: base output, or None for scale 1",
        derived="found out"),
    _dump("MERGE_MODEL", "write .all.quantize.json, .params and .ext"),
    Key("EVALUATION", "Iter_num", INT, 0, "batches to evaluate; 0: none", minimum=0),
    Key("EVALUATION", "Batch", INT, None, "examples in a batch, divisible by the number of gpus",
        derived="that of CALIBRATION", minimum=1),
    *_device_keys("EVALUATION", "that of QUANTIZATION"),
    Key("COMPILATION", "Dump_dir", PATH, None, "existing folder, in which <Model_name>_cvm is made",
        derived="Model_dir"),
    Key("COMPILATION", "Batch", INT, None, "examples in a batch of the deployed model", derived="the last batch",
        minimum=1),
    Key("COMPILATION", "Device_type", DEVICE, "cpu", "cpu or gpu, for which to compile"),
    Key("COMPILATION", "Device_ids", ARRAY(INT), (0,), "numbers of its devices", minimum=0),
)
SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(key.section for key in KEYS))


def key_called(section: str, option: str) -> Key:
    """The row of an option, whose name may be written in any case.

    Raises:
        InvalidArgumentError: there is none.
    """
    for key in KEYS:
        if key.section == section and key.name.lower() == option.lower():
            return key
    raise InvalidArgumentError(f"there is no option `{option}`", where=f"section `{section}`",
                               remedy="see mrt_torch.pipeline.keys.KEYS for all there are")


def documentation_table() -> str:
    """All keys as a table in Markdown."""
    rows = [("section", "key", "type", "default", "meaning"), ("---",) * 5]
    rows += [(key.section, key.name, described(key.dtype), key.shown_default, key.meaning) for key in KEYS]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows).replace("<", "&lt;")
