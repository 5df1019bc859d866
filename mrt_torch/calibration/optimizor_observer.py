"""Observer that asks an optimizor batch by batch: for those of the user, which know no statistics."""

from __future__ import annotations

import json

import torch

from mrt_torch.calibration.extremes import extremes, magnitudes
from mrt_torch.calibration.feature_history import widest
from mrt_torch.calibration.features import Feature, get_feature
from mrt_torch.calibration.observers import Observer
from mrt_torch.calibration.optimizor import Optimizor
from mrt_torch.calibration.raw_features import raw_feature
from mrt_torch.errors import CalibrationError


class OptimizorObserver(Observer):
    """``get_opt`` of each batch, with what it returned for the batch before.

    The result may depend on the order of the batches; ``merge`` takes what covers both. The feature is kept as the JSON
    of its serialized list, so its class must be registered.

    Buffers: ``written`` (n,) uint8, UTF-8; empty until something was committed.

    Args:
        optimizor: whose ``get_opt`` is called.
        quant_type: name of the quantizer whose raw feature it is given.
    """

    depends_on_order = True

    def __init__(self, optimizor: Optimizor, quant_type: str):
        super().__init__()
        self.optimizor, self.quant_type, self.opt_info = optimizor, quant_type, repr(optimizor.key)
        self.register_buffer("written", torch.empty(0, dtype=torch.uint8))
        self.register_buffer("pending_written", torch.empty(0, dtype=torch.uint8))

    def measure(self, tensor: torch.Tensor) -> torch.Tensor:
        magnitude = magnitudes(*extremes(tensor, by_channel=False))[0]
        if bool(torch.isfinite(magnitude)):
            before = self.pending_written if self.pending_written.numel() else self.written
            feature = self.optimizor.get_opt(raw_feature(tensor, self.quant_type), tensor,
                                             hist_ft=_read(before) if before.numel() else None)
            if not isinstance(feature, Feature):
                raise CalibrationError("get_opt returns a Feature", where=type(self.optimizor).__name__,
                                       why=f"saw {type(feature).__name__}", remedy="wrap a number in AFeature")
            self.pending_written = torch.tensor(list(json.dumps(feature.serialize()).encode()), dtype=torch.uint8)
        return magnitude

    def commit(self) -> None:
        if self.pending_written.numel():
            self.written = self.pending_written
        super().commit()

    def discard(self) -> None:
        super().discard()
        self.pending_written = torch.empty(0, dtype=torch.uint8)

    def merge(self, other: OptimizorObserver) -> None:
        super().merge(other)
        if self.written.numel() and other.written.numel():
            feature = widest(_read(self.written), _read(other.written))
            self.written = torch.tensor(list(json.dumps(feature.serialize()).encode()), dtype=torch.uint8)
        elif other.written.numel():
            self.written = other.written.clone()

    def feature(self) -> Feature:
        self.check()
        return _read(self.written)


def _read(written: torch.Tensor) -> Feature:
    return get_feature(json.loads(bytes(written.tolist())))
