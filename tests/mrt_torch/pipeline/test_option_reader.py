"""Options by section. Oracle: configparser's visibility of [DEFAULT], written out by hand."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline.option_reader import OptionReader
from mrt_torch.pipeline.value_types import ARRAY, INT

OPTIONS = OptionReader({"DEFAULT": {"Batch": "4", "Empty": "5"}, "CALIBRATION": {"EMPTY": " "}}, "a.ini",
                       {"CALIBRATION": {"calibrate_num": "3"}})


@pytest.mark.parametrize("section, option, value", [
    ("DEFAULT", "Batch", 4), ("CALIBRATION", "batch", 4), ("ELSEWHERE", "BATCH", 4), ("CALIBRATION", "Empty", None),
    ("ELSEWHERE", "Empty", 5), ("CALIBRATION", "Calibrate_num", 3), ("DEFAULT", "Odd", None)])
def test_where_values_come_from(section, option, value):
    assert OPTIONS.read(section, option, INT, None) == value


@pytest.mark.parametrize("section, option, place", [
    ("DEFAULT", "Batch", "option `Batch` in section `DEFAULT` of a.ini"),
    ("CALIBRATION", "Batch", "option `Batch` in section `DEFAULT` of a.ini"),
    ("CALIBRATION", "Dataset", "option `Dataset` in section `CALIBRATION` of a.ini"),
    ("CALIBRATION", "Calibrate_num", "option `Calibrate_num` in section `CALIBRATION` of the overrides")])
def test_messages_name_the_place_where_a_value_stands(section, option, place):
    assert OPTIONS.where(section, option) == place


def test_a_section_gives_what_it_has_itself():
    assert OPTIONS.gives("CALIBRATION", "CALIBRATE_NUM") and OPTIONS.gives("DEFAULT", "batch")
    assert not OPTIONS.gives("CALIBRATION", "Batch") and not OPTIONS.gives("CALIBRATION", "Empty")
    assert OPTIONS.has("CALIBRATION") and not OPTIONS.has("ELSEWHERE")


def test_a_value_without_a_default_is_required():
    with pytest.raises(InvalidArgumentError, match="Please specify the value") as caught:
        OPTIONS.read("CALIBRATION", "Empty", ARRAY(INT))
    assert caught.value.remedy == "write a line Empty=<value> into section `CALIBRATION`"


def test_errors_are_kept_until_asked_for():
    options = OptionReader({"CALIBRATION": {"Batch": "x", "Calibrate_num": "y"}})
    options.raise_errors()
    assert options.get("CALIBRATION", "Batch") == 16 and not options.is_right("CALIBRATION", "Batch")
    with pytest.raises(InvalidArgumentError, match="Only support integer value") as caught:
        options.raise_errors()
    assert caught.value.where == "option `Batch` in section `CALIBRATION`"
    options.get("CALIBRATION", "Batch")  # the same again is no other mistake
    assert options.get("CALIBRATION", "Calibrate_num") == 1 and options.is_right("CALIBRATION", "Dataset")
    with pytest.raises(InvalidArgumentError, match="(?s)^2 mistakes\n\nOnly.*Batch.*\n\nOnly.*Calibrate_num"):
        options.raise_errors()
