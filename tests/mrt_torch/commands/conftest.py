"""The embedded network at each stage, as files that the library wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the cli extra is not installed")
pytest.importorskip("rich", reason="the cli extra is not installed")

from mrt_torch import MRT, Model
from mrt_torch.demo import load_digits

SHAPE = (1, 1, 8, 8)


@dataclass(frozen=True)
class Files:
    """Files of the digits network.

    Attributes:
        symbol, params: in float, as MXNet files.
        prepared: our own form.
        state: what ``calibrate`` saved, as FOLDER/NAME.
        quantized: our own form, 8 bits.
        deployed: a CVM folder of batch 2.
        integer_symbol: the quantized model as an MXNet symbol.
        images: a .npy file of 20 images.
    """

    symbol: Path
    params: Path
    prepared: Path
    state: Path
    quantized: Path
    deployed: Path
    integer_symbol: Path
    images: Path


@pytest.fixture(scope="package")
def files(tmp_path_factory) -> Files:
    """Made once; no test writes to them."""
    folder, digits = tmp_path_factory.mktemp("digits"), load_digits()
    model = Model.load(digits.symbol_file, digits.params_file)
    model.prepare(SHAPE)
    model.save(folder / "prepared.json", folder / "prepared.safetensors")
    mrt = MRT(model)
    mrt.set_data(digits.calibration_images[:20])
    mrt.calibrate()
    mrt.save("net", folder)
    quantized = mrt.quantize()
    quantized.save(folder / "quantized.json", folder / "quantized.safetensors")
    quantized.to_cvm("deployed", folder, input_shape=(2, 1, 8, 8))
    quantized.save(folder / "integer-symbol.json", folder / "integer-0000.params")
    np.save(folder / "images.npy", digits.test_images[:20].numpy())
    return Files(digits.symbol_file, digits.params_file, folder / "prepared.json", folder / "net",
                 folder / "quantized.json", folder / "deployed", folder / "integer-symbol.json", folder / "images.npy")
