"""Every way to run a quantized model against its integer graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mrt_torch import Model, verification
from mrt_torch.errors import ExportError, InvalidArgumentError, MissingDependencyError, RuntimeLibraryError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of, set_facts
from mrt_torch.verification import (
    VerificationReport,
    WayResult,
    compare,
    legal_inputs,
    random_inputs,
    run_graph,
    verify_model,
    whole_batches,
)
from tests.mrt_torch import small_models


@pytest.fixture(params=[1, 2], ids=["one head", "two heads"])
def quantized(request) -> Model:
    return small_models.calibrated(request.param).quantize()


class Rows(nn.Module):
    """Words by position, (T, N): the batch is axis 1, and so it is of the output."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([[1.0], [-2.0], [0.5]]))

    def forward(self, x):
        return torch.relu(x * self.scale)


def batch_on_axis_1() -> Model:
    data = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    model = Model.from_torch(Rows().eval(), data, batch_axis=1)
    model.prepare((3, -1))
    mrt = model.get_mrt()
    mrt.set_data(data)
    mrt.calibrate()
    return mrt.quantize()


class Engine:
    """Runs the CVM folder with what the test wants changed."""

    title, form = "engine", "cvm"

    def __init__(self, change):
        self.change = change

    def run(self, path, integers):
        heads = run_graph(Model.load_cvm(path).module, torch.from_numpy(integers))
        return self.change([head.numpy().copy() for head in heads])


def raising(error):
    def change(*_args, **_options):
        raise error
    return change


def one_more(heads):
    heads[-1].reshape(-1)[-1] += 1
    return heads


def result_of(report: VerificationReport, title: str) -> WayResult:
    return next(result for result in report.results if result.title == title)


def test_every_way_agrees(quantized):
    """Oracle: the engines that are installed; the exported files are read back at least."""
    report = verify_model(quantized, random_inputs(quantized, 5))
    assert report.agree and report.examples == 5 and not report.certificate
    assert result_of(report, "CVM files, read back").differing == 0
    assert result_of(report, "MXNet files, read back").differing == 0
    assert report.integers == sum(head.numel() for head in run_graph(quantized.module, random_inputs(quantized, 5)))


def test_a_batch_on_another_axis():
    """Oracle: as above."""
    model = batch_on_axis_1()
    inputs = random_inputs(model, 6)
    assert inputs.shape == (3, 6) and whole_batches(model) == 1
    report = verify_model(model, inputs)
    assert report.agree and report.examples == 6
    assert result_of(report, "CVM files, read back").differing == 0


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("title", ["CVM runtime, CPU", "CVM runtime, FORMAL"])
def test_the_runtime_agrees(quantized, title):
    """Oracle: the CVM runtime library."""
    for model in (quantized, batch_on_axis_1()):
        assert result_of(verify_model(model, random_inputs(model, 4)), title).differing == 0


def test_mxnet_agrees(mxnet, quantized):
    """Oracle: MXNet itself, in float64."""
    assert result_of(verify_model(quantized, random_inputs(quantized, 4)), "MXNet").differing == 0


@pytest.mark.parametrize(("change", "expected"), [
    (one_more, {"differing": 1}), (lambda heads: heads[:-1], {"differing": "all"}),
    (lambda heads: [head[:-1] for head in heads], {"differing": "all"}),
    (raising(RuntimeLibraryError("it broke")), {"refused": "it broke"}),
    (raising(MissingDependencyError("it is not there", why="no path")), {"not_installed": "it is not there (no path)"}),
], ids=["integer", "head", "shape", "error", "absent"])
def test_what_an_engine_does_is_reported(monkeypatch, quantized, change, expected):
    """Oracle: an engine that does it."""
    monkeypatch.setattr(verification, "executors", lambda: [Engine(change)])
    report = verify_model(quantized, random_inputs(quantized, 3))
    expected = {key: report.integers if value == "all" else value for key, value in expected.items()}
    assert result_of(report, "engine") == WayResult("engine", **expected)
    assert report.agree == ("not_installed" in expected)
    assert report.to_json()["agree"] == report.agree


def test_files_that_are_there_are_the_ones_that_run(tmp_path, monkeypatch, quantized):
    """Oracle: a folder of another model, whose integers differ."""
    monkeypatch.setattr(verification, "executors", lambda: [Engine(lambda heads: heads)])
    mrt = small_models.calibrated(len(quantized.output_names()))
    mrt.set_threshold("dense", 0.5)
    other = mrt.quantize().to_cvm("other", tmp_path, input_shape=(1, 3, 6, 6))
    report = verify_model(quantized, random_inputs(quantized, 3), {"cvm": other})
    assert result_of(report, "engine").differing and result_of(report, "CVM files, read back").differing
    assert result_of(report, "MXNet files, read back").differing == 0


