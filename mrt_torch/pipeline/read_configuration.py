"""A configuration file as a checked ``RunConfiguration``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mrt_torch.configuration import deserialize
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline.devices import IDS, TYPE, read_devices
from mrt_torch.pipeline.input_shape import batch_axis
from mrt_torch.pipeline.option_reader import DEFAULT, OptionReader
from mrt_torch.pipeline.read_ini import read_ini
from mrt_torch.pipeline.read_toml import read_toml
from mrt_torch.pipeline.run_configuration import (
    CalibrationSection,
    CompilationSection,
    EvaluationSection,
    MergeSection,
    PrepareSection,
    QuantizationSection,
    RunConfiguration,
    SplitSection,
    StartPoint,
)
from mrt_torch.pipeline.values import INVALID, refusal

NO_MODEL_DIR = "Please create the folder `data` first"


def read_configuration(path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> RunConfiguration:
    """What a configuration file says, checked; files and folders that it names are looked for, devices are not.

    Relative paths start at the current folder, ``~`` is the home of the user.

    Args:
        path: a file in the INI form of MRT, or in TOML (``.toml``), with the options of ``pipeline.keys.KEYS``.
        overrides: values that replace those of the file, by ``SECTION.Key``: ``{"CALIBRATION.Batch": "32"}``. They pass
            the same checks; an empty one takes the default.

    Raises:
        InvalidFileError: the file cannot be read, or is no configuration.
        InvalidArgumentError: unknown or missing options, values of a wrong type or out of bounds, and values that do
            not fit each other; all of them at once.
    """
    read = read_toml if Path(path).suffix.lower() == ".toml" else read_ini
    return configuration_of(OptionReader(read(path), os.fspath(path), sections_of(overrides or {})))


def parse_overrides(arguments: Iterable[str]) -> dict[str, str]:
    """The overrides that ``SECTION.Key=VALUE`` texts of a command line stand for; of several for a key the last counts.

    Raises:
        InvalidArgumentError: a text is none.
    """
    found = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or "." not in name:
            raise InvalidArgumentError("an override is SECTION.Key=VALUE", why=f"saw {argument!r:.200}",
                                       remedy="write it as CALIBRATION.Batch=32")
        found[name.strip()] = value
    return found


def sections_of(overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Overrides by section and option.

    Raises:
        InvalidArgumentError: a name is not ``SECTION.Key``.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, value in overrides.items():
        section, point, option = name.partition(".")
        if not (section and point and option):
            raise InvalidArgumentError("an override names SECTION.Key", why=f"saw {name!r:.200}",
                                       remedy="write it as CALIBRATION.Batch")
        sections.setdefault(section, {})[option] = value
    return sections


def configuration_of(options: OptionReader) -> RunConfiguration:
    """All options, checked.

    Raises:
        InvalidArgumentError: see ``read_configuration``.
    """
    options.refuse_unknown()
    own = _devices(options, DEFAULT, ("cpu",))
    calibration = _calibration(options, own)
    quantization = _quantization(options, calibration.devices)
    evaluation = _evaluation(options, calibration.batch, quantization.devices)
    model_dir = options.get(DEFAULT, "Model_dir")
    compilation = _compilation(options, model_dir, (evaluation or calibration).batch)
    split = SplitSection(options.get("SPLIT_MODEL", "Keys"), options.get("SPLIT_MODEL", "Dump"))
    configuration = RunConfiguration(
        model_dir=model_dir, model_name=_model_name(options), input_shape=_input_shape(options),
        symbol_file=_file(options, "Symbol_file"), params_file=_file(options, "Params_file"),
        log_file=options.get(DEFAULT, "Log_file"), verbosity=options.get(DEFAULT, "Verbosity"), devices=own,
        start=_start(options, split), prepare=PrepareSection(options.get("PREPARE", "Dump")), split=split,
        calibration=calibration, quantization=quantization,
        merge=MergeSection(options.get("MERGE_MODEL", "Attribute_deps"), options.get("MERGE_MODEL", "Oscale_maps"),
                           options.get("MERGE_MODEL", "Dump")),
        evaluation=evaluation, compilation=compilation)
    _check_model_files(options, configuration)
    options.raise_errors()
    return configuration


def _calibration(options: OptionReader, inherited: tuple[str, ...]) -> CalibrationSection:
    section = "CALIBRATION"
    return CalibrationSection(
        dataset=options.get(section, "Dataset"), batch=options.get(section, "Batch"),
        dataset_dir=options.get(section, "Dataset_dir"), calibrate_num=options.get(section, "Calibrate_num"),
        lambd=options.get(section, "Lambda"), devices=_devices(options, section, inherited),
        cfg_groups=_cfg_groups(options), dump=options.get(section, "Dump"))


def _quantization(options: OptionReader, inherited: tuple[str, ...]) -> QuantizationSection:
    section = "QUANTIZATION"
    return QuantizationSection(
        restore_name=options.get(section, "Restore_name"), input_precision=options.get(section, "Input_precision"),
        output_precision=options.get(section, "Output_precision"), devices=_devices(options, section, inherited),
        softmax_lambd=options.get(section, "Softmax_lambd"), shift_bits=options.get(section, "Shift_bits"),
        thresholds=options.get(section, "Thresholds"), accuracy=options.get(section, "Accuracy"),
        weight_precision=options.get(section, "Weight_precision"), dump=options.get(section, "Dump"))


def _evaluation(options: OptionReader, batch: int, inherited: tuple[str, ...]) -> EvaluationSection | None:
    section = "EVALUATION"
    if not options.has(section):
        return None
    devices = _devices(options, section, inherited)
    own = options.get(section, "Batch") or batch
    if own % len(devices) and options.is_right(section, "Batch") and options.is_right("CALIBRATION", "Batch"):
        options.refuse(section, IDS, refusal(
            "Batch must be divisible by the number of gpus", options.where(section, IDS), own,
            f"choose a batch divisible by {len(devices)}, or other gpus", f"there are {len(devices)} gpus"))
    return EvaluationSection(options.get(section, "Iter_num"), own, devices)


def _compilation(options: OptionReader, model_dir: Path, batch: int) -> CompilationSection | None:
    section = "COMPILATION"
    if not options.has(section):
        return None
    dump_dir = options.get(section, "Dump_dir")
    if dump_dir is not None and not os.path.isdir(dump_dir):
        options.refuse(section, "Dump_dir", refusal(
            f"Not a valid dir `{dump_dir}`", options.where(section, "Dump_dir"), str(dump_dir), "create it"))
    return CompilationSection(dump_dir or model_dir, options.get(section, "Batch") or batch,
                              options.get(section, TYPE) or "cpu", options.get(section, IDS))


def _devices(options: OptionReader, section: str, inherited: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return read_devices(options, section, inherited)
    except InvalidArgumentError as error:
        options.refuse(section, IDS, error)
        return ("cpu",)


def _cfg_groups(options: OptionReader) -> dict[str, dict[str, Any]]:
    groups = options.get("CALIBRATION", "Cfg_groups")
    try:
        return deserialize(groups)
    except InvalidArgumentError as error:
        where = options.where("CALIBRATION", "Cfg_groups")
        options.refuse("CALIBRATION", "Cfg_groups", InvalidArgumentError(
            error.what, where=f"{where}, {error.where}" if error.where else where, why=error.why, remedy=error.remedy))
        return {}


def _model_name(options: OptionReader) -> str | None:
    name = options.get(DEFAULT, "Model_name")
    if name is not None and (name in (".", "..") or os.path.basename(name) != name or "\n" in name):
        options.refuse(DEFAULT, "Model_name", refusal(
            INVALID, options.where(DEFAULT, "Model_name"), name, "write a name without folders; those go to Model_dir"))
    return name


def _input_shape(options: OptionReader) -> tuple[int, ...]:
    shape = options.get(DEFAULT, "Input_shape")
    if shape is None:
        return ()
    where = options.where(DEFAULT, "Input_shape")
    try:
        batch_axis(shape)
        if not all(extent > 0 or extent == -1 for extent in shape):
            raise refusal(INVALID, where, shape, "write positive extents, and -1 for the batch")
    except InvalidArgumentError as error:
        options.refuse(DEFAULT, "Input_shape", InvalidArgumentError(error.what, where=where, why=error.why,
                                                                    remedy=error.remedy))
    return shape


def _start(options: OptionReader, split: SplitSection) -> StartPoint:
    text = options.get(DEFAULT, "Start")
    start = StartPoint(int(text)) if text.isdigit() else StartPoint[text]
    if not start.exists(split.keys):
        options.refuse(DEFAULT, "Start", refusal(
            "Invalid start point", options.where(DEFAULT, "Start"), text,
            "give Keys in section `SPLIT_MODEL`, or start elsewhere", "the model is not split"))
    return start


def _file(options: OptionReader, option: str) -> Path | None:
    path = options.get(DEFAULT, option)
    if path is not None and not os.path.isfile(path):
        options.refuse(DEFAULT, option, refusal(f"File `{path}` not found", options.where(DEFAULT, option), str(path),
                                                "correct the path"))
    return path


def _check_model_files(options: OptionReader, configuration: RunConfiguration) -> None:
    """Model_dir is there, unless the model comes from elsewhere; parameters come with their graph."""
    where, folder = options.where(DEFAULT, "Model_dir"), configuration.model_dir
    if os.path.exists(folder) and not os.path.isdir(folder):
        options.refuse(DEFAULT, "Model_dir", refusal(f"Not a valid dir `{folder}`", where, str(folder),
                                                     "name a folder"))
    elif configuration.symbol_file is None and not os.path.isdir(folder):
        options.refuse(DEFAULT, "Model_dir", refusal(
            NO_MODEL_DIR, where, str(folder), "create it, or name the files of the model by Symbol_file",
            "there is no such folder"))
    given = configuration.params_file is not None and options.is_right(DEFAULT, "Params_file")
    if given and configuration.symbol_file is None:
        options.refuse(DEFAULT, "Params_file", refusal(
            INVALID, options.where(DEFAULT, "Params_file"), str(configuration.params_file),
            "give Symbol_file too", "there is no Symbol_file"))
