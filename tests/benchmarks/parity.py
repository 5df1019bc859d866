"""The same integers everywhere: integer graph, MXNet, CVM files read back, and the real CVM runtime.

The float import is compared with MXNet 1.9.1 too. MXNet is needed for the columns that run it, and
``CVM_RUNTIME_LIBRARY`` for the runtime's.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bridges.cvm import CvmRuntime
from bridges.mxnet import bridge
from mrt_torch import Model
from mrt_torch.simulation import load_real_data
from tests.benchmarks.networks import Network, chosen

INPUTS = 8


def float_error(network: Network, inputs: torch.Tensor) -> str:
    """Relative error of an import against MXNet running the symbol, of a capture against its module."""
    if network.symbol is None:
        return _relative_error(network.load().module(inputs)[0], network.module()(inputs))
    from bridges.mxnet.installation import import_mxnet
    mx = import_mxnet()
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(network.symbol()), 0)
    labels = {name: mx.nd.zeros((len(inputs),)) for name in symbol.list_arguments() if name.endswith("label")}
    arguments = {**arguments, **labels, "data": mx.nd.array(inputs.numpy())}
    executor = symbol.bind(mx.cpu(), arguments, aux_states=auxiliary, grad_req="null")
    expected = torch.cat([torch.from_numpy(output.asnumpy()).flatten() for output in executor.forward(is_train=False)])
    imported = bridge.load(f"{network.symbol()}-symbol.json", f"{network.symbol()}-0000.params")
    return _relative_error(torch.cat([o.flatten() for o in imported.import_graph(network.shape)(inputs)]), expected)


def _relative_error(actual: torch.Tensor, expected: torch.Tensor) -> str:
    actual, expected = actual.detach().double(), expected.detach().double()
    return f"{float((actual - expected).norm() / expected.norm()):.1e}"


def compare(network: Network, runtime: CvmRuntime | None, folder: Path) -> list[str]:
    """One row of the table."""
    begin = time.perf_counter()
    inputs = network.pictures().evaluation[:INPUTS]
    error = float_error(network, inputs)
    model = network.load()
    model.prepare(network.shape)
    mrt = model.get_mrt()
    mrt.set_data(inputs)
    mrt.calibrate()
    quantized = mrt.quantize()
    integers = load_real_data(inputs, "data", mrt.get_inputs_ext())
    expected = [output.numpy() for output in quantized.to_graph()(integers)]
    deployed = quantized.to_cvm("model", folder, input_shape=tuple(inputs.shape))
    results = {"CVM files": _same(expected, [o.numpy() for o in Model.load_cvm(deployed).to_graph()(integers)])}
    results["MXNet"] = _same(expected, _run_mxnet(quantized, integers, folder))
    for device in ("cpu", "formal"):
        results[device] = "not installed" if runtime is None else _same(
            expected, _run(runtime, deployed, integers, device))
    distinct = sum(len(np.unique(output)) for output in expected)
    nodes = sum(node.op == "call_function" for node in quantized.module.graph.nodes)
    return [network.name, error, str(nodes), str(distinct),
            *(results[key] for key in ("MXNet", "CVM files", "cpu", "formal")), f"{time.perf_counter() - begin:.0f}"]


def _run_mxnet(quantized: Model, integers: torch.Tensor, folder: Path) -> list[np.ndarray]:
    from bridges.mxnet.execute import run_symbol
    symbol, params = str(folder / "model-symbol.json"), str(folder / "model-0000.params")
    quantized.save(symbol, params)
    return run_symbol(symbol, params, integers.numpy())


def _run(runtime: CvmRuntime, deployed: Path, integers: torch.Tensor, device: str) -> list[np.ndarray]:
    with runtime.load((deployed / "symbol").read_bytes(), (deployed / "params").read_bytes(), device) as model:
        return model.run(integers.numpy())


def _same(expected: list[np.ndarray], actual: list[np.ndarray]) -> str:
    if len(expected) != len(actual):
        return f"{len(actual)} outputs"
    different = sum(int((a.reshape(e.shape) != e).sum()) for e, a in zip(expected, actual, strict=True))
    return "identical" if different == 0 else f"{different} differ"


def run(console: Console, names: list[str]) -> None:
    """Print the table."""
    os.environ.setdefault("MXNET_MKLDNN_ENABLED", "0")
    os.environ.setdefault("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "0")
    runtime = CvmRuntime() if os.environ.get("CVM_RUNTIME_LIBRARY") else None
    table = Table(title=f"integers of {INPUTS} inputs, compared with the integer graph")
    for column in ("network", "float error", "integer nodes", "distinct values", "MXNet 1.9.1", "CVM files read back",
                   "runtime CPU", "runtime FORMAL", "seconds"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for network in chosen(names):
        with tempfile.TemporaryDirectory() as folder:
            table.add_row(*compare(network, runtime, Path(folder)))
    console.print(table)
