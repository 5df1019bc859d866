"""Configurations for tests: of the shapes that MRT's own files have, and a smallest one."""

from __future__ import annotations

from pathlib import Path

SMALLEST = """\
[DEFAULT]
Model_dir={folder}
Model_name=net
Input_shape=(-1, 3, 32, 32)

[CALIBRATION]
Dataset=cifar10
"""

#: A classifier: many empty values, comments between options, gpus, and a last comment that looks like a section.
CLASSIFIER = """\
[DEFAULT]
Model_dir={folder}
Model_name=net18_v1
Device_type=
Device_ids=
# 10 is debug, 20 is info
Verbosity=20
Input_shape=(-1, 3, 224, 224)
Start=

[PREPARE]
Dump=True

[SPLIT_MODEL]
Keys=
Dump=

[CALIBRATION]
Batch=
Calibrate_num=1
# lambda = None
# [ 2020-01-01 00:00:00 log.INFO ] Iteration:  9 | evalfunc: top1=50.00% | quantize: top1=49.90% | Total: 160
# lambda = 16
Lambda= 16
Dataset=imagenet
Dataset_dir=
Device_type=gpu
Device_ids=2
Dump=True

[QUANTIZATION]
Restore_name=
Input_precision=8
Output_precision=8
Device_type=gpu
Device_ids=2
Softmax_lambd=
Shift_bits=
Thresholds=
Dump=True

[MERGE_MODEL]
Attribute_deps=
Oscale_maps=
Dump=

[EVALUATION]
Batch=15
Device_type=gpu
Device_ids=0,1,2
Iter_num=10

[COMPILATION]
Batch=1
Dump_dir={folder}

# [DUMP]
"""

#: A detector: every key has a value, lists and maps of several lines with comments inside, last commas.
DETECTOR = """\
[DEFAULT]
Model_dir={folder}
Model_name=detector_512_voc
Symbol_file={folder}/symbol.json
Params_file={folder}/weights.params
Device_type=gpu
Device_ids=0, 1
Verbosity=30
Log_file={folder}/100%.log
Input_shape=(-1, 3, 512, 512)
Start=SPLIT_MODEL

[PREPARE]
Dump=True

[SPLIT_MODEL]
Keys=
  head0_zeros_like0,
  ; head0_softmax0,
  head0_slice_axis0,
# an explanation at the margin
  decoder0_concat0,
Dump=True

[CALIBRATION]
Batch=8
Calibrate_num=16
Lambda=2.5
Dataset=voc
Dataset_dir={folder}/data
Cfg_groups=
  ["conv0_fwd". "rewritten_conv1_weight_0"]: quant_type: GroupConvQuant,
  ["conv0_fwd"]: gn_info: {{"gn_type"; "group-wise". "is_weight"; "False". "num_groups"; 32}},
  ; ["conv2_fwd"]: gn_info: {{"gn_type"; "group-wise". "is_weight"; "False". "num_groups"; 64}},
  ["conv4_fwd"]: gn_info: {{"gn_type": "channel-wise", "ichannel": 1, "step": 4}}
Device_type=gpu
Device_ids=1
Dump=True

[QUANTIZATION]
Restore_name=
  _ALL_EXCEPT_,
  _OP_Convolution
  ; operators with many groups
  ; conv9_fwd,
Input_precision=16
Output_precision=30
Weight_precision=6
Accuracy=best
Device_type=gpu
Device_ids=2
Softmax_lambd=12.5
Shift_bits=10
Thresholds=
  data: 2.64,
  rewritten_conv1_weight_0: 29.09,
  ; head0_softmax0: 2

  head0_slice_axis0: 1
Dump=True

[MERGE_MODEL]
Attribute_deps=
  _greater_scalar: scalar: head0_slice_axis0,
  _contrib_box_nms: valid_thresh: head0_slice_axis0,
  _contrib_box_nms: coord_start: decoder0_concat0
Oscale_maps=
  ssd0_slice_axis41: None,
  ssd0_slice_axis42: head0_slice_axis0
Dump=True

[EVALUATION]
Batch=160
Device_type=gpu
Device_ids=3,4,5,6
Iter_num=33

[COMPILATION]
Batch=1
Device_type=gpu
Device_ids=1,2
Dump_dir={folder}
"""


def write(folder: Path, text: str, name: str = "net.ini") -> Path:
    """A configuration whose model, data and outputs are in ``folder``."""
    for file in ("symbol.json", "weights.params"):
        (folder / file).touch()
    path = folder / name
    path.write_text(text.format(folder=folder), encoding="utf-8")
    return path
