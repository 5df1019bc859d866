"""Follows a model from its source to deployed files, and holds every form of it against the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bridges.cvm.executor import cpu, formal
from bridges.mxnet.execute import run_symbol
from mrt_torch import MRT, Model, load_real_data
from tests.end_to_end.declared import only_declared_operators
from tests.end_to_end.models import as_tuple

# 12-bit inputs and 8-bit weights: what remains is the rounding of the weights and of the operands of convolutions.
INPUT_PRECISION = 12
LARGEST_ERROR = 0.03
# Channels of wide sums brought to one scale.
TO_ONE_SCALE = ("cvm_right_shift", "broadcast_mul", "cvm_right_shift")


@dataclass(frozen=True)
class Followed:
    """A model prepared and quantized, its input as floats and integers, and its deployed folder."""

    model: Model
    mrt: MRT
    quantized: Model
    data: torch.Tensor
    integers: torch.Tensor
    folder: Path

    def outputs(self) -> list[np.ndarray]:
        """Integer outputs of the graph."""
        return [output.numpy() for output in self.quantized.to_graph()(self.integers)]

    def operators(self) -> list[str]:
        """Names of the CVM operators, in order."""
        return [node.target._opname for node in self.quantized.module.graph.nodes if node.op == "call_function"]


def follow(model: Model, shape: Mapping[str, Sequence[int]] | Sequence[int] | None, data: torch.Tensor | Mapping,
           folder: Path, input_precision: int = INPUT_PRECISION) -> Followed:
    """Prepare, calibrate on ``data``, quantize, deploy with the batch of ``data``."""
    model.prepare(shape)
    data = model.join_inputs(data) if isinstance(data, Mapping) else data
    mrt = model.get_mrt()
    mrt.set_data(data)
    mrt.calibrate()
    mrt.set_input_prec(input_precision)
    with only_declared_operators():
        quantized = mrt.quantize()
    integers = load_real_data(data, "data", mrt.get_inputs_ext())
    deployed = quantized.to_cvm("model", folder, input_shape=tuple(data.shape))
    return Followed(model, mrt, quantized, data, integers, deployed)


def check_values(followed: Followed, expected: Sequence[np.ndarray], prepared: float = 1e-5,
                 quantized: float = LARGEST_ERROR) -> None:
    """Shapes, and relative errors in the Euclidean norm: of float32 rewriting, and of quantization."""
    for model, bound in (followed.model, prepared), (followed.quantized, quantized):
        seen = as_tuple(model(followed.data))
        assert len(seen) == len(expected)
        for output, reference in zip(seen, expected, strict=True):
            reference = np.asarray(reference)
            assert tuple(output.shape) == reference.shape
            assert np.linalg.norm(output.numpy() - reference) <= bound * np.linalg.norm(reference)


def check_deployed(followed: Followed) -> None:
    """The deployed files, read back, give the same integers, and the same floats in the same shapes."""
    loaded = Model.load_cvm(followed.folder)
    for seen, expected in zip(loaded.to_graph()(followed.integers), followed.outputs(), strict=True):
        assert np.array_equal(seen.numpy().reshape(-1), expected.reshape(-1))
    floats = as_tuple(loaded(followed.data)), as_tuple(followed.quantized(followed.data))
    assert all(torch.equal(seen, expected) for seen, expected in zip(*floats, strict=True))


def check_mxnet(followed: Followed, folder: Path) -> None:
    """MXNet computes the same integers from the exported symbol in float64."""
    paths = folder / "q-symbol.json", folder / "q-0000.params"
    followed.quantized.save(*paths)
    seen = run_symbol(*paths, followed.integers.numpy())
    for output, expected in zip(seen, followed.outputs(), strict=True):
        assert np.array_equal(output, expected)


def check_runtime(followed: Followed) -> None:
    """Both back ends of the real CVM runtime compute the same integers."""
    for executor in (cpu, formal):
        seen = executor.run(followed.folder, followed.integers.numpy())
        for output, expected in zip(seen, followed.outputs(), strict=True):
            assert np.array_equal(output.reshape(-1), expected.reshape(-1))
