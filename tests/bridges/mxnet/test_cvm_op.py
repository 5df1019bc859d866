"""The Custom operators in MXNet."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from mrt_torch.cvm import OPERATORS
from mrt_torch.errors import InvalidArgumentError

SPECIAL = np.array(
    [0, 1, -1, 2, -2, 3, -3, 127, 128, -127, -128, 2 ** 24 + 1, 2 ** 30, -2 ** 30, 2 ** 31 - 1, -2 ** 31 + 1])


@pytest.fixture(scope="module")
def cvm_op(mxnet):
    import bridges.mxnet.cvm_op as module
    return module


def custom(mxnet, op_type, *arrays, **attributes):
    arrays = [mxnet.nd.array(array, dtype="float64") for array in arrays]
    return mxnet.nd.Custom(*arrays, op_type=op_type, **attributes).asnumpy()


def reference(name, values, **attributes):
    """The formula in Python integers of any size."""
    bound = 2 ** (attributes["precision"] - 1) - 1
    shift = attributes.get("shift_bit", 0)
    scaled = {"cvm_clip": lambda x: x, "cvm_left_shift": lambda x: x * 2 ** shift,
              "cvm_right_shift": lambda x: (x // 2 ** (shift - 1) + 1) // 2}[name]
    return np.array([max(min(scaled(int(value)), bound), -bound)
                     for value in values.reshape(-1)]).reshape(values.shape)


@pytest.mark.parametrize("name", ["cvm_clip", "cvm_left_shift", "cvm_right_shift"])
@pytest.mark.parametrize("precision", [1, 2, 8, 24, 25, 26, 31, 32])
@pytest.mark.parametrize("shift_bit", [1, 2, 7, 24, 30, 32])
def test_clamping_operators(cvm_op, mxnet, name, precision, shift_bit):
    """Oracle: Python integers."""
    if name == "cvm_clip":
        attributes = {"precision": precision}
    else:
        attributes = {"precision": precision, "shift_bit": shift_bit}
    values = np.concatenate([SPECIAL, np.random.default_rng(0).integers(-2 ** 31 + 1, 2 ** 31,
                                                                        200)]).reshape(4, -1)
    assert np.array_equal(custom(mxnet, name, values, **attributes), reference(name, values, **attributes))


def test_inputs_are_rounded_half_away_from_zero(cvm_op, mxnet):
    """Oracle: the values written out."""
    values = [0.4, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 2.4999]
    assert custom(mxnet, "cvm_clip", values, precision=8).tolist() == [0, 1, -1, 2, -2, 3, -3, 2]
    assert custom(mxnet, "cvm_right_shift", [2.5, -2.5], precision=8, shift_bit=1).tolist() == [2, -1]
    assert custom(mxnet, "cvm_left_shift", [2.5, -2.5], precision=8, shift_bit=1).tolist() == [6, -6]
    assert custom(mxnet, "cvm_lut", [0.5, 1.4], [[10], [20], [30]], in_dim=3).tolist() == [20, 20]


def test_float32_stays_float32(cvm_op, mxnet):
    """The dtype of the input decides."""
    result = mxnet.nd.Custom(mxnet.nd.array([300.0]), op_type="cvm_clip", precision=8)
    assert result.dtype == np.float32 and result.asscalar() == 127


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (1, 2, 1, 3)])
def test_lut(cvm_op, mxnet, shape):
    """Indices outside of the table are clamped. Oracle: torch.ops.cvm.cvm_lut."""
    generator = np.random.default_rng(1)
    indices, table = generator.integers(-5, 15, shape), generator.integers(-2 ** 31 + 1, 2 ** 31, (9, 1))
    expected = OPERATORS["cvm_lut"].kernel(torch.tensor(indices), torch.tensor(table))
    assert np.array_equal(custom(mxnet, "cvm_lut", indices, table, in_dim=9), expected.numpy())


def test_shapes_are_inferred(cvm_op, mxnet):
    """A symbol knows the table's shape from in_dim, as (in_dim, 1)."""
    symbol = mxnet.sym.Custom(data=mxnet.sym.var("data"), op_type="cvm_lut", in_dim=17, name="lut")
    arguments, outputs, _ = symbol.infer_shape(data=(2, 5))
    assert dict(zip(symbol.list_arguments(), arguments)) == {"data": (2, 5), "lut_table": (17, 1)}
    assert outputs == [(2, 5)]
    symbol = mxnet.sym.Custom(data=mxnet.sym.var("data"), op_type="cvm_clip", precision=8)
    assert symbol.infer_shape(data=(2, 5))[1] == [(2, 5)]


