"""Resizing for detectors. Oracles: OpenCV inside of MXNet and gluoncv, exactly; figures by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.data.resampling import resize_to

SIDES = st.integers(1, 70)


@settings(deadline=None, max_examples=100)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([None, 2, 3, 4]), st.integers(0, 2**31))
def test_pixels_are_those_of_opencv(mxnet, height, width, new_height, new_width, whole, seed):
    """Where both sides grow its bicubic kernel, where both shrink its means over areas (whole blocks are another
    way there), else its bilinear one: as gluoncv's ``imresize`` chooses for interpolation 9."""
    if whole:
        height, width = new_height * whole, new_width * whole
    kernel = 2 if new_height > height and new_width > width else 3 if new_height < height and new_width < width else 1
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    expected = mxnet.image.imresize(mxnet.nd.array(pixels, dtype="uint8"), new_width, new_height, interp=kernel)
    np.testing.assert_array_equal(resize_to(pixels, new_width, new_height), expected.asnumpy())


@pytest.mark.parametrize(("old", "new"), [((375, 500), (416, 416)), ((375, 500), (512, 512)), ((480, 640), (300, 300))])
def test_pictures_of_detectors_are_those_of_gluoncv(gluoncv, mxnet, old, new):
    pixels = np.random.RandomState(0).randint(0, 256, (*old, 3)).astype(np.uint8)
    expected = gluoncv.data.transforms.image.imresize(mxnet.nd.array(pixels, dtype="uint8"), *new, interp=9)
    np.testing.assert_array_equal(resize_to(pixels, *new), expected.asnumpy())


def test_a_picture_of_that_size_stays():
    pixels = np.random.RandomState(1).randint(0, 256, (5, 7, 3)).astype(np.uint8)
    assert (resize_to(pixels, 7, 5) == pixels).all()


def test_half_of_a_side_is_the_mean_of_pairs_and_a_tie_goes_up():
    pixels = np.array([[[0], [2], [4], [5]], [[2], [4], [4], [5]]], np.uint8)
    assert resize_to(pixels, 2, 1).tolist() == [[[2], [5]]]  # means 2 and 4.5


def test_one_side_alone_is_bilinear():
    """Two columns to four: middles at -0.25, 0.25, 0.75, 1.25 of the source."""
    pixels = np.array([[[0], [100]]], np.uint8)
    assert resize_to(pixels, 4, 1).ravel().tolist() == [0, 25, 75, 100]


def test_blocks_of_three_rows_and_a_tie_goes_to_the_even():
    """Means 15 / 6 and 21 / 6 of blocks of 3 x 2."""
    pixels = np.array([[0, 0, 3, 3], [2, 2, 3, 4], [5, 6, 4, 4]], np.uint8)[:, :, None]
    assert resize_to(pixels, 2, 1).ravel().tolist() == [2, 4]


def test_parts_of_pixels_count_as_much_as_they_are():
    """Three rows to two: 2/3 of the first with 1/3 of the second; columns alike, of which all are equal."""
    pixels = np.repeat(np.array([[30], [90], [210]], np.uint8), 3, axis=1)[:, :, None]
    assert resize_to(pixels, 2, 2)[:, :, 0].tolist() == [[50, 50], [170, 170]]


def test_growing_overshoots_no_byte():
    pixels = np.zeros((4, 4, 1), np.uint8)
    pixels[:2] = 255
    column = resize_to(pixels, 8, 8)[:, 0, 0].tolist()
    # weights at a quarter: -0.10546875, 0.87890625, 0.26171875, -0.03515625 (Keys' kernel, a = -0.75)
    assert column == [255, 255, 255, 197, 58, 0, 0, 0]
