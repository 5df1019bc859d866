"""The example that ships. Oracle: the table of keys."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mrt_torch.pipeline import read_configuration
from mrt_torch.pipeline.keys import KEYS, REQUIRED
from mrt_torch.pipeline.option_reader import OptionReader
from mrt_torch.pipeline.read_ini import read_ini
from mrt_torch.pipeline.run_configuration import (
    CalibrationSection,
    CompilationSection,
    EvaluationSection,
    RunConfiguration,
)

EXAMPLE = Path(str(resources.files("mrt_torch.pipeline") / "example.ini"))


def test_the_example_has_every_key_with_its_default():
    sections = read_ini(EXAMPLE)
    assert {(section, name) for section, options in sections.items() for name in options} == \
        {(key.section, key.name.lower()) for key in KEYS}
    given, absent = OptionReader(sections), OptionReader({})
    for key in KEYS:
        if key.default is not REQUIRED and not (key.section == "COMPILATION" and key.name.startswith("Device")):
            assert given.get(key.section, key.name) == absent.get(key.section, key.name), key
    given.raise_errors()


def test_the_example_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mrt_model").mkdir()
    assert read_configuration(EXAMPLE) == RunConfiguration(
        tmp_path / "mrt_model", "my_model", (-1, 3, 224, 224), CalibrationSection("imagenet"),
        evaluation=EvaluationSection(), compilation=CompilationSection(tmp_path / "mrt_model"))


def test_the_examples_in_its_comments_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mrt_model").mkdir()
    wanted = {"Keys": 2, "Cfg_groups": 3, "Thresholds": 2, "Attribute_deps": 2, "Oscale_maps": 2}
    lines = EXAMPLE.read_text().splitlines()
    overrides = {}
    for key in KEYS:
        start = f"#   {key.name} ="
        if start in lines:
            block = lines[lines.index(start) + 1:]
            length = next(i for i, line in enumerate(block) if not line.startswith("#     "))
            assert length == wanted.pop(key.name)
            overrides[f"{key.section}.{key.name}"] = "\n".join(line[1:] for line in block[:length])
    assert not wanted
    read = read_configuration(EXAMPLE, overrides)
    assert read.calibration.cfg_groups["relu0"]["opt_info"] == ("MovingAverage", "c", 0.05)
    assert read.calibration.cfg_groups["conv1"].keys() == {"quant_type", "gn_info"}
    assert read.merge.oscale_maps["ssd0_slice_axis41"] == "None"