def test_operators_on_detections(cvm_op, mxnet):
    """Oracle: torch.ops.cvm; inputs are rounded, batches are any."""
    generator = np.random.default_rng(2)
    rows = np.concatenate([generator.integers(0, 3, (3, 9, 1)), generator.integers(0, 20, (3, 9, 5))], axis=2)
    arguments = {"score_threshold": 4}
    counts, kept = mxnet.nd.Custom(mxnet.nd.array(rows + 0.25, dtype="float64"), op_type="cvm_get_valid_counts",
                                   **arguments)
    expected = OPERATORS["get_valid_counts"].kernel(torch.tensor(rows), **arguments)
    assert np.array_equal(counts.asnumpy(), expected[0].numpy()) and np.array_equal(kept.asnumpy(), expected[1].numpy())
    options = {"iou_threshold": 20, "force_suppress": True, "top_k": 5, "max_output_size": 3}
    result = custom(mxnet, "cvm_non_max_suppression", rows, [9, 0, 4], **options)
    expected = OPERATORS["non_max_suppression"].kernel(torch.tensor(rows), torch.tensor([9, 0, 4]), **options)
    assert np.array_equal(result, expected.numpy())


def test_shapes_of_detections_are_inferred(cvm_op, mxnet):
    data = mxnet.sym.var("data")
    valid = mxnet.sym.Custom(data=data, op_type="cvm_get_valid_counts", score_threshold=0, name="valid")
    kept = mxnet.sym.Custom(data=valid[1], valid_count=valid[0], op_type="cvm_non_max_suppression")
    assert valid.infer_shape(data=(2, 7, 6))[1] == [(2,), (2, 7, 6)]
    assert kept.infer_shape(data=(2, 7, 6))[1] == [(2, 7, 6)]


def test_constructors_of_operators_on_detections(cvm_op):
    """The runtime's defaults, and texts."""
    assert cvm_op.ValidCountsProp().attributes == {"score_threshold": 0}
    assert cvm_op.NonMaxSuppressionProp().attributes == OPERATORS["non_max_suppression"].read_attributes({})
    assert cvm_op.NonMaxSuppressionProp("7", "True", "3", "4").attributes == {
        "iou_threshold": 7, "force_suppress": True, "top_k": 3, "max_output_size": 4}


def test_constructors(cvm_op):
    """The defaults and texts of the published interface."""
    for prop in (cvm_op.ClipProp, cvm_op.LeftShiftProp, cvm_op.RightShiftProp):
        assert (prop().precision, prop().shift_bit) == (8, 0)
        assert (prop("9", "3").precision, prop("9", "3").shift_bit) == (9, 3)
    assert isinstance(cvm_op.ClipProp().create_operator(None, None, None), cvm_op.Clip)
    assert cvm_op.LUTProp("12").in_dim == 12
    for operator in (cvm_op.Clip(8), cvm_op.LeftShift(8, 1), cvm_op.RightShift(8, 1), cvm_op.LUT(4)):
        with pytest.raises(InvalidArgumentError, match="no gradient"):
            operator.backward(None, None, None, None, None, None)


@pytest.mark.parametrize("arguments", [(0, 1), (33, 1), (8, 0), (8, 33)])
def test_attributes_out_of_range(cvm_op, arguments):
    """The runtime's limits: both in 1..32."""
    for shift in (cvm_op.LeftShift, cvm_op.RightShift):
        with pytest.raises(InvalidArgumentError):
            shift(*arguments)


def test_registering_again_does_nothing(cvm_op, mxnet):
    """Oracle: the operator still works."""
    cvm_op.register_cvm_operators()
    cvm_op.register_cvm_operators()
    assert custom(mxnet, "cvm_clip", [200], precision=8).tolist() == [127]


def test_import_without_mxnet_says_what_to_install():
    """A process where importing mxnet fails as if it were not there."""
    script = ("import sys\nsys.modules['mxnet'] = None\n"
              "from mrt_torch.errors import MissingDependencyError\n"
              "try:\n    import bridges.mxnet.cvm_op\n"
              "except MissingDependencyError as error:\n    print(error)\n")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "mrt-torch[mxnet]" in result.stdout and "1.9.1" in result.stdout
