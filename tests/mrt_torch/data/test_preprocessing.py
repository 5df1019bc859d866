"""From pixels to inputs. Oracles: MXNet's transforms, Pillow, and sizes counted by hand."""

import numpy as np
import pytest
import torch

from mrt_torch.data.preprocessing import CIFAR10, IMAGENET, MNIST, imagenet_input, resized_centre
from tests.mrt_torch.data.written_files import random_pixels


@pytest.mark.parametrize(("normalization", "constants"), [
    (CIFAR10, ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])), (MNIST, ([0.0], [1.0]))])
def test_normalization_is_that_of_mxnet(mxnet, normalization, constants):
    """Oracle: ToTensor and Normalize of mx.gluon. Both compute in float32 in the same steps; MXNet multiplies by the
    reciprocals of 255 and std, which may differ in the last two bits."""
    transforms = mxnet.gluon.data.vision.transforms
    reference = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*constants)])
    pixels = random_pixels(32, 32, len(constants[0]))
    expected = reference(mxnet.nd.array(pixels, dtype="uint8")).asnumpy()
    result = normalization(pixels.transpose(2, 0, 1))
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_imagenet_constants():
    """Oracle: black and white by hand, with the constants of the documents."""
    levels = IMAGENET(np.array([0, 255] * 3, np.uint8).reshape(3, 1, 2)).numpy()
    mean, std = np.array([123.68, 116.779, 103.939]), np.array([58.393, 57.12, 57.375])
    np.testing.assert_allclose(levels[:, 0, 0], -mean / std, rtol=1e-6)
    np.testing.assert_allclose(levels[:, 0, 1], (255 - mean) / std, rtol=1e-6)


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [
    (8, 8, (0, 7), (0, 7)), (8, 11, (0, 7), (2, 9)), (13, 8, (3, 10), (0, 7)), (8, 10, (0, 7), (1, 8))])
def test_the_centre_of_an_image_of_the_right_size_is_cut_out(height, width, rows, columns):
    """Oracle: rows and columns by hand: an input of 7 takes a shorter side of 8, so that nothing is resized."""
    pixels = random_pixels(height, width, 3)
    expected = IMAGENET(pixels[slice(*rows), slice(*columns)].transpose(2, 0, 1))
    assert torch.equal(imagenet_input(pixels, 7), expected)


def test_enlarged_images_are_near_those_of_pillow():
    """Oracle: Pillow's bilinear kernel, the same function where an image grows; both round, to different bits."""
    image = pytest.importorskip("PIL.Image")
    pixels = random_pixels(20, 33, 3)
    resized = np.asarray(image.fromarray(pixels).resize((32 * 33 // 20, 32), image.Resampling.BILINEAR))
    expected = resized[2:30, 12:40]  # (32 - 28) // 2 and (52 - 28) // 2
    assert np.abs(resized_centre(pixels, 32, 28).astype(int) - expected).max() <= 1


def test_an_image_of_one_row_takes_no_memory_beyond_its_centre():
    """Oracle: the shape; resized as a whole it would have 256 x 7680000 pixels."""
    assert imagenet_input(np.zeros((1, 30000, 3), np.uint8), 224).shape == (3, 224, 224)
