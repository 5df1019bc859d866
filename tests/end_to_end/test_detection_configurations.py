"""The detection configurations of the original, as files: SSD and YOLOv3 of gluoncv with seeded weights.

Oracles: the float network, and the real runtime on the compiled folder. The shapes are smaller, and one node of SSD has
the name that this gluoncv gives it; else sections, keys and values are those of the originals, the typing error in the
name of an output among them, and the values that are left empty.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from bridges.cvm.executor import cpu, formal
from mrt_torch import Model
from mrt_torch.graph.stage import Stage
from mrt_torch.pipeline.run import run_configuration_file
from tests.benchmarks.gluoncv_export import pictures
from tests.end_to_end.detectors import CALIBRATION, CASES, Case, overlap

NAMES = ("ssd, 30 bits", "yolo, 30 bits")


def configuration(case: Case, folder: Path, files: tuple[str, str]) -> str:
    """The text of a configuration."""
    keys = ",\n  ".join(case.keys)
    attributes = ",\n  ".join(f"{operator}: {attribute}: {output}" for operator, given in case.attribute_deps.items()
                              for attribute, output in given.items())
    scales = ",\n  ".join(f"{output}: {base}" for output, base in case.oscale_maps.items())
    return f"""[DEFAULT]
Model_dir={folder}
Model_name=detector
Symbol_file={files[0]}
Params_file={files[1]}
Device_type=
Device_ids=
# default: None(0), DEBUG(10), INFO(20)
Verbosity=20
Input_shape=(-1, 3, {case.size}, {case.size})
Start=

[PREPARE]
Dump=True

[SPLIT_MODEL]
Keys=
  {keys}
Dump=True

[CALIBRATION]
Batch={CALIBRATION}
Calibrate_num=1
# lambda = None
Lambda=
Dataset=npz
Dataset_dir={folder}
Device_type=
Device_ids=
Dump=True

[QUANTIZATION]
Restore_name=
Input_precision=
Output_precision={case.output_precision}
Device_type=
Device_ids=
Softmax_lambd=
Shift_bits=
Thresholds=
Dump=True

[MERGE_MODEL]
Attribute_deps=
  {attributes}
Oscale_maps=
  {scales.replace("ssd0_slice_axis42", "s2sd0_slice_axis42")}
Dump=True

[EVALUATION]
Batch=15
Device_type=
Device_ids=
Iter_num=0

[COMPILATION]
Batch=1
Dump_dir=
"""


@pytest.fixture(scope="module", params=NAMES)
def run_of(request, gluoncv_files, tmp_path_factory):
    """Case, folder, files and log of the run of a configuration."""
    case, folder = CASES[request.param], tmp_path_factory.mktemp("detector")
    files = gluoncv_files(case.network, case.size)
    data = pictures(CALIBRATION, case.size, seed=1)
    (folder / "npz").mkdir()
    np.savez(folder / "npz" / "test.npz", inputs=data, labels=np.zeros(len(data), np.int64))
    path = folder / "detector.ini"
    path.write_text(configuration(case, folder, files), encoding="utf-8")
    summary = run_configuration_file(path)
    assert summary.size.gas > 0 and [stage.outcome for stage in summary.stages].count("finished") == 6
    return case, folder, files


def test_the_merged_model_is_integer(run_of):
    """And detects what the float model does: see the bounds in ``test_split_and_merge``."""
    case, folder, files = run_of
    merged = Model.load(folder / "detector.all.quantize.json", folder / "detector.all.quantize.params")
    assert merged.stage is Stage.INTEGER and merged.record.output_scales[0] == 1.0
    whole = Model.load(*files).with_input_shape((1, 3, case.size, case.size))
    data = torch.from_numpy(pictures(1, case.size, seed=2))
    (ids, scores, boxes), (wanted_ids, wanted_scores, wanted_boxes) = (
        [output[0] for output in model(data)] for model in (merged, whole))
    best = wanted_scores[:10, 0].argsort(descending=True)
    alike = (overlap(wanted_boxes[best], boxes) > 0.75) & (wanted_ids[best] == ids[:, 0][None])
    alike &= (wanted_scores[best] - scores[:, 0][None]).abs() < 0.1
    assert int(alike.any(1).sum()) >= 9


def test_a_restart_at_the_end_gives_the_same_bytes(run_of, caplog):
    """Oracle: the compiled folder of the run. The misspelt output is told of, as a warning."""
    case, folder, _ = run_of
    before = {path.name: path.read_bytes() for path in (folder / "detector_cvm").iterdir()}
    for start in ("MERGE_MODEL", "QUANTIZATION"):
        with caplog.at_level(logging.WARNING):
            run_configuration_file(folder / "detector.ini", {"DEFAULT.Start": start})
        assert {path.name: path.read_bytes() for path in (folder / "detector_cvm").iterdir()} == before
    misspelt = [record for record in caplog.records if "s2sd0_slice_axis42" in record.getMessage()]
    assert bool(misspelt) == case.network.startswith("ssd")


@pytest.mark.cvm_runtime
def test_the_compiled_detector_gives_the_same_boxes(run_of):
    """Oracle: the integer graph, on data.npy, in both back ends of the runtime."""
    _, folder, _ = run_of
    deployed = folder / "detector_cvm"
    sample, model = np.load(deployed / "data.npy"), Model.load_cvm(deployed)
    expected = model.to_graph()(torch.from_numpy(sample).to(torch.int32))
    for executor in (cpu, formal):
        for output, wanted in zip(executor.run(deployed, sample), expected, strict=True):
            assert np.array_equal(output.reshape(wanted.shape), wanted.numpy())
