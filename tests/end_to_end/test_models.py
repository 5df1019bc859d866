"""Import, prepare, calibrate, quantize, export, read back. Oracles: the float model for what the numbers mean, the
integer graph for what the files must compute.
"""

from __future__ import annotations

import os

import pytest
import torch

from mrt_torch import MRT, Model, load_real_data, reduce_graph
from tests.end_to_end.models import CASES, ROWS, as_tuple, calibrated


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def quantized(request, shared_models) -> tuple:
    """A case, its calibrated MRT, its quantized model, and the integers it gives for the case's data."""
    mrt = calibrated(request.param, shared_models)
    model = mrt.quantize()
    return request.param, mrt, model, integers(model, mrt, request.param.data())


def integers(model: Model, mrt: MRT, data: torch.Tensor) -> list[torch.Tensor]:
    return list(model.to_graph()(load_real_data(data, "data", mrt.get_inputs_ext())))


def test_prepare_keeps_the_function(quantized, shared_models):
    """float32, with BatchNorm folded and pooling rewritten: 1e-4 of the largest output."""
    case, mrt, _, _ = quantized
    source = case.load(shared_models)
    if case.form == "mxnet":  # the file declares no shape: give the one it was prepared for
        source = Model(source._source.import_graph((ROWS, *case.row)))
    for seen, expected in zip(as_tuple(mrt.model(case.data())), as_tuple(source(case.data())), strict=True):
        assert float((seen - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def test_quantized_outputs_stand_for_the_float_ones(quantized):
    """8 bits on random input: an error of 15 % in every head (9 % is the largest seen, mtcnn_det3's boxes), and one
    unit of the output, which counts where a head holds nothing but probabilities near zero.
    """
    case, mrt, _, whole = quantized
    for seen, expected, scale in zip(whole, as_tuple(mrt.model(case.data())), mrt.get_output_scales(), strict=True):
        assert seen.shape == expected.shape
        error = float((seen / scale - expected).norm())
        assert error < 0.15 * float(expected.norm()) + expected.numel() ** 0.5 / scale


def test_other_batches_give_the_same_rows(quantized):
    case, mrt, model, whole = quantized
    mixed = integers(model, mrt, case.data()[[1, 0, 1]])
    single = integers(reduce_graph(model, {"data": (1, *case.row)}), mrt, case.data()[1:])
    for three, one, expected in zip(mixed, single, whole, strict=True):
        assert torch.equal(three, expected[[1, 0, 1]]) and torch.equal(one, expected[1:])


def test_deployed_files_compute_the_same_integers(quantized, tmp_path):
    """MRT defect 12: compile_to_cvm failed without an input shape."""
    case, mrt, model, whole = quantized
    folder = model.to_cvm(case.name, datadir=tmp_path)
    assert os.listdir(tmp_path) == [case.name]
    for seen, wanted in zip(integers(Model.load_cvm(folder), mrt, case.data()), whole, strict=True):
        assert seen.dtype is torch.int32 and torch.equal(seen.reshape(wanted.shape), wanted)


def test_deployed_files_of_another_batch_stand_for_the_same_floats(quantized, tmp_path):
    case, mrt, model, whole = quantized
    folder = model.to_cvm(case.name, datadir=tmp_path, input_shape=(1, *case.row), target="gpu", device_ids=0)
    outputs = as_tuple(Model.load_cvm(folder)(case.data()[:1]))
    for seen, wanted, scale in zip(outputs, whole, mrt.get_output_scales(), strict=True):
        assert torch.equal(seen, (wanted[:1].double() / scale).float())


def test_saved_models_compute_the_same_integers(quantized, tmp_path):
    case, mrt, model, whole = quantized
    mrt.save(case.name, tmp_path)
    again = MRT.load(case.name, tmp_path)
    assert (again.th_dict, again.settings, again.get_output_scales()) == (
        mrt.th_dict, mrt.settings, mrt.get_output_scales())
    for seen, wanted in zip(integers(again.current_model, again, case.data()[:1]), whole, strict=True):
        assert torch.equal(seen, wanted[:1])
