"""Oracle: the table and the JSON written out by hand."""

from __future__ import annotations

import json
import math

from mrt_torch.evaluation import EvaluationReport, ModelFigures

REPORT = EvaluationReport("mnist", 1000, ("cuda:0", "cuda:1"), {
    "float": ModelFigures({"top1": 0.989, "top5": 1.0}, "top1=98.90% top5=100.00%", 0.000125),
    "integer": ModelFigures({"top1": 0.9, "top5": 1.0}, "top1=90.00% top5=100.00%", 0.0125, 0.91, 45.77),
    "again": ModelFigures({"top1": 0.989, "top5": math.nan}, "", 0.5, 1.0, math.inf)})

TABLE = """\
1000 examples of mnist on cuda:0, cuda:1
model      top1     top5  ms/image  agreement  signal/noise
float    98.90%  100.00%     0.125          -             -
integer  90.00%  100.00%    12.500     91.00%       45.8 dB
again    98.90%     nan%   500.000    100.00%        inf dB"""


def test_a_table():
    assert str(REPORT) == TABLE


def test_a_metric_that_is_only_a_text():
    report = EvaluationReport("own", 3, ("cpu",), {"float": ModelFigures({}, "1 wrong", 0.001)})
    assert str(report).splitlines()[1:] == ["model   metric  ms/image  agreement  signal/noise",
                                            "float  1 wrong     1.000          -             -"]


def test_models_with_different_figures():
    report = EvaluationReport("own", 3, ("cpu",), {"a": ModelFigures({"x": 0.5}, "", 0.001),
                                                   "b": ModelFigures({"y": 0.25}, "", 0.001)})
    assert [line.split()[:3] for line in str(report).splitlines()[1:]] == [
        ["model", "x", "y"], ["a", "50.00%", "-"], ["b", "-", "25.00%"]]


def test_json():
    """Nothing in it that JSON does not have."""
    found = json.loads(json.dumps(REPORT.to_json(), allow_nan=False))
    assert found["dataset"] == "mnist" and found["examples"] == 1000 and found["devices"] == ["cuda:0", "cuda:1"]
    assert found["models"]["float"] == {
        "values": {"top1": 0.989, "top5": 1.0}, "text": "top1=98.90% top5=100.00%", "seconds_per_image": 0.000125,
        "agreement": None, "signal_to_noise_db": None}
    assert found["models"]["integer"]["signal_to_noise_db"] == 45.77
    assert found["models"]["again"]["signal_to_noise_db"] == "infinite"
    assert found["models"]["again"]["values"] == {"top1": 0.989, "top5": None}
