"""What other 8-bit quantizers make of the same networks: onnxruntime in this run, and figures measured before."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import fx

METHODS = ("MinMax", "Entropy")
TOLERANCE = 1e-4   # of a logit; the float networks differ by a fifth of that at most
CALIBRATION_BATCH = 16


@dataclass(frozen=True)
class Figures:
    """The best that one of several quantizers reached, each figure by itself: percent, percent, decibels."""

    top1: float
    agreement: float
    noise: float


# Measured on the same 64 calibration and all evaluation images with onnxruntime 1.31.1 (QDQ, MinMax, Entropy and
# Percentile, per tensor and per channel), torchao 0.18 (PT2E, X86InductorQuantizer) and the original MRT.
PUBLISHED = {
    "mnist_lenet": Figures(99.11, 99.95, 39.68),
    "cifar_resnet8": Figures(76.10, 98.65, 33.01),
    "resnet20_cifar10": Figures(81.10, 98.90, 29.14),
    "resnet56_cifar10": Figures(84.00, 98.95, 28.82),
    "mobilenet_v1_025_imagenet": Figures(46.12, 70.50, 12.41),
    "mobilenet_v1_025_imagenet (PyTorch)": Figures(46.12, 70.50, 12.41),
    "mtcnn_det2": Figures(99.50, 100.00, 33.98),
    "mtcnn_det3": Figures(99.01, 100.00, 31.22),
}


def label(method: str) -> str:
    """What a calibration method's row is called."""
    return f"onnxruntime {method}"


def missing() -> list[str]:
    """The packages without which onnxruntime's rows are left out."""
    return [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]


class OnnxRuntime:
    """``quantize_static`` on a float network, run with its int8 kernels on one thread.

    Args:
        module: float graph as imported or captured, one input.
        calibration: (N, C, H, W).

    Raises:
        ValueError: the ONNX form gives other logits than ``module``.
    """

    def __init__(self, module: fx.GraphModule, calibration: torch.Tensor):
        from tests.benchmarks.onnx_graph import onnx_model
        self._calibration = calibration
        self._network = onnx_model(module)
        images = calibration[:4]
        with torch.no_grad():
            expected = module(images)[-1].flatten(1)
        difference = float((_session(self._network.SerializeToString())(images) - expected).abs().max())
        if not difference <= TOLERANCE:
            raise ValueError(f"the ONNX form differs from the network by {difference:.1e} in a logit")

    def quantized(self, method: str) -> tuple[Callable[[torch.Tensor], torch.Tensor], float]:
        """The last output of the quantized network for (N, C, H, W) images, and the seconds that quantizing took.

        Pre-processed, QDQ, weights in int8 with a scale a channel, activations in uint8.
        """
        import onnx
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            source, prepared, result = (str(Path(folder) / f"{stem}.onnx") for stem in ("float", "prepared", "int8"))
            onnx.save(self._network, source)
            quant_pre_process(source, prepared)
            reader = _Reader(self._network.graph.input[0].name, self._calibration)
            quantize_static(prepared, result, reader, quant_format=QuantFormat.QDQ, per_channel=True,
                            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                            calibrate_method=CalibrationMethod[method])
            model = Path(result).read_bytes()
        return _session(model), time.perf_counter() - begin


class _Reader:
    """What ``quantize_static`` asks for its calibration data."""

    def __init__(self, name: str, images: torch.Tensor):
        self._batches: Iterator[dict[str, np.ndarray]] = ({name: batch.numpy()}
                                                          for batch in images.split(CALIBRATION_BATCH))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def _session(model: bytes) -> Callable[[torch.Tensor], torch.Tensor]:
    """Runs a model on one thread: the last output, each picture's flat, of (N, C, H, W) images."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[-1]).flatten(1)
