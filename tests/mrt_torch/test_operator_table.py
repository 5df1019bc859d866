"""The table of operators. Oracle: the classes that MRT's operator API documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrt_torch import ops
from mrt_torch.cvm import OPERATORS
from mrt_torch.operator_table import COLUMNS, markdown, operator_rows

PAGE = Path(__file__).resolve().parents[2] / "notebooks" / "operators.md"
DOCUMENTED = """
Null Transpose Relu LeakyReLU MulScalar DivScalar Activation Convolution Pad ExpandDims Embedding Repeat
BoxNms SliceLike SliceAxis SliceChannel UpSampling FullyConnected Sigmoid Exp Softmax Pooling BroadcastMul
BroadcastAdd BroadcastDiv BroadcastSub BroadcastTo BroadcastGreater Concat Sum BatchNorm Flatten Floor Ceil
Round Fix Cast Slice Reshape Custom Clip Minimum Maximum Max Min Argmax Argmin Abs ElemwiseAdd ElemwiseSub
ElemwiseMul Dropout Arange Tile Negative SwapAxis PlusScalar ZerosLike OnesLike GreaterScalar Where Squeeze
BatchDot BroadcastLike ReshapeLike""".split()
HELPERS = ("reverse_sequence", "reverse_transpose", "_quantize_scale", "_quantize_xwb", "_quantize_table",
           "fuse_transpose_reduce")


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_documented_class_has_a_row_without_a_blank(name):
    row = next((row for row in operator_rows() if row.name == name), None)
    assert row is not None, f"{name} is missing"
    assert len(row.cells()) == len(COLUMNS) and all(row.cells()), row
    assert issubclass(getattr(ops, name), ops.Transformer)


def test_no_row_has_a_blank():
    blank = [row for row in operator_rows() if not all(row.cells())]
    assert not blank


@pytest.mark.parametrize("name", HELPERS)
def test_documented_helpers(name):
    assert callable(getattr(ops, name))


def test_named_cvm_operators_exist():
    known = {row.name for row in OPERATORS}
    named = {name for row in operator_rows() if not row.lowering.startswith("rewritten")
             for name in row.lowering.split(", ")}
    assert named - known <= {"-"}


def test_the_page_is_up_to_date():
    """Write it with ``mrt-torch ops --markdown > notebooks/operators.md``."""
    assert PAGE.read_text(encoding="utf-8") == markdown()
