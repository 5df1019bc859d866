"""Writers of the formats that data sets read, by the published descriptions, independent of the readers."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

MAGIC = b"\x0a\x23\xd7\xce"
IDX_TYPES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array: np.ndarray) -> bytes:
    code = IDX_TYPES[array.dtype.str[1:]]
    extents = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, code, array.ndim]) + extents + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder: Path, part: str, images: np.ndarray, labels: np.ndarray, compressed: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
        content = idx_bytes(array)
        (folder / (name + ".gz" * compressed)).write_bytes(gzip.compress(content) if compressed else content)


def write_cifar10(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Images (N, 32, 32, 3) uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    path.write_bytes(np.concatenate([labels[:, None].astype(np.uint8), rows], 1).tobytes())


def image_record(encoded: bytes, *labels: float, identifier: int = 0) -> bytes:
    if len(labels) == 1:
        return struct.pack("<IfQQ", 0, labels[0], identifier, 0) + encoded
    return struct.pack("<IfQQ", len(labels), 0, identifier, 0) + struct.pack(f"<{len(labels)}f", *labels) + encoded


def record_part(content: bytes, flag: int = 0) -> bytes:
    return MAGIC + struct.pack("<I", flag << 29 | len(content)) + content + bytes(-len(content) % 4)


def write_records(folder: Path, records: Sequence[bytes], keys: Sequence[int] | None = None) -> None:
    """``val.rec`` and ``val.idx`` of records that do not hold the magic number."""
    folder.mkdir(parents=True, exist_ok=True)
    content, lines = b"", []
    for key, record in zip(range(len(records)) if keys is None else keys, records, strict=True):
        lines.append(f"{key}\t{len(content)}\n")
        content += record_part(record)
    (folder / "val.rec").write_bytes(content)
    (folder / "val.idx").write_text("".join(lines))


def encoded_image(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    """Pixels (H, W, 3) or (H, W) uint8 as an image file."""
    from PIL import Image
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def random_pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
