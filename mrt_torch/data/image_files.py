"""Decoding of image files with Pillow, an optional package."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np

from mrt_torch.errors import InvalidFileError, MissingDependencyError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_FORMATS = ("BMP", "JPEG", "PNG", "WEBP")  # others of Pillow's formats start programs, or are no photographs
_WIDE_MODES = ("I", "F")  # more than 8 bits a channel: Pillow cuts such values off instead of scaling them
_MODES = {"rgb": "RGB", "grey": "L"}


def import_pillow() -> ModuleType:
    """Return the module ``PIL.Image``.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise MissingDependencyError("Pillow, which decodes images, cannot be imported", why=str(error),
                                     remedy='pip install "mrt-torch[data]"') from error


class _Guard:
    """How many threads decode, and what ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` was before the first of them."""

    lock = threading.Lock()
    threads = 0
    before = False


@contextlib.contextmanager
def _whole_images_only() -> Iterator[None]:
    """Let Pillow refuse damaged images while a block runs: other packages, such as gluoncv, tell it to fill them up."""
    settings = importlib.import_module("PIL.ImageFile")
    with _Guard.lock:
        if not _Guard.threads:
            _Guard.before, settings.LOAD_TRUNCATED_IMAGES = settings.LOAD_TRUNCATED_IMAGES, False
        _Guard.threads += 1
    try:
        yield
    finally:
        with _Guard.lock:
            _Guard.threads -= 1
            if not _Guard.threads:
                settings.LOAD_TRUNCATED_IMAGES = _Guard.before


def decode_image(source: bytes | str | os.PathLike[str], colour: Literal["rgb", "grey"] = "rgb",
                 where: str | None = None) -> np.ndarray:
    """Pixels (H, W, 3) or, grey, (H, W), uint8, from the bytes of an image file or from its path.

    Of moving images the first picture is taken, transparency is dropped, and the orientation that a camera notes is
    not applied. Grey is 0.299 R + 0.587 G + 0.114 B, as Pillow rounds it.

    Args:
        source: bytes or path.
        colour: "rgb" or "grey".
        where: place of the bytes, for messages; a path is its own.

    Raises:
        InvalidFileError: no whole image of 8 bits a channel in one of the formats BMP, JPEG, PNG and WebP.
        MissingDependencyError: Pillow is not installed.
    """
    pillow = import_pillow()
    if not isinstance(source, bytes):
        where, source = str(source), Path(source).read_bytes()
    try:
        with _whole_images_only(), pillow.open(io.BytesIO(source), formats=_FORMATS) as image:
            image.load()
            if image.mode.startswith(_WIDE_MODES):
                raise ValueError(f"pixels of mode '{image.mode}', 8 bits a channel expected")
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")
            return np.asarray(image.convert(_MODES[colour]))
    except Exception as error:  # the decoders raise OSError, SyntaxError, struct.error and more for damaged files
        raise InvalidFileError("an image cannot be decoded", where=where, why=f"{error}" or type(error).__name__,
                               remedy=f"give whole files of the formats {', '.join(_FORMATS)}") from error