def test_an_export_that_is_refused(monkeypatch, quantized):
    """Oracle: an exporter that refuses; the other ways run."""
    monkeypatch.setattr(verification, "write_cvm", lambda *_: raising(ExportError("too large"))(None))
    report = verify_model(quantized, random_inputs(quantized, 2))
    assert result_of(report, "cvm export").refused == "too large" and not report.agree
    assert result_of(report, "MXNet files, read back").differing == 0


def test_a_certificate_that_does_not_hold(monkeypatch, quantized):
    """Oracle: a verification that finds something; it is no agreement then."""
    monkeypatch.setattr(verification, "verify", raising(ExportError("a value of 33 bits")))
    report = verify_model(quantized, random_inputs(quantized, 2))
    assert report.certificate == "a value of 33 bits" and not report.agree


def test_heads_are_compared_in_their_order():
    """Oracle: by hand: of several heads, rows are the same numbers; of one, the shape counts."""
    reference = (torch.arange(6).reshape(2, 3), torch.arange(4).reshape(2, 2))
    assert compare("way", lambda: tuple(head.reshape(1, -1) for head in reference), reference).differing == 0
    assert compare("way", lambda: (reference[0].reshape(3, 2),), reference[:1]).differing == 6
    assert compare("way", lambda: (reference[0] + torch.tensor([[0, 1, 0], [0, 0, 1]]),), reference[:1]).differing == 2


def test_random_inputs_are_legal(quantized):
    """Oracle: the range of the input; the extremes are the first two examples; a seed gives the same again."""
    source = input_nodes(quantized.module.graph)[0]
    values = facts_of(source).value_range
    inputs = random_inputs(quantized, 5, seed=1, multiple=4)
    assert inputs.shape == (8, 3, 6, 6) and inputs.dtype is torch.int32
    assert (inputs[0] == values.minimum).all() and (inputs[1] == values.maximum).all()
    assert inputs.min() == values.minimum and inputs.max() == values.maximum
    assert torch.equal(inputs, random_inputs(quantized, 5, seed=1, multiple=4))
    assert not torch.equal(inputs, random_inputs(quantized, 5, seed=2, multiple=4))
    assert random_inputs(quantized, 1).shape[0] == 1


def test_legal_inputs(quantized):
    """Oracle: load_real_data for floats; integers as they are."""
    images = small_models.images(4)
    scale = quantized.record.inputs["data"]["scale"]
    assert torch.equal(legal_inputs(quantized, images),
                       torch.from_numpy(np.clip(np.rint(images.numpy().astype(float) * scale), -127, 127)).int())
    integers = torch.full((2, 3, 6, 6), -127, dtype=torch.int8)
    assert torch.equal(legal_inputs(quantized, integers), integers.int())


@pytest.mark.parametrize(("data", "multiple", "words"), [
    (torch.full((2, 3, 6, 6), 128), 1, "128..128"), (torch.zeros(3, 3, 6, 6), 2, "multiple of 2"),
    (torch.zeros(2, 3, 6, 7), 1, "wrong shape"), (torch.full((2, 3, 6, 6), torch.nan), 1, "NaN")], ids=str)
def test_illegal_inputs(quantized, data, multiple, words):
    """Oracle: the error names what was seen."""
    with pytest.raises(InvalidArgumentError, match=words):
        legal_inputs(quantized, data, multiple)


def test_only_integers_as_a_whole(quantized):
    """Oracle: a float model, one with a restored node, and one of two inputs are refused."""
    mrt = small_models.calibrated()
    mrt.set_restore("dense")
    for model, words in (small_models.prepared(), "prepared"), (mrt.quantize(), "in float: dense"):
        with pytest.raises(InvalidArgumentError, match="integers as a whole") as error:
            verify_model(model, torch.zeros(1, 3, 6, 6, dtype=torch.int32))
        assert words in str(error.value)


def test_a_wrong_fact_breaks_the_certificate(quantized):
    """Oracle: a recorded range narrower than the proven one, as a damaged file would have."""
    node = next(node for node in quantized.module.graph.nodes if node.op == "get_attr")
    facts = facts_of(node)
    set_facts(node, value_range=replace(facts.value_range, minimum=0, maximum=0))
    report = verify_model(quantized, random_inputs(quantized, 2))
    assert node.name in report.certificate and "outside its recorded range" in report.certificate
    assert not report.agree
