"""What a configuration file of the pipeline says, parsed and checked. (MRT main2.)"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class StartPoint(enum.IntEnum):
    """The last stage whose results are read from files instead of being made."""

    DEFAULT = 0
    PREPARE = 1
    SPLIT_MODEL = 2
    CALIBRATION = 3
    QUANTIZATION = 4
    MERGE_MODEL = 5

    def exists(self, keys: Sequence[str]) -> bool:
        """Whether a run with these split keys has the stage: without keys it neither splits nor merges."""
        return bool(keys) or self not in (StartPoint.SPLIT_MODEL, StartPoint.MERGE_MODEL)


@dataclass(frozen=True)
class PrepareSection:
    """``[PREPARE]``."""

    dump: bool = False


@dataclass(frozen=True)
class SplitSection:
    """``[SPLIT_MODEL]``: no keys, no split."""

    keys: tuple[str, ...] = ()
    dump: bool = False


@dataclass(frozen=True)
class CalibrationSection:
    """``[CALIBRATION]``.

    Attributes:
        dataset_dir: root of the data sets, for every stage that reads one; None takes the default.
        calibrate_num: number of batches.
        devices: torch devices; the first one calibrates.
        cfg_groups: granularity, quantizer and optimizor of single nodes, as ``MRT.set_cfg_dict`` takes them.
    """

    dataset: str
    batch: int = 16
    dataset_dir: Path | None = None
    calibrate_num: int = 1
    lambd: float | None = None
    devices: tuple[str, ...] = ("cpu",)
    cfg_groups: Mapping[Any, Mapping[str, Any]] = field(default_factory=dict)
    dump: bool = False


@dataclass(frozen=True)
class QuantizationSection:
    """``[QUANTIZATION]``; None leaves a setting as the library has it."""

    restore_name: tuple[str, ...] = ()
    input_precision: int | None = None
    output_precision: int | None = None
    devices: tuple[str, ...] = ("cpu",)
    softmax_lambd: float | None = None
    shift_bits: int | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    accuracy: str | None = None
    weight_precision: int | None = None
    dump: bool = False


@dataclass(frozen=True)
class MergeSection:
    """``[MERGE_MODEL]``; None: not given, so that the merger finds out itself."""

    attribute_deps: Mapping[str, Mapping[str, str]] | None = None
    oscale_maps: Mapping[str, str] | None = None
    dump: bool = False


@dataclass(frozen=True)
class EvaluationSection:
    """``[EVALUATION]``: no batches, no evaluation."""

    iter_num: int = 0
    batch: int = 16
    devices: tuple[str, ...] = ("cpu",)


@dataclass(frozen=True)
class CompilationSection:
    """``[COMPILATION]``."""

    dump_dir: Path
    batch: int = 16
    device_type: str = "cpu"
    device_ids: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class RunConfiguration:
    """A whole run.

    Attributes:
        model_dir, model_name: files of the run are ``<model_dir>/<model_name>.*``.
        symbol_file, params_file: the float model, where it is not ``<model_dir>/<model_name>.json`` and ``.params``.
        input_shape: with -1 for the batch.
        log_file: None for ``<prefix>.log``.
        devices: torch devices of sections that name none.
        evaluation, compilation: None without the section.
    """

    model_dir: Path
    model_name: str
    input_shape: tuple[int, ...]
    calibration: CalibrationSection
    symbol_file: Path | None = None
    params_file: Path | None = None
    verbosity: int = 0
    devices: tuple[str, ...] = ("cpu",)
    start: StartPoint = StartPoint.DEFAULT
    prepare: PrepareSection = PrepareSection()
    split: SplitSection = SplitSection()
    quantization: QuantizationSection = QuantizationSection()
    merge: MergeSection = MergeSection()
    evaluation: EvaluationSection | None = None
    compilation: CompilationSection | None = None
    log_file: Path | None = None

    @property
    def prefix(self) -> Path:
        """What the names of the files of the run begin with."""
        return self.model_dir / self.model_name
