"""Bilinear resizing. Oracles: OpenCV inside MXNet, exactly; interpolation in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.data.bilinear import resize_bilinear
from tests.mrt_torch.data.written_files import random_pixels

SIDES = st.integers(1, 40)


@settings(deadline=None, max_examples=100)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 9))
def test_pixels_are_those_of_opencv(mxnet, height, width, new_height, new_width, seed):
    """Oracle: mx.image.imresize with interpolation 1, which calls OpenCV."""
    pixels = random_pixels(height, width, 3, seed=seed)
    expected = mxnet.image.imresize(mxnet.nd.array(pixels, dtype="uint8"), new_width, new_height, interp=1).asnumpy()
    np.testing.assert_array_equal(resize_bilinear(pixels, new_width, new_height), expected)


@settings(deadline=None, max_examples=50)
@given(SIDES, SIDES, SIDES, SIDES)
def test_pixels_are_near_interpolation_in_float64(height, width, new_height, new_width):
    """Oracle: numpy.interp over rows, then over columns. Weights of 11 bits and two truncations lose less than 1."""
    pixels = random_pixels(height, width, 3)
    expected = pixels.astype(np.float64)
    for axis, new in ((0, new_height), (1, new_width)):
        old = expected.shape[axis]
        middles = (np.arange(new) + 0.5) * old / new - 0.5
        expected = np.apply_along_axis(lambda line, at: np.interp(at, np.arange(len(line)), line), axis, expected,
                                       middles)
    assert np.abs(resize_bilinear(pixels, new_width, new_height) - expected).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (5, 9)])
def test_the_same_size_gives_the_same_pixels(size):
    """Oracle: the pixels themselves."""
    pixels = random_pixels(*size, 3)
    np.testing.assert_array_equal(resize_bilinear(pixels, size[1], size[0]), pixels)


def test_a_part_is_cut_from_the_whole():
    """Oracle: the whole."""
    pixels = random_pixels(10, 13, 3)
    whole, part = resize_bilinear(pixels, 30, 20), resize_bilinear(pixels, 30, 20, slice(3, 9), slice(5, 30))
    np.testing.assert_array_equal(part, whole[3:9, 5:30])
