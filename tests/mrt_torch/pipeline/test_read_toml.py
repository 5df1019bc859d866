"""The TOML form. Oracle: the INI form of the same configuration."""

from __future__ import annotations

import sys

import pytest

from mrt_torch.errors import InvalidArgumentError, InvalidFileError, MissingDependencyError
from mrt_torch.pipeline import read_configuration
from tests.mrt_torch.pipeline.configurations import DETECTOR, SMALLEST, write

DETECTOR_TOML = """\
[DEFAULT]
Model_dir = "{folder}"
Model_name = "detector_512_voc"
Symbol_file = "{folder}/symbol.json"
Params_file = "{folder}/weights.params"
Device_type = "gpu"
Device_ids = [0, 1]
Verbosity = 30
Log_file = "{folder}/100%.log"
Input_shape = [-1, 3, 512, 512]
Start = 2

[PREPARE]
Dump = true

[SPLIT_MODEL]
Keys = ["head0_zeros_like0", "head0_slice_axis0", "decoder0_concat0"]
Dump = true

[CALIBRATION]
Batch = 8
Calibrate_num = 16
Lambda = 2.5
Dataset = "voc"
Dataset_dir = "{folder}/data"
Device_type = "gpu"
Device_ids = 1
Dump = true

[CALIBRATION.Cfg_groups]
conv0_fwd = {{quant_type = "GroupConv", gn_info = {{gn_type = "group-wise", is_weight = false, num_groups = 32}}}}
rewritten_conv1_weight_0.quant_type = "GroupConv"
conv4_fwd = {{gn_info = '{{"gn_type": "channel-wise", "ichannel": 1, "step": 4}}'}}

[QUANTIZATION]
Restore_name = ["_ALL_EXCEPT_", "_OP_Convolution"]
Input_precision = 16
Output_precision = 30
Weight_precision = 6
Accuracy = "best"
Device_type = "gpu"
Device_ids = "2"
Softmax_lambd = 12.5
Shift_bits = 10
Thresholds = {{data = 2.64, rewritten_conv1_weight_0 = 29.09, head0_slice_axis0 = 1}}
Dump = true

[MERGE_MODEL]
Oscale_maps = {{ssd0_slice_axis41 = "None", ssd0_slice_axis42 = "head0_slice_axis0"}}
Dump = true
[MERGE_MODEL.Attribute_deps]
_greater_scalar.scalar = "head0_slice_axis0"
_contrib_box_nms = {{valid_thresh = "head0_slice_axis0", coord_start = "decoder0_concat0"}}

[EVALUATION]
Batch = 160
Device_type = "gpu"
Device_ids = [3, 4, 5, 6]
Iter_num = 33

[COMPILATION]
Batch = 1
Device_type = "gpu"
Device_ids = [1, 2]
Dump_dir = "{folder}"
"""
needs_toml = pytest.mark.skipif(sys.version_info < (3, 11), reason="the library of this Python cannot read TOML")


@needs_toml
def test_both_forms_say_the_same(tmp_path):
    assert read_configuration(write(tmp_path, DETECTOR_TOML, "a.toml")) == \
        read_configuration(write(tmp_path, DETECTOR, "a.ini"))


@needs_toml
def test_values_of_other_types_are_told(tmp_path):
    text = ('[DEFAULT]\nModel_name="a"\nModel_dir="{folder}"\nInput_shape=[-1, 2.5]\n'
            '[CALIBRATION]\nDataset=""\nBatch=true\n')
    with pytest.raises(InvalidArgumentError, match="3 mistakes in") as caught:
        read_configuration(write(tmp_path, text, "a.toml"))
    for part in ("Only support integer value", "Please specify the value", "write integers"):
        assert part in str(caught.value)


@needs_toml
@pytest.mark.parametrize("text, what", [
    ("[DEFAULT", "this is no TOML"), ("a = " + "[" * 9999, "this is no TOML"), ("a = " + "9" * 9999, "this is no TOML"),
    ("a = 1", "an option stands outside of the sections"), ("[S]\na = 1\nA = 2", "an option is given twice"),
    ("[S]\na = [[0x" + "f" * 5000 + "]]", "a number is too large"), ("[S]\na = '\xff'", "this is no TOML")])
def test_other_files_are_refused(tmp_path, text, what):
    (tmp_path / "a.toml").write_text(text, encoding="latin-1")
    with pytest.raises(InvalidFileError, match=what):
        read_configuration(tmp_path / "a.toml")


@needs_toml
def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InvalidFileError, match="the configuration cannot be read"):
        read_configuration(tmp_path / "missing.toml")


def test_an_old_python_is_told(tmp_path, monkeypatch):
    """Python 3.10 has no tomllib; None in sys.modules makes the import fail as there."""
    monkeypatch.setitem(sys.modules, "tomllib", None)
    with pytest.raises(MissingDependencyError, match="write the configuration as .ini"):
        read_configuration(write(tmp_path, SMALLEST, "a.TOML"))
