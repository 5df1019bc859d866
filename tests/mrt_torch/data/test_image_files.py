"""Decoding of images. Oracles: the pixels that were encoded, Pillow, and the colours of single pixels."""

import io
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.data.image_files import decode_image
from mrt_torch.errors import InvalidFileError, MissingDependencyError, MRTError
from tests.mrt_torch.data.written_files import encoded_image, random_pixels

PIL = pytest.importorskip("PIL.Image", reason="Pillow, which decodes images, is not installed")
ImageFile = pytest.importorskip("PIL.ImageFile")


def saved(image, form="PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("form", ["PNG", "BMP"])
def test_lossless_images_give_their_pixels(tmp_path, form):
    """Oracle: the pixels; from bytes and from a path."""
    pixels = random_pixels(5, 7, 3)
    (tmp_path / "image").write_bytes(encoded_image(pixels, form))
    for source in ((tmp_path / "image").read_bytes(), tmp_path / "image", str(tmp_path / "image")):
        decoded = decode_image(source)
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("colour", ["rgb", "grey"])
@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_photographs_decode_as_pillow_decodes_them(form, colour):
    """Oracle: Pillow."""
    content = encoded_image(random_pixels(16, 24, 3), form)
    expected = np.asarray(PIL.open(io.BytesIO(content)).convert({"rgb": "RGB", "grey": "L"}[colour]))
    np.testing.assert_array_equal(decode_image(content, colour), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_of_8_bits_becomes_rgb(mode):
    """Oracle: the red that was painted, seen through none of its transparency; for modes without colour, white."""
    colour = {"1": 1, "L": 255, "LA": (255, 0), "P": 0, "RGBA": (255, 0, 0, 0), "CMYK": (0, 255, 255, 0)}[mode]
    image = PIL.new(mode, (2, 2), colour)
    if mode == "P":
        image.putpalette([255, 0, 0])
        image.info["transparency"] = 0
    decoded = decode_image(saved(image, "JPEG", quality=100) if mode == "CMYK" else saved(image))
    expected = (255, 255, 255) if mode in ("1", "L", "LA") else (255, 0, 0)
    # A JPEG rounds its colours.
    np.testing.assert_allclose(decoded, np.full((2, 2, 3), expected), atol=2 if mode == "CMYK" else 0)


def test_grey_weighs_the_colours():
    """Oracle: the formula of ITU-R 601."""
    pixels = random_pixels(8, 8, 3)
    expected = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode_image(encoded_image(pixels), "grey") - expected).max() <= 1  # of rounding


def test_the_orientation_of_a_camera_is_not_applied():
    """Oracle: the pixels as stored; MXNet's readers of records do not turn them either."""
    image = PIL.fromarray(random_pixels(4, 6, 3))
    exif = image.getexif()
    exif[0x0112] = 6
    assert decode_image(saved(image, exif=exif)).shape == (4, 6, 3)


PNG, JPEG = (encoded_image(random_pixels(64, 64, 3), form) for form in ("PNG", "JPEG"))


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(("content", "why"), [
    (b"", "cannot identify"), (b"no image", "cannot identify"), (PNG[:60], "truncated"), (JPEG[:-2000], "truncated"),
    (PNG[:9000] + bytes(100) + PNG[9100:], "."), (encoded_image(random_pixels(9, 9, 3), "GIF"), "cannot identify"),
    (saved(PIL.new("I;16", (2, 2), 70)), "8 bits a channel expected"),
], ids=["empty", "text", "cut PNG", "cut JPEG", "damaged PNG", "other format", "wide pixels"])
def test_what_is_no_whole_image_is_refused_with_its_place(monkeypatch, content, why, lenient):
    """Oracle: what was damaged; also where another package told Pillow to accept it."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    with pytest.raises(InvalidFileError, match=f"cannot be decoded(.|\n)*{why}") as caught:
        decode_image(content, where="record 7")
    assert caught.value.where == "record 7" and "JPEG" in caught.value.remedy
    assert ImageFile.LOAD_TRUNCATED_IMAGES is lenient


def test_threads_refuse_alike_and_leave_the_settings_of_pillow(monkeypatch):
    """Oracle: one thread."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)

    def decodes(content: bytes) -> bool:
        try:
            return decode_image(content) is not None
        except InvalidFileError:
            return False
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(decodes, [PNG, PNG[:60], JPEG[:-2000], JPEG] * 25)) == [True, False, False, True] * 25
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_damaged_file_is_refused_with_its_path(tmp_path):
    """Oracle: its path."""
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(InvalidFileError) as caught:
        decode_image(tmp_path / "a.jpg")
    assert caught.value.where == str(tmp_path / "a.jpg")


def test_an_image_of_too_many_pixels_is_refused():
    """Oracle: Pillow's limit: the header claims 60000 x 60000 pixels."""
    header = bytearray(encoded_image(random_pixels(2, 2, 3), "BMP"))
    header[18:26] = np.array([60000, 60000], "<i4").tobytes()
    with pytest.raises(InvalidFileError, match="exceeds limit"):
        decode_image(bytes(header))


def test_without_pillow_the_remedy_is_named(monkeypatch):
    """Oracle: the name of the extra."""
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "mrt-torch\[data\]"'):
        decode_image(b"")


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(["PNG", "JPEG", "BMP", "WEBP"]), st.data())
def test_any_damage_is_read_or_refused(form, data):
    """Oracle: nothing but pixels and MRTError comes out."""
    content = bytearray(encoded_image(random_pixels(10, 10, 3), form))
    for _ in range(data.draw(st.integers(0, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_image(bytes(content[:data.draw(st.integers(0, len(content)))])).dtype == np.uint8
    except MRTError:
        pass
