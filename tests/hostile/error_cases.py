"""Every error a user may meet on the main path, provoked once each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bridges.mxnet.params_file import read_params, write_params
from mrt_torch import MRT, Model
from mrt_torch.demo import load_digits
from mrt_torch.errors import (
    CalibrationError,
    ExportError,
    InvalidArgumentError,
    InvalidFileError,
    InvalidGraphError,
    MRTError,
    PrecisionError,
    UnsupportedOperatorError,
)
from tests.mrt_torch.small_models import calibrated

SHAPE = "1,1,8,8"
LONG_SUM = 2 ** 25
WIDE_KERNEL = (257, 256)


@dataclass(frozen=True)
class ErrorCase:
    """One error.

    Attributes:
        name: what went wrong.
        kind: class of the error.
        mentions: what its ``where``, ``why`` or ``what`` must name.
        provoke: raises the error; it may read from the folder ``in`` and would write to the folder ``out``.
        command: makes files in a folder and returns the arguments of ``mrt-torch`` that show the error; None where no
            command can.
    """

    name: str
    kind: type[MRTError]
    mentions: tuple[str, ...]
    provoke: Callable[[Path, Path], Any] | None = None
    command: Callable[[Path], list[str]] | None = None


def _inspect(folder: Path, symbol: bytes | None = None, params: bytes | None = None, shape: str = SHAPE) -> list[str]:
    digits = load_digits()
    (folder / "net-symbol.json").write_bytes(symbol or digits.symbol_file.read_bytes())
    (folder / "net-0000.params").write_bytes(params or digits.params_file.read_bytes())
    return ["inspect", str(folder / "net-symbol.json"), str(folder / "net-0000.params"), "--shape", shape]


def _symbol(change: Callable[[list[dict]], None]) -> bytes:
    graph = json.loads(load_digits().symbol_file.read_text())
    change(graph["nodes"])
    return json.dumps(graph).encode()


def _params(folder: Path, change: Callable[[dict], None]) -> bytes:
    params = read_params(load_digits().params_file)
    change(params)
    write_params(folder / "changed", params)
    content = (folder / "changed").read_bytes()
    (folder / "changed").unlink()
    return content


def _truncated_symbol(folder: Path) -> list[str]:
    return _inspect(folder, symbol=load_digits().symbol_file.read_bytes()[:3000])


def _corrupt_symbol(folder: Path) -> list[str]:
    def change(nodes: list[dict]) -> None:
        nodes[3]["inputs"][0][0] = 900
    return _inspect(folder, symbol=_symbol(change))


def _truncated_params(folder: Path) -> list[str]:
    return _inspect(folder, params=load_digits().params_file.read_bytes()[:5000])


def _corrupt_params(folder: Path) -> list[str]:
    content = bytearray(load_digits().params_file.read_bytes())
    content[32] ^= 0x40  # the number of axes of the first array
    return _inspect(folder, params=bytes(content))


def _missing_parameters(folder: Path) -> list[str]:
    def change(params: dict) -> None:
        del params["arg:conv0_weight"], params["arg:dense_bias"]
    return _inspect(folder, params=_params(folder, change))


def _nan_weights(folder: Path) -> list[str]:
    def change(params: dict) -> None:
        params["arg:conv1_weight"].reshape(-1)[:2] = float("nan")
    return _inspect(folder, params=_params(folder, change))


def _duplicate_name(folder: Path) -> list[str]:
    def change(nodes: list[dict]) -> None:
        operators = [node for node in nodes if node["op"] != "null"]
        operators[5]["name"] = operators[2]["name"]
    return _inspect(folder, symbol=_symbol(change))


def _wrong_shape(folder: Path) -> list[str]:
    return _inspect(folder, shape="1,3,8,8")


def _truncated_saved_model(folder: Path) -> list[str]:
    calibrated().quantize().save(folder / "net.json", folder / "net.safetensors")
    content = (folder / "net.safetensors").read_bytes()
    (folder / "net.safetensors").write_bytes(content[:len(content) // 2])
    return ["inspect", str(folder / "net.json")]


def _truncated_deployed_model(folder: Path) -> list[str]:
    deployed = calibrated().quantize().to_cvm("net", folder)
    (deployed / "params").write_bytes((deployed / "params").read_bytes()[:-5])
    return ["inspect", str(deployed)]


def _unknown_operators(source: Path, out: Path) -> None:
    def change(nodes: list[dict]) -> None:
        operators = [node for node in nodes if node["op"] != "null"]
        operators[1]["op"], operators[4]["op"], operators[2]["op"] = "softrelu", "softrelu", "Poolings"
    _inspect(source, symbol=_symbol(change))
    model = Model.load(source / "net-symbol.json", source / "net-0000.params")
    model.prepare((1, 1, 8, 8))


def _pipeline(module: nn.Module, data: torch.Tensor, out: Path) -> None:
    model = Model.from_torch(module.eval(), data)
    model.prepare(tuple(data.shape))
    mrt = model.get_mrt()
    mrt.set_data(data)
    mrt.calibrate(progress=False)
    quantized = mrt.quantize()
    quantized.save(out / "net-symbol.json", out / "net-0000.params")
    quantized.to_cvm("net", out)


class _Gate(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.erfinv(x)
        return y + torch.special.i0(x)


class _LongSum(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1)


def _unsupported_torch(source: Path, out: Path) -> None:
    _pipeline(_Gate(), torch.ones(1, 4), out)


def _wrong_torch_shape(source: Path, out: Path) -> None:
    Model.from_torch(nn.Sequential(nn.Linear(4, 2)), torch.ones(1, 4)).prepare((1, 5))


def _nan_module(source: Path, out: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    module[1].weight.data[0, 0] = float("inf")
    _pipeline(module, torch.ones(1, 4), out)


def _calibrate_before_prepare(source: Path, out: Path) -> None:
    MRT(Model.from_torch(nn.Linear(4, 2), torch.ones(1, 4))).calibrate()


def _prepared() -> Model:
    model = Model.from_torch(nn.Linear(4, 2), torch.ones(1, 4))
    model.prepare()
    return model


def _calibrate_without_data(source: Path, out: Path) -> None:
    _prepared().get_mrt().calibrate()


def _quantize_before_calibrate(source: Path, out: Path) -> None:
    _prepared().get_mrt().quantize().to_cvm("net", out)


def _export_before_quantize(source: Path, out: Path) -> None:
    _prepared().to_cvm("net", out)


def _wide_convolution(source: Path, out: Path) -> None:
    torch.manual_seed(0)
    _pipeline(nn.Sequential(nn.Conv2d(1, 1, WIDE_KERNEL)), torch.randn(1, 1, *WIDE_KERNEL), out)


def _long_sum(source: Path, out: Path) -> None:
    _pipeline(_LongSum(), torch.ones(1, LONG_SUM), out)


def _nan_data(source: Path, out: Path) -> None:
    _pipeline(nn.Sequential(nn.Linear(4, 2)), torch.tensor([[1.0, float("nan"), 2.0, 3.0]]), out)


def _wrong_data_shape(source: Path, out: Path) -> None:
    mrt = _prepared().get_mrt()
    mrt.set_data(torch.ones(8, 5))
    mrt.calibrate(progress=False)


def _mxnet_export(source: Path, out: Path) -> None:
    Model.from_torch(_Gate(), torch.ones(1, 4)).save(out / "net-symbol.json", out / "net-0000.params")


def _own_export(source: Path, out: Path) -> None:
    Model.from_torch(_Gate(), torch.ones(1, 4)).save(out / "net.json", out / "net.safetensors")


def _restored_export(source: Path, out: Path) -> None:
    mrt = calibrated()
    mrt.set_restore("relu0")
    mrt.quantize().to_cvm("net", out)


CASES = (
    ErrorCase("truncated symbol", InvalidFileError,
              ("net-symbol.json", "line ", "column "), command=_truncated_symbol),
    ErrorCase("corrupt symbol", InvalidFileError,
              ("net-symbol.json", "node 3", "900"), command=_corrupt_symbol),
    ErrorCase("truncated params", InvalidFileError,
              ("net-0000.params", "array ", "byte ", "truncated"), command=_truncated_params),
    ErrorCase("corrupt params", InvalidFileError,
              ("net-0000.params", "array 0 of ", "byte "), command=_corrupt_params),
    ErrorCase("missing parameters", InvalidFileError,
              ("node 'conv0'", "'conv0_weight', 'dense_bias'"), command=_missing_parameters),
    ErrorCase("NaN weights", InvalidFileError,
              ("parameter 'conv1_weight'", "2 of its"), command=_nan_weights),
    ErrorCase("duplicate name", InvalidGraphError, ("node 'relu0'", "(2 times)"), command=_duplicate_name),
    ErrorCase("wrong shape", InvalidGraphError,
              ("node 'conv0' (Convolution)", "(1, 3, 8, 8)"), command=_wrong_shape),
    ErrorCase("truncated saved model", InvalidFileError,
              ("net.safetensors",), command=_truncated_saved_model),
    ErrorCase("truncated deployed model", InvalidFileError,
              ("params", "byte offset"), command=_truncated_deployed_model),
    ErrorCase("unknown operators", UnsupportedOperatorError,
              ("softrelu: 2 nodes, first '", "Poolings: 1 node, first '", "nearest supported: Pooling"),
              _unknown_operators),
    ErrorCase("unsupported PyTorch operators", UnsupportedOperatorError,
              ("node 'erfinv'", 'error_cases.py", line', "y = torch.erfinv(x)", "torch.special.i0(x)", "once"),
              _unsupported_torch),
    ErrorCase("wrong shape for a PyTorch module", InvalidGraphError,
              ("node '0' (aten.linear.default)", "(1, 5)"),
              _wrong_torch_shape),
    ErrorCase("infinite weight of a PyTorch module", InvalidGraphError,
              ("parameter '1.weight'", "1 of 6 values"), _nan_module),
    ErrorCase("calibration before prepare", InvalidArgumentError,
              ("MRT", "loaded"), _calibrate_before_prepare),
    ErrorCase("calibration without data", CalibrationError,
              ("MRT.calibrate", "set_data"), _calibrate_without_data),
    ErrorCase("quantize before calibrate", CalibrationError,
              ("MRT.quantize", "threshold"), _quantize_before_calibrate),
    ErrorCase("export before quantize", InvalidArgumentError,
              ("to_cvm", "prepared"), _export_before_quantize),
    ErrorCase("a kernel beyond what the runtime sums", UnsupportedOperatorError,
              ("aten.conv2d.default", "its kernel has 65792 elements"), _wide_convolution),
    ErrorCase("sum beyond 32 bits", PrecisionError,
              ("node 'sum'", str(LONG_SUM), "return x.sum(1)"), _long_sum),
    ErrorCase("NaN in the data", CalibrationError, ("the data itself, batch 0", "NaN"), _nan_data),
    ErrorCase("data of a wrong shape", CalibrationError, ("data", "(8, 5)", "(N, 4)"), _wrong_data_shape),
    ErrorCase("export of an operator MXNet lacks", ExportError, ("special_i0",), _mxnet_export),
    ErrorCase("saving an operator without a written form", InvalidArgumentError,
              ("node 'erfinv'",), _own_export),
    ErrorCase("deployment with float parts", InvalidArgumentError, ("relu0",), _restored_export),
)
