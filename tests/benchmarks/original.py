"""The original MRT on the same network, where ``ORIGINAL_MRT`` names a checkout with its library built."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import MagicMock

import torch
from torch import nn

from bridges.mxnet.installation import import_mxnet
from mrt_torch import Model

DATA_SETS = "mrt.dataset"   # needs gluoncv, which these steps do not


def run(module: nn.Module, shape: tuple[int, ...]) -> dict[str, float]:
    """Seconds of prepare, quantize and export; calibration is not timed."""
    mx = import_mxnet()
    sys.modules.setdefault(DATA_SETS, MagicMock())
    python = str(Path(os.environ["ORIGINAL_MRT"]) / "python")
    if python not in sys.path:
        sys.path.insert(0, python)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        from mrt import transformer
        symbol, params = Path(folder) / "net-symbol.json", Path(folder) / "net-0000.params"
        Model.from_torch(module, torch.zeros(2, *shape[1:])).save(symbol, params)
        arrays = {name.partition(":")[2]: array for name, array in mx.nd.load(str(params)).items()}
        model = transformer.Model(mx.sym.load(str(symbol)), arrays)
        seconds, begin = {}, time.perf_counter()
        model.prepare(shape)
        seconds["prepare"] = time.perf_counter() - begin
        mrt = model.get_mrt()
        mrt.set_data(mx.nd.random.normal(shape=(4, *shape[1:])))
        mrt.calibrate()
        begin = time.perf_counter()
        mrt.quantize()
        seconds["quantize"] = time.perf_counter() - begin
        (Path(folder) / "out").mkdir()
        begin = time.perf_counter()
        mrt.current_model.to_cvm("out", datadir=folder, input_shape=shape, target="cpu", device_ids=0)
        seconds["export"] = time.perf_counter() - begin
    return seconds
