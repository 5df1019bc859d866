"""Devices of sections. Oracles: the order in which MRT's example configuration says that sections follow each other;
what torch has here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline.devices import check_devices, read_devices
from mrt_torch.pipeline.option_reader import OptionReader
from mrt_torch.pipeline.run_configuration import (
    CalibrationSection,
    EvaluationSection,
    RunConfiguration,
    StartPoint,
)

ORDER = ("DEFAULT", "CALIBRATION", "QUANTIZATION", "EVALUATION")


def devices(**sections: tuple) -> list[tuple[str, ...]]:
    """Of each section in order; a section is (type, ids), either None where it is absent."""
    options = OptionReader({name: {option: value for option, value in zip(("Device_type", "Device_ids"), given)
                                   if value is not None} for name, given in sections.items()})
    found, inherited = [], ("cpu",)
    for section in ORDER:
        inherited = read_devices(options, section, inherited)
        found.append(inherited)
    return found


CPU, ONE, TWO = ("cpu",), ("cuda:1",), ("cuda:1", "cuda:2")


@pytest.mark.parametrize("given, wanted", [
    ({}, [CPU] * 4), ({"DEFAULT": ("", "")}, [CPU] * 4), ({"DEFAULT": ("gpu", "1")}, [ONE] * 4),
    ({"DEFAULT": ("gpu", "1,2")}, [TWO] * 4),  # the first of them calibrates
    ({"DEFAULT": ("gpu", "1"), "CALIBRATION": ("", ""), "QUANTIZATION": ("", None)}, [ONE] * 4),
    ({"DEFAULT": ("gpu", "1"), "CALIBRATION": ("cpu", "0")}, [ONE, CPU, CPU, CPU]),
    ({"CALIBRATION": ("gpu", "1"), "EVALUATION": ("gpu", "1,2")}, [CPU, ONE, ONE, TWO]),
    ({"CALIBRATION": ("gpu", "1"), "EVALUATION": (None, "1,2")}, [CPU, ONE, ONE, TWO]),
    ({"DEFAULT": ("", "1,2"), "EVALUATION": ("gpu", "")}, [CPU, CPU, CPU, TWO]),
    ({"DEFAULT": ("gpu", "1"), "EVALUATION": ("gpu", None)}, [ONE] * 4),
    ({"DEFAULT": ("cpu", "5"), "QUANTIZATION": (None, "7")}, [CPU] * 4)])
def test_sections_follow_each_other(given, wanted):
    assert devices(**given) == wanted


def configuration(**sections) -> RunConfiguration:
    return RunConfiguration(Path("x"), "net", (-1, 3), **{"calibration": CalibrationSection("mnist"), **sections})


def test_the_cpu_is_there():
    check_devices(configuration(evaluation=EvaluationSection(1)))


def test_missing_gpus_are_told_when_the_run_starts():
    """A machine with a gpu 120 may skip this."""
    if torch.cuda.device_count() > 120:
        pytest.skip("there is a gpu 120")
    calibration = CalibrationSection("mnist", devices=("cuda:120",))
    with pytest.raises(InvalidArgumentError, match="there is no device 'cuda:120' here") as caught:
        check_devices(configuration(calibration=calibration))
    assert caught.value.where == "option `Device_ids` in section `CALIBRATION`"
    assert "Device_type=cpu" in caught.value.remedy
    evaluation = EvaluationSection(1, devices=("cuda:121", "cuda:122"))
    with pytest.raises(InvalidArgumentError, match="(?s)cuda:121.*cuda:122.*EVALUATION"):
        check_devices(configuration(evaluation=evaluation))
    idle = configuration(calibration=calibration, start=StartPoint.CALIBRATION,
                         evaluation=replace(evaluation, iter_num=0))
    check_devices(idle)  # no stage that runs uses them
