"""Runs of a detector whose suppression has no integer form. Oracle: MXNet's answers of the whole float network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrt_torch import Model
from mrt_torch.data import DS_REG, ArrayDataset, register_dataset
from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.stage import Stage
from mrt_torch.pipeline.run import run
from mrt_torch.pipeline.run_configuration import (
    CalibrationSection,
    CompilationSection,
    MergeSection,
    PrepareSection,
    QuantizationSection,
    RunConfiguration,
    SplitSection,
    StartPoint,
)
from tests.bridges.mxnet.oracle import run_mxnet
from tests.end_to_end.test_detection import SHAPE, pictures, ssd


@pytest.fixture
def configuration(mxnet, tmp_path):
    """Its suppression drops class 1 as background, which the runtime cannot; every checkpoint is dumped."""
    @register_dataset("noise")
    class Noise(ArrayDataset):
        def __init__(self, input_shape, root=None):
            super().__init__(input_shape, pictures(3), np.zeros(3))

    detector = ssd(mxnet, background_id=1)
    symbol_file, params_file = detector.save(mxnet, tmp_path)
    yield detector, RunConfiguration(
        tmp_path, "net", (-1, *SHAPE[1:]), CalibrationSection("noise", batch=3, dump=True), tmp_path / symbol_file,
        tmp_path / params_file, prepare=PrepareSection(True), split=SplitSection(detector.keys, True),
        quantization=QuantizationSection(dump=True), merge=MergeSection(dump=True))
    del DS_REG["noise"]


def test_the_top_stays_in_float(mxnet, configuration):
    """The best box of each picture is that of the float network; and every restart leaves the same merged model."""
    detector, given = configuration
    summary = run(given)
    files = [given.model_dir / f"net.all.quantize.{ending}" for ending in ("json", "params", "ext")]
    merged, expected = Model.load(*files[:2]), [path.read_bytes() for path in files]
    assert merged.stage is Stage.RESTORED and summary.size.gas is None and "parts in float" in str(summary)
    data = pictures(3)
    wanted = [torch.from_numpy(output) for output in run_mxnet(mxnet, detector.symbol, {**detector.params,
                                                                                        "data": data.numpy()})]
    labels, scores, boxes = merged(data)
    assert torch.equal(labels[:, 0], wanted[0][:, 0])
    assert float((scores[:, 0] - wanted[1][:, 0]).abs().max()) < 0.02
    assert float((boxes[:, 0] - wanted[2][:, 0]).abs().max()) < 0.4  # of a picture of 16 pixels, as in test_detection
    for start in list(StartPoint)[1:]:
        run(RunConfiguration(**{**vars(given), "start": start}))
        assert [path.read_bytes() for path in files] == expected, start.name


def test_it_is_not_compiled(configuration):
    """And says which operator it is, and what to do."""
    _, given = configuration
    with pytest.raises(UnsupportedOperatorError, match="cannot be compiled") as caught:
        run(RunConfiguration(**{**vars(given), "compilation": CompilationSection(given.model_dir)}))
    assert "_contrib_box_nms" in str(caught.value) and "COMPILATION" in str(caught.value)
    assert not (given.model_dir / "net_cvm").exists()
    assert "`MERGE_MODEL` stage failed" in (given.model_dir / "net.log").read_text(encoding="utf-8")


def test_without_keys_it_is_refused(configuration):
    _, given = configuration
    with pytest.raises(UnsupportedOperatorError, match="_contrib_box_nms"):
        run(RunConfiguration(**{**vars(given), "split": SplitSection()}))


def test_an_operator_nobody_knows(configuration):
    """The base is quantized from every start point alike; the top is kept for its framework, and not merged."""
    detector, given = configuration
    known = given.symbol_file.read_text(encoding="utf-8")
    given.symbol_file.write_text(known.replace("_contrib_box_nms", "_contrib_mystery"), encoding="utf-8")
    files = [given.model_dir / f"net.mrt.quantize.{ending}" for ending in ("json", "params", "ext")]
    found = []
    for start in StartPoint:
        if start is StartPoint.MERGE_MODEL:
            continue
        with pytest.raises(UnsupportedOperatorError, match="_contrib_mystery") as caught:
            run(RunConfiguration(**{**vars(given), "start": start}))
        assert "net.top.json" in str(caught.value)
        found.append([path.read_bytes() for path in files])
    assert found == found[:1] * 5
    base = Model.load(*files[:2])
    assert len(base(pictures(2))) == len(detector.keys)
    assert "_contrib_mystery" in (given.model_dir / "net.top.json").read_text(encoding="utf-8")
