"""Input shapes with a batch to set. Oracle: shapes written out by hand."""

import pytest

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline.input_shape import batch_axis, set_batch


@pytest.mark.parametrize(("shape", "axis", "filled"), [
    ((-1, 3, 224, 224), 0, (16, 3, 224, 224)), ((8, -1), 1, (8, 16)), ([-1], 0, (16,))])
def test_the_batch_is_where_the_shape_says(shape, axis, filled):
    assert batch_axis(shape) == axis
    assert set_batch(shape, 16) == filled


@pytest.mark.parametrize("shape", [(1, 3), (-1, -1), ()])
def test_one_axis_must_be_marked(shape):
    with pytest.raises(InvalidArgumentError, match="one batch axis"):
        batch_axis(shape)


def test_a_batch_is_positive():
    with pytest.raises(InvalidArgumentError, match="saw 0"):
        set_batch((-1, 3), 0)
